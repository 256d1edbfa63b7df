"""Electricity of the same work as this package and as codecarbon tell it, offline; prints both and their ratio.

    pip install codecarbon; python benchmarks/training/energy.py [SECONDS]

Where neither can read a counter, both guess: the ratio says how far apart two guesses are, not which is right.
"""

import sys
import time

import numpy as np
from codecarbon import OfflineEmissionsTracker

from clip_italian.training.energy import GRIDS, measure

COUNTRY = "ITA"


def work(seconds: float) -> None:
    """Multiply matrices."""
    numbers = np.random.default_rng(0).normal(size=(600, 600))
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        numbers = np.tanh(numbers @ numbers.T)


def main() -> None:
    """Measure the same block with both."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60
    tracker = OfflineEmissionsTracker(
        country_iso_code=COUNTRY, save_to_file=False, tracking_mode="process", log_level="error", measure_power_secs=5
    )
    tracker.start()
    with measure(country=COUNTRY) as meter:
        work(seconds)
    tracker.stop()
    theirs, ours = tracker.final_emissions_data, meter.so_far()
    print(f"{'kWh':<12} {'clip-italian':>14} {'codecarbon':>14} {'ratio':>8}")
    rows = [
        ("processor", ours["parts"]["processor"], theirs.cpu_energy),
        ("memory", ours["parts"]["memory"], theirs.ram_energy),
        ("all", ours["kwh"], theirs.energy_consumed),
        ("kg CO2e", ours["co2e_kg"], theirs.emissions),
    ]
    for name, mine, other in rows:
        print(f"{name:<12} {mine:14.3e} {other:14.3e} {mine / other:8.2f}")
    print(ours["method"])
    print(f"codecarbon: {theirs.cpu_model}, {theirs.cpu_power:.1f} W processor, {theirs.ram_power:.1f} W memory")
    print(f"grid: {GRIDS[COUNTRY]} g CO2e per kWh here, {1000 * theirs.emissions / theirs.energy_consumed:.0f} there")


if __name__ == "__main__":
    main()

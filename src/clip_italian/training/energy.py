"""How much electricity a run takes and how much CO2e that stands for: by the machine's counters, else estimated.

Counted are the GPU, by its driver's own counter; the processor, by its counters (RAPL: the whole package, with whatever
else runs on it) where the system lets them be read, else as the CPU seconds of this process and of its finished workers
times the watts of one busy core; memory, all that the machine has. Not counted: disks, network, cooling, screens,
and making the machine. What was read and what was assumed is said in words (`method`). Nothing here needs a network or
ends a run. Codecarbon does the same, brings thirty packages, and is the peer in benchmarks/training/energy.py.

Public names: measure, Meter, total, GRIDS, Grid, CORE_WATTS.
"""

import contextlib
import ctypes
import os
import resource
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

Grid = Literal[
    "AUT", "BEL", "CHE", "DEU", "DNK", "ESP", "FIN", "FRA", "GBR", "IRL", "ITA", "NLD", "NOR", "POL", "PRT", "SWE",
    "USA", "world",
]  # fmt: skip
# Grams of CO2e per kWh of electricity by ISO code, 2023; "world" where nobody knows where the machine stands. Source:
# codecarbon 3.3.2, global_energy_mix.json, and its world average.
GRIDS: dict[str, int] = {
    "AUT": 111, "BEL": 138, "CHE": 35, "DEU": 381, "DNK": 152, "ESP": 174, "FIN": 79, "FRA": 56, "GBR": 238,
    "IRL": 291, "ITA": 331, "NLD": 268, "NOR": 30, "POL": 662, "PRT": 166, "SWE": 41, "USA": 369, "world": 475,
}  # fmt: skip
CORE_WATTS = 4.0  # one busy core with its share of the package: 360 W over an EPYC 9654's 96, 15 W over a laptop's 4
MEMORY_WATTS = 0.375  # a GiB, used or not; 3 W for 8 GiB, as codecarbon long had it

_EVERY = 30.0  # seconds between readings: RAPL's counters start again at zero after some three quarters of an hour
_RAPL = Path("/sys/class/powercap")
_NVML = "libnvidia-ml.so.1"
_JOULES = 3.6e6  # in a kWh
_GIB = 2**30


class _Counter(Protocol):
    name: str
    method: str

    def joules(self) -> float:
        """Return the joules since the counter was made."""


class Meter:
    """Adds up what its counters say; read from any thread."""

    def __init__(self, country: str, counters: Sequence[_Counter]) -> None:
        self._country, self._counters = country, counters
        self._begun = time.monotonic()
        self._ended: float | None = None
        self._lock = threading.Lock()

    def so_far(self) -> dict[str, Any]:
        """Return {kwh, co2e_kg, seconds, country, method, parts} as plain values, for a model's notes.

        seconds: of wall clock. method: what was read, what was assumed. parts: kWh of "processor", "memory", "gpu".
        """
        with self._lock:
            if self._ended is None:
                self._read = {counter.name: counter.joules() / _JOULES for counter in self._counters}
            seconds = (self._ended or time.monotonic()) - self._begun
        kwh = sum(self._read.values())
        grams = GRIDS[self._country]
        method = [*(counter.method for counter in self._counters), f"{grams} g CO2e per kWh ({self._country})"]
        return {
            "kwh": kwh, "co2e_kg": kwh * grams / 1000, "seconds": seconds, "country": self._country,
            "method": "; ".join(method), "parts": dict(self._read),
        }  # fmt: skip

    def close(self) -> None:
        """Read the counters for the last time; `so_far` stays as it is from then on."""
        self.so_far()
        with self._lock:
            self._ended = self._ended or time.monotonic()


@contextlib.contextmanager
def measure(*, country: str = "world", device: str = "cpu", core_watts: float = CORE_WATTS) -> Iterator[Meter]:
    """Measure the block; its Meter tells at any time, and afterwards, what it took.

    country: where the electricity comes from, a key of GRIDS. device: the torch device that works ("cpu", "cuda:0").
    core_watts: of one busy core, for processors without a counter that can be read. Raises ValueError for an unknown
    country, before the block.

    >>> with measure(country="ITA") as meter:
    ...     work = sum(range(10**6))
    >>> meter.so_far()["kwh"] > 0
    True
    """
    if country not in GRIDS:
        raise ValueError(f"{country!r}: its electricity is not known here; there are {', '.join(GRIDS)}")
    counters: list[_Counter] = [_rapl() or _CpuSeconds(core_watts), _Memory()]
    meter = Meter(country, counters + ([_gpu(device)] if device.startswith("cuda") else []))
    done = threading.Event()
    reader = threading.Thread(target=_read_until, args=(meter, done), daemon=True, name="energy")
    reader.start()
    try:
        yield meter
    finally:
        done.set()
        reader.join()
        meter.close()


def total(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up what several Meters told, as of a run that was resumed. Raises ValueError when there is none.

    Country and method are all that were told, without repetitions.
    """
    if not runs:
        raise ValueError("nothing to add up")
    names = dict.fromkeys(name for run in runs for name in run["parts"])
    return {
        **{key: sum(run[key] for run in runs) for key in ("kwh", "co2e_kg", "seconds")},
        "country": ", ".join(dict.fromkeys(run["country"] for run in runs)),
        "method": " | ".join(dict.fromkeys(run["method"] for run in runs)),
        "parts": {name: sum(run["parts"].get(name, 0.0) for run in runs) for name in names},
    }


def _read_until(meter: Meter, done: threading.Event) -> None:
    while not done.wait(_EVERY):
        meter.so_far()


class _CpuSeconds:
    name = "processor"

    def __init__(self, watts: float) -> None:
        self.method = (
            f"processor estimated, no counter to read: {watts:g} W for every CPU second of this process and of its "
            "finished workers"
        )
        self._watts, self._start = watts, _cpu_seconds()

    def joules(self) -> float:
        return self._watts * (_cpu_seconds() - self._start)


class _Memory:
    name = "memory"

    def __init__(self) -> None:
        self._gib = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB
        self.method = f"memory estimated: {MEMORY_WATTS} W for each of the machine's {self._gib:.0f} GiB"
        self._begun = time.monotonic()

    def joules(self) -> float:
        return MEMORY_WATTS * self._gib * (time.monotonic() - self._begun)


class _Rapl:
    """Joules of all packages; their counters run in microjoules up to a limit, then from zero again."""

    name = "processor"
    method = "processor by its own counters (RAPL), with all else that ran on it"

    def __init__(self, packages: Sequence[Path]) -> None:
        self._packages = {
            package: (int((package / "max_energy_range_uj").read_text()), _microjoules(package)) for package in packages
        }
        self._sum = 0.0

    def joules(self) -> float:
        for package, (limit, last) in self._packages.items():
            try:
                now = _microjoules(package)
            except (OSError, ValueError):  # a counter lost on the way: what it told so far counts
                continue
            self._sum += ((now - last) % (limit + 1)) / 1e6
            self._packages[package] = limit, now
        return self._sum


class _Gpu:
    name = "gpu"
    method = "GPU by its driver's counter (NVML), the whole card"

    def __init__(self, library: ctypes.CDLL, handle: ctypes.c_void_p) -> None:
        self._library, self._handle = library, handle
        self._start = self._last = self._millijoules()

    def joules(self) -> float:
        with contextlib.suppress(OSError):  # a counter lost on the way: what it told so far counts
            self._last = self._millijoules()
        return (self._last - self._start) / 1000

    def _millijoules(self) -> int:
        value = ctypes.c_ulonglong()
        _ask(self._library, "nvmlDeviceGetTotalEnergyConsumption", self._handle, ctypes.byref(value))
        return value.value


class _Unread:
    name = "gpu"

    def __init__(self, reason: object) -> None:
        self.method = f"GPU NOT counted: its counter cannot be read ({reason})"

    def joules(self) -> float:
        return 0.0


def _rapl() -> _Rapl | None:
    """Open the counters of the processor's packages, None where there are none or only root may read them."""
    packages = sorted(path for path in _RAPL.glob("intel-rapl:*") if path.name.count(":") == 1)
    try:
        return _Rapl(packages) if packages else None
    except (OSError, ValueError):
        return None


def _gpu(device: str) -> _Gpu | _Unread:
    import torch

    try:
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        library = ctypes.CDLL(_NVML)
        handle = ctypes.c_void_p()
        _ask(library, "nvmlInit_v2")
        name = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
        _ask(library, "nvmlDeviceGetHandleByUUID", name.encode(), ctypes.byref(handle))
        return _Gpu(library, handle)
    except (OSError, AttributeError, AssertionError, RuntimeError, ValueError) as error:
        return _Unread(error)


def _ask(library: ctypes.CDLL, function: str, *arguments: object) -> None:
    if code := getattr(library, function)(*arguments):
        raise OSError(f"{function} answered {code}")


def _microjoules(package: Path) -> int:
    return int((package / "energy_uj").read_text())


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)

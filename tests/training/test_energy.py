"""What a run takes: read where the machine counts, estimated and said so where it does not."""

import ctypes
import json
import signal
import subprocess
import sys
import types

import pytest
import torch

from clip_italian.training import energy


def burn(seconds):
    start = energy._cpu_seconds()
    while energy._cpu_seconds() - start < seconds:
        sum(range(10_000))


@pytest.fixture(autouse=True)
def no_counters(monkeypatch, tmp_path):
    monkeypatch.setattr(energy, "_RAPL", tmp_path / "powercap")


def test_without_counters_it_is_an_estimate_from_cpu_seconds_and_says_so():
    with energy.measure(country="ITA", core_watts=10) as meter:
        burn(0.2)
    told = meter.so_far()
    assert 0.2 * 10 / 3.6e6 <= told["parts"]["processor"] <= 2 * 0.2 * 10 / 3.6e6
    assert told["kwh"] == sum(told["parts"].values()) and told["parts"]["memory"] > 0
    assert told["co2e_kg"] == pytest.approx(told["kwh"] * 0.331)
    assert "processor estimated" in told["method"] and "10 W for every CPU second" in told["method"]
    assert "331 g CO2e per kWh (ITA)" in told["method"] and told["country"] == "ITA" and told["seconds"] > 0
    assert "gpu" not in told["parts"]


def test_finished_workers_count():
    with energy.measure(core_watts=1) as meter:
        code = "import time\nwhile time.process_time() < 0.3: pass"
        subprocess.run([sys.executable, "-c", code], check=True)
    assert meter.so_far()["parts"]["processor"] >= 0.3 / 3.6e6


def test_it_tells_in_between_and_stays_after_the_end_and_errors():
    with pytest.raises(RuntimeError, match="stopped"), energy.measure() as meter:
        burn(0.05)
        between = meter.so_far()
        burn(0.05)
        raise RuntimeError("stopped")
    after = meter.so_far()
    assert 0 < between["kwh"] < after["kwh"]
    burn(0.05)
    assert meter.so_far() == after


@pytest.fixture
def rapl(monkeypatch, tmp_path):
    """Two packages and a part of one, which must not count twice; returns a function that sets a counter."""

    def set_to(name, value):
        (tmp_path / "powercap" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "powercap" / name / "energy_uj").write_text(f"{value}\n")
        (tmp_path / "powercap" / name / "max_energy_range_uj").write_text("9999999\n")

    for name in ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:1"):
        set_to(name, 9_000_000)
    return set_to


def test_the_processors_counters_are_read_and_start_again_from_zero(rapl):
    with energy.measure() as meter:
        rapl("intel-rapl:0", 9_500_000)
        rapl("intel-rapl:0:0", 9_400_000)
        assert meter.so_far()["parts"]["processor"] == pytest.approx(0.5 / 3.6e6)
        rapl("intel-rapl:0", 500_000)  # past its limit: another joule
        rapl("intel-rapl:1", 9_250_000)
    told = meter.so_far()
    assert told["parts"]["processor"] == pytest.approx(1.75 / 3.6e6)
    assert told["method"].startswith("processor by its own counters (RAPL)")


def test_counters_are_read_while_the_block_runs(rapl, monkeypatch):
    monkeypatch.setattr(energy, "_EVERY", 0.01)
    with energy.measure() as meter:
        for value in (9_900_000, 800_000, 1_700_000):
            rapl("intel-rapl:0", value)
            seen = meter._counters[0]._packages
            while next(last for _, last in seen.values()) != value:  # nobody but the meter's own thread reads it
                pass
    assert meter.so_far()["parts"]["processor"] == pytest.approx(2.7 / 3.6e6)


def test_counters_only_root_may_read_are_passed_over(rapl, tmp_path):
    (tmp_path / "powercap" / "intel-rapl:1" / "energy_uj").write_text("")
    with energy.measure() as meter:
        pass
    assert "processor estimated" in meter.so_far()["method"]


class Nvml:
    """A driver whose card has used 5 J before, and 2.5 J more at every reading."""

    def __init__(self, answer=0):
        self.millijoules, self.answer, self.asked = 5_000, answer, []

    def nvmlInit_v2(self):
        return 0

    def nvmlDeviceGetHandleByUUID(self, name, handle):
        self.asked.append(name)
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, value):
        value._obj.value = self.millijoules
        self.millijoules += 2_500
        return self.answer


@pytest.fixture
def card(monkeypatch):
    def put_in(driver):
        cuda = types.SimpleNamespace(get_device_properties=lambda device: types.SimpleNamespace(uuid="ab-12"))
        monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
        monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
        return driver

    return put_in


def test_the_cards_own_counter_is_read(card):
    driver = card(Nvml())
    with energy.measure(device="cuda:0") as meter:
        pass
    told = meter.so_far()
    assert told["parts"]["gpu"] == pytest.approx(2.5 / 3.6e6) and driver.asked == [b"GPU-ab-12"]
    assert "GPU by its driver's counter" in told["method"]


def test_a_card_that_does_not_count_is_told_and_ends_no_run(card):
    card(Nvml(answer=3))
    with energy.measure(device="cuda:0") as meter:
        pass
    told = meter.so_far()
    assert told["parts"]["gpu"] == 0
    assert "GPU NOT counted" in told["method"] and "nvmlDeviceGetTotalEnergyConsumption answered 3" in told["method"]


def test_an_unknown_country_is_refused_before_anything_runs():
    with pytest.raises(ValueError, match=r"'XYZ'.*ITA"), energy.measure(country="XYZ"):
        pytest.fail("the block ran")


def test_parts_of_a_resumed_run_add_up():
    first = {"kwh": 1.0, "co2e_kg": 0.3, "seconds": 5.0, "country": "ITA", "method": "a", "parts": {"processor": 1.0}}
    second = first | {"kwh": 3.0, "method": "b", "parts": {"processor": 1.0, "gpu": 2.0}}
    assert energy.total([first, second, first]) == {
        "kwh": 5.0, "co2e_kg": pytest.approx(0.9), "seconds": 15.0, "country": "ITA", "method": "a | b",
        "parts": {"processor": 3.0, "gpu": 2.0},
    }  # fmt: skip
    with pytest.raises(ValueError, match="nothing to add up"):
        energy.total([])


def test_a_run_keeps_what_it_took_with_the_model_and_adds_up_when_it_goes_on(tmp_path):
    from toys import STAGE, Listener, recipe, squares

    from clip_italian.training.trainer import train

    samples, valid = squares(tmp_path / "quadri", 16), {"dev": squares(tmp_path / "dev", 8, seed=1)}
    settings, out = recipe(STAGE | {"epochs": 3, "batch": 8}, country="ITA"), tmp_path / "out"

    def stop_in_the_second_epoch(step):
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(settings, samples, valid, out, reporter=Listener(stop_in_the_second_epoch))
    first = torch.load(out / "state.pt", weights_only=True)["state"]["energy"]
    train(settings, samples, valid, out, resume=True, reporter=Listener())
    state = torch.load(out / "state.pt", weights_only=True)["state"]["energy"]
    assert len(first) == 1 and len(state) == 2 and state[0] == first[0]
    told = json.loads((out / "model.json").read_text("utf-8"))["notes"]["energy"]
    assert told["country"] == "ITA" and "331 g" in told["method"]
    assert 0 < told["kwh"] <= sum(one["kwh"] for one in state)

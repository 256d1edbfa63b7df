"""Where a run stands: stored whole, read back exactly, and ^C that waits for the end of a step."""

import signal
import threading

import numpy as np
import pytest
import torch
from torch import nn

from clip_italian.errors import BadRecipe
from clip_italian.training.state import Average, State, load_state, save_state, stop_requests


def test_a_state_comes_back_with_its_tensors_and_the_random_generator(tmp_path):
    state = State("abc", stage=1, epoch=2, step=3, best=0.25, best_in_stage=0.5, since_best=1, total_steps=99)
    state.history.append({"valid": {"dev": {"loss": 0.1}}, "epoch": 1})
    tensors = {"model": {"w": torch.randn(3)}, "optimizer": {"state": {0: {"step": 4}}, "param_groups": []}}
    torch.manual_seed(5)
    save_state(tmp_path / "state.pt", state, tensors)
    expected = torch.rand(4)
    torch.manual_seed(6)
    back, stored = load_state(tmp_path / "state.pt", "abc")
    assert back == state
    assert torch.equal(stored["model"]["w"], tensors["model"]["w"]) and stored["optimizer"] == tensors["optimizer"]
    assert torch.equal(torch.rand(4), expected)
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"], "nothing else is left behind"


def test_another_runs_state_or_a_damaged_one_is_refused(tmp_path):
    path = tmp_path / "state.pt"
    save_state(path, State("abc"), {})
    before = torch.get_rng_state()
    with pytest.raises(BadRecipe, match="begun with another recipe or other data"):
        load_state(path, "xyz")
    assert torch.equal(torch.get_rng_state(), before)
    whole = path.read_bytes()
    for damaged in (b"", b"ciao", whole[: len(whole) // 2], whole[:100] + bytes(100) + whole[200:]):
        path.write_bytes(damaged)
        with pytest.raises(BadRecipe, match=r"state\.pt: cannot be read as a run's state"):
            load_state(path, "abc")


def test_a_state_that_cannot_be_written_leaves_the_old_one(tmp_path):
    path = tmp_path / "state.pt"
    save_state(path, State("abc"), {})
    before = path.read_bytes()

    class Unstorable:
        def __reduce__(self):
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        save_state(path, State("abc", step=9), {"x": Unstorable()})
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_the_average_is_the_exponential_one_and_lets_the_weights_be():
    rng = np.random.default_rng(0)
    parameter = nn.Parameter(torch.tensor(rng.normal(size=5)))
    average = Average([parameter], 0.8)
    expected = parameter.detach().numpy().copy()
    for step in range(1, 60):
        with torch.no_grad():
            parameter += torch.tensor(rng.normal(size=5))
        average.update()
        decay = min(0.8, step / (step + 10))
        expected = decay * expected + (1 - decay) * parameter.detach().numpy()
    weights = parameter.detach().clone()
    with average.in_place():
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-12)
    assert torch.equal(parameter, weights)
    other = Average([nn.Parameter(torch.zeros(5, dtype=torch.float64))], 0.8)
    other.restore(average.state())
    assert other.steps == 59 and torch.equal(other.values[0], average.values[0])


def test_the_first_interrupt_waits_and_the_second_does_not():
    heard: list[str] = []
    with stop_requests(heard.append) as stop:
        assert not stop()
        signal.raise_signal(signal.SIGINT)
        assert stop() and len(heard) == 1
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_in_another_thread_training_leaves_signals_alone():
    results = []

    def work():
        with stop_requests(results.append) as stop:
            results.append(stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [False]

"""Where a run stands, as data: written whole, read back after any interruption.

Public names: State, save_state, load_state, Average, stop_requests.
"""

import contextlib
import io
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadRecipe
from ..files import atomic_write


@dataclass
class State:
    """The place in the run (stage, epoch, step within it), the best figure so far, and what it belongs to."""

    identity: str  # of recipe and data: a run goes on only with what it began with
    stage: int = 0
    epoch: int = 0
    step: int = 0
    best: float | None = None
    best_in_stage: float | None = None
    since_best: int = 0
    total_steps: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    energy: list[dict[str, Any]] = field(default_factory=list)  # what the run took before it was last taken up


def save_state(path: Path, state: State, tensors: Mapping[str, Any]) -> None:
    """Write the state with model, optimiser and random generator (`tensors`), atomically. Raises OSError."""
    buffer = (
        io.BytesIO()
    )  # torch turns a full disk into an error of its own; written to memory first, it stays an OSError
    torch.save({"state": asdict(state), "random": _random_state(), **tensors}, buffer)
    with atomic_write(path) as stream:
        stream.write(buffer.getbuffer())


def load_state(path: Path, identity: str) -> tuple[State, dict[str, Any]]:
    """Read a state back and set the random generator; returns it and the other tensors.

    Raises BadRecipe when recipe or data have changed since, and when the file is none of ours or damaged.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        state, random = State(**stored.pop("state")), stored.pop("random")
    except (RuntimeError, KeyError, TypeError, AttributeError, EOFError, pickle.UnpicklingError) as error:
        raise BadRecipe(f"{path}: cannot be read as a run's state; start again with another --out") from error
    if state.identity != identity:
        raise BadRecipe(
            f"{path.parent}: that run was begun with another recipe or other data; go on with those, "
            "or choose another --out"
        )
    torch.set_rng_state(random[0])
    if torch.cuda.is_available() and len(random) > 1:
        torch.cuda.set_rng_state_all(random[1:])
    return state, stored


def _random_state() -> list[Tensor]:
    """Return the state of the processor's generator, then of each GPU's."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [])]


@contextlib.contextmanager
def stop_requests(note: Callable[[str], None]) -> Iterator[Callable[[], bool]]:
    """Turn the first ^C into a request, so that no half-made step is ever stored; the function given tells of it.

    A second ^C interrupts at once. Outside the main thread, which alone hears signals, nothing changes.
    """
    requested = threading.Event()

    def hear(number: int, frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()
        note("stopping after this step; press ^C again to stop at once")

    if threading.current_thread() is not threading.main_thread():
        yield requested.is_set
        return
    before = signal.signal(signal.SIGINT, hear)
    try:
        yield requested.is_set
    finally:
        signal.signal(signal.SIGINT, before)


class Average:
    """An exponential moving average of the weights that learn.

    Early steps count less, so that the start is forgotten.
    """

    def __init__(self, parameters: list[nn.Parameter], decay: float) -> None:
        self.parameters, self.decay, self.steps = parameters, decay, 0
        self.values = [parameter.detach().clone() for parameter in parameters]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))
        torch._foreach_lerp_(self.values, [parameter.detach() for parameter in self.parameters], 1 - decay)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average where the weights are while the block runs, then the weights back."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def state(self) -> dict[str, Any]:
        """Return what `restore` reads."""
        return {"steps": self.steps, "values": self.values}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self.steps = state["steps"]
        stored: list[Tensor] = state["values"]
        for value, kept in zip(self.values, stored, strict=True):
            value.copy_(kept)

    @torch.no_grad()
    def _swap(self) -> None:
        for value, parameter in zip(self.values, self.parameters, strict=True):
            current = parameter.detach().clone()
            parameter.copy_(value)
            value.copy_(current)

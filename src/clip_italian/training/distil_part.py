"""A first part of a student's run, in which one of its sides learns by itself: steps, state, log, what it leaves.

Public names: PartRun, PartSettings, read_part.
"""

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ..errors import BadModel, BadRecipe
from ..files import atomic_write
from .optimizers import align_gradients
from .schedules import warmup_cosine
from .state import State, load_state, save_state, stop_requests
from .trainer import Reporter

SAVE_EVERY = 180.0  # seconds of work that a power cut may cost
READ_EVERY = 20  # steps between two looks at the losses
CLIPPING = 5.0


class PartSettings(Protocol):
    """How a part learns, as a recipe's tables say it."""

    @property
    def steps(self) -> int: ...  # noqa: D102
    @property
    def batch(self) -> int: ...  # noqa: D102
    @property
    def rate(self) -> float: ...  # noqa: D102
    @property
    def warmup(self) -> int: ...  # noqa: D102
    @property
    def weight_decay(self) -> float: ...  # noqa: D102


class PartRun:
    """The steps of a part, in `out`: NAME.pt while it runs, NAME.safetensors when it is done.

    identity: what a stored state belongs to. module: what learns. notes: kept with its weights, JSON values.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        settings: PartSettings,
        out: Path,
        *,
        identity: str,
        notes: Mapping[str, Any],
        reporter: Reporter,
    ) -> None:
        self.name, self.module, self.settings, self.out = name, module, settings, out
        self.notes, self.reporter, self.state = notes, reporter, State(identity)
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        decay = [parameter for parameter in self.parameters if parameter.ndim > 1]
        plain = [parameter for parameter in self.parameters if parameter.ndim <= 1]
        groups = [{"params": decay, "weight_decay": settings.weight_decay}, {"params": plain, "weight_decay": 0.0}]
        fused = self.parameters[0].device.type == "cuda" or None
        self.optimizer = torch.optim.AdamW(groups, lr=settings.rate, betas=(0.9, 0.98), fused=fused)
        self.saved = time.monotonic()

    def run(
        self,
        resume: bool,
        losses: Callable[[int], Tensor],
        entry: Callable[[list[float]], Mapping[str, object]],
    ) -> None:
        """Make the steps that are left.

        losses: from a step's number, those whose sum it makes smaller. entry: what the log says of their means.
        Stopped, it keeps its state and raises KeyboardInterrupt. Raises BadRecipe when a loss is no number.
        """
        self._begin(resume)
        begun, first = time.monotonic(), self.state.step
        sums: list[Tensor] = []
        self.module.train()
        with stop_requests(self.reporter.note) as stop:
            while self.state.step < self.settings.steps:
                sums.append(self._step(losses))
                if self.state.step % READ_EVERY == 0 or self.state.step == self.settings.steps:
                    seconds = max(time.monotonic() - begun, 1e-9)
                    rate = (self.state.step - first) * self.settings.batch / seconds
                    self._tell(torch.stack(sums).mean(0).tolist(), entry, rate)
                    sums.clear()
                if stop():
                    self._save()
                    raise KeyboardInterrupt
                if time.monotonic() - self.saved > SAVE_EVERY:
                    self._save()
        if self.state.step != first or not (self.out / f"{self.name}.safetensors").exists():
            self._save()
            self._keep()

    def _step(self, losses: Callable[[int], Tensor]) -> Tensor:
        state, settings = self.state, self.settings
        factor = warmup_cosine(state.step + 1, settings.steps + 1, min(settings.warmup, settings.steps // 5))
        for group in self.optimizer.param_groups:
            group["lr"] = settings.rate * factor
        found = losses(state.step)
        self.optimizer.zero_grad(set_to_none=True)
        found.sum().backward()
        align_gradients(self.parameters)
        nn.utils.clip_grad_norm_(self.parameters, CLIPPING)
        self.optimizer.step()
        state.step += 1
        return found.detach()

    def _begin(self, resume: bool) -> None:
        path = self.out / f"{self.name}.pt"
        if not (resume and path.exists()):
            return
        self.state, stored = load_state(path, self.state.identity)
        self.module.load_state_dict(stored["module"])
        self.optimizer.load_state_dict(stored["optimizer"])
        self.reporter.note(f"{self.name}: going on at step {self.state.step + 1}")

    def _tell(self, means: list[float], entry: Callable[[list[float]], Mapping[str, object]], rate: float) -> None:
        step = self.state.step
        if not all(map(math.isfinite, means)):
            raise BadRecipe(f"{self.name}, step {step}: a loss became {max(means)}; lower its rate in the recipe")
        self.reporter.step(self.name, step, self.settings.steps, sum(means), rate)
        line = {"part": self.name, "step": step, "examples_per_second": round(rate, 1), **entry(means)}
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")

    def _save(self) -> None:
        tensors: dict[str, Any] = {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict()}
        save_state(self.out / f"{self.name}.pt", self.state, tensors)
        self.saved = time.monotonic()

    def _keep(self) -> None:
        tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in self.module.state_dict().items()}
        with atomic_write(self.out / f"{self.name}.safetensors") as stream:
            stream.write(save(tensors, {"about": json.dumps([self.name, self.notes])}))


def read_part(path: Path) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Read what a finished part left: its name, notes and weights. Raises BadModel."""
    try:
        with safe_open(path, "pt") as stored:
            name, notes = json.loads((stored.metadata() or {})["about"])
            weights = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        return name, notes, weights
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise BadModel(
            f"{path}: cannot be read as what a part of a student's run leaves ({error}); give a model directory, or "
            "the blocks.safetensors or reading.safetensors of a run"
        ) from error

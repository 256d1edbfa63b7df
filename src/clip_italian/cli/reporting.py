"""How long work is shown: a live bar on a terminal, a line every half minute elsewhere.

Public name: ConsoleReporter.
"""

import json
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from ..training.plan import Plan, StagePlan

LINE_EVERY = 30.0


class ConsoleReporter:
    """Shows a run's progress with rate and time left; use as a context manager while it goes on."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(soft_wrap=True, highlight=False)
        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[extra]}"), TimeElapsedColumn(), TimeRemainingColumn(),
            console=self.console, disable=not self.console.is_terminal, transient=True,
        )  # fmt: skip
        self.task: TaskID | None = None
        self.kind, self.begun, self.first, self.shown = "", 0.0, 0, 0.0

    def __enter__(self) -> "ConsoleReporter":
        self.bar.start()
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.bar.stop()

    def note(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False)

    def settings(self, values: dict[str, Any]) -> None:
        """Print all settings of a command."""
        self.console.print(json.dumps(values, ensure_ascii=False, indent=2), markup=False)

    def work(self, what: str, done: int, total: int | None) -> None:
        """Show preparation. total: None while nobody knows it."""
        self._show(what, what, done, total, "")

    def step(self, what: str, done: int, total: int, loss: float, rate: float) -> None:
        """Show training; `what` is "stage epoch/epochs"."""
        self._show(what.rpartition(" ")[0], what, done, total, f"loss {loss:.3f}  {rate:.0f} pairs/s")

    def plan(self, plan: "Plan") -> None:
        """Print what a recipe would do."""
        parts = Table("stage", "part", title=f"{plan.name}: what learns, from {plan.pictures:,} pictures")
        for heading in ("numbers", "of them learn", "rate"):
            parts.add_column(heading, justify="right")
        for stage in plan.stages:
            for part in stage.parts:
                rate = "-" if part.rate is None else f"{part.rate:g}"
                parts.add_row(stage.name, part.name, f"{part.numbers:,}", f"{part.learning:,}", rate)
            parts.add_section()
        work = Table("", title="what it takes on this machine, from measured steps")
        for stage in plan.stages:
            work.add_column(stage.name, justify="right")
        for row in zip(_ROWS, *map(_cells, plan.stages), strict=True):
            work.add_row(*row)
        self.console.print(parts, work)
        total = sum(stage.seconds for stage in plan.stages)
        self.console.print(f"in all {_duration(total)}, validation not counted; nothing was written", markup=False)

    def _show(self, kind: str, what: str, done: int, total: int | None, extra: str) -> None:
        now = time.monotonic()
        if kind != self.kind or done <= self.first:
            if self.task is not None:
                self.bar.remove_task(self.task)
            self.task = self.bar.add_task(what, total=total, extra=extra)
            self.kind, self.begun, self.first, self.shown = kind, now, done, now
        assert self.task is not None
        self.bar.update(self.task, description=what, completed=done, total=total, extra=extra)
        if not self.console.is_terminal and now - self.shown > LINE_EVERY:
            self.shown = now
            if total is None:
                shown, left = f"{what}: {done}  {extra}".rstrip(), ""
            else:
                shown = f"{what}: {done}/{total}  {extra}".rstrip()
                left = f"  {_duration((now - self.begun) / max(1, done - self.first) * (total - done))} left"
            self.console.print(f"{shown}{left}", markup=False)


_ROWS = (
    "epochs", "pairs a step", "steps", "pairs", "features kept beforehand", "computing them", "one step",
    "memory: weights", "gradients, optimiser", "peak, measured", "time",
)  # fmt: skip


def _cells(stage: "StagePlan") -> list[str]:
    numbers = [f"{number:,}" for number in (stage.epochs, stage.batch, stage.steps, stage.pairs)]
    features = [f"{stage.features:,}", _duration(stage.feature_seconds)] if stage.features else ["none", "-"]
    memory = [_size(size) for size in (stage.weights, stage.learning_state, stage.peak)]
    return [*numbers, *features, f"{stage.step_seconds:.2f} s", *memory, _duration(stage.seconds)]


def _size(number: float) -> str:
    return f"{number / 2**20:.1f} MiB" if number < 2**30 else f"{number / 2**30:.1f} GiB"


def _duration(seconds: float) -> str:
    """Say how long, as precisely as a person cares."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"

"""What a recipe would do, without doing it: what learns, how many steps, how much memory, how long.

Public names: plan, Plan, StagePlan, PartPlan.
"""

import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import torch
from torch import nn

from ..data.sample import Sample
from .classes import Labelled
from .feeds import Report
from .intake import check_stage, learned_from, open_pictures, usable
from .recipe import Part, Recipe
from .setup import build
from .stage import Inputs, StageTraining, check_labelled

TIMED = 3  # steps, after one that warms up
SPARE = 64  # pictures opened beyond a batch, in case some do not open
# Numbers of the optimiser's own for each one that learns.
_MOMENTS = {"adabelief": 2, "adamw": 2, "sgd": 1}
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class PartPlan:
    """A part of the model in a stage: how many numbers it has, how many of them learn, and at which rate, if any do."""

    name: str
    numbers: int
    learning: int
    rate: float | None


@dataclass(frozen=True)
class StagePlan:
    """A stage's work. Times are seconds on this machine, memory is bytes.

    features: pictures, views counted apart, whose fixed part is computed beforehand; feature_seconds: how long that
    takes, scaled up from a batch. step_seconds: one step with its pictures' loading, the mean of `TIMED` after one to
    warm up. weights: the whole model's; learning_state: gradients, optimiser and average; peak: the most that the
    process held in those steps, measured. seconds: the whole stage without validation.
    """

    name: str
    parts: tuple[PartPlan, ...]
    epochs: int
    batch: int
    steps: int
    features: int
    feature_seconds: float
    step_seconds: float
    weights: int
    learning_state: int
    peak: int

    @property
    def pairs(self) -> int:
        """How many pairs are learned from, repetitions counted."""
        return self.steps * self.batch

    @property
    def seconds(self) -> float:
        """How long the stage takes."""
        return self.feature_seconds + self.steps * self.step_seconds


@dataclass(frozen=True)
class Plan:
    """A run's work; pictures: how many are learned from."""

    name: str
    pictures: int
    stages: tuple[StagePlan, ...]


def plan(
    recipe: Recipe,
    samples: Sequence[Sample],
    *,
    labelled: Labelled | None = None,
    note: Callable[[str], None] = lambda text: None,
    report: Report = lambda what, done, total: None,
) -> Plan:
    """Build the recipe's model, make a few steps of every stage on the first pictures, and say what a run would take.

    Nothing is kept. note, report: hear of what takes a while. Raises as `train` does; BadModel says so where a tower's
    source cannot be reached.
    """
    check_labelled(recipe, labelled)
    samples = usable(recipe, samples, lambda reason: None)
    cold = recipe.model_copy(update={"texts": recipe.texts.model_copy(update={"warm_start": 0})})
    checkpoint = build(cold, [caption.text for sample in samples for caption in sample.captions], note)
    bias = nn.Parameter(torch.tensor(recipe.loss.bias))
    with tempfile.TemporaryDirectory() as folder:
        stages = []
        for number, stage in enumerate(recipe.stages):
            check_stage(samples, stage)
            chosen = [samples[place] for place in learned_from(samples, stage)]
            few, _ = open_pictures(chosen[: stage.batch + SPARE], note, lambda what, done, total: None)
            check_stage(few, stage)
            note(f"measuring stage {stage.name}: {1 + TIMED} steps of {stage.batch}")
            inputs = Inputs(recipe, checkpoint, few[: stage.batch], (), Path(folder), report, labelled)
            stages.append(_plan_stage(inputs, number, bias, len(chosen), len(samples)))
    return Plan(recipe.name, len(samples), tuple(stages))


def _plan_stage(inputs: Inputs, number: int, bias: nn.Parameter, chosen: int, pictures: int) -> StagePlan:
    """chosen: pictures that the stage learns from; pictures: all, whose features are kept for the stages to come."""
    StageTraining(replace(inputs, samples=inputs.samples[:2]), number, bias)  # what only a first time costs
    first, _ = _opened(inputs, number, bias)
    again, training = _opened(inputs, number, bias)  # now that the features are there: the difference is theirs
    features = max(0.0, first - again)
    stage, model = training.stage, training.model
    step_seconds, peak = _measure(training)
    parts = _parts(training)
    learning = sum(part.learning for part in parts)
    return StagePlan(
        name=stage.name,
        parts=parts,
        epochs=stage.epochs,
        batch=stage.batch,
        steps=chosen // stage.batch * stage.epochs,
        features=pictures * len(training.images.kept),
        feature_seconds=features * pictures / stage.batch,
        step_seconds=step_seconds,
        weights=sum(parameter.numel() * parameter.element_size() for parameter in model.parameters()),
        learning_state=4 * learning * (1 + _MOMENTS[stage.optimizer] + (stage.average is not None)),
        peak=peak,
    )


def _opened(inputs: Inputs, number: int, bias: nn.Parameter) -> tuple[float, StageTraining]:
    begun = time.monotonic()
    training = StageTraining(inputs, number, bias)
    return time.monotonic() - begun, training


def _parts(training: StageTraining) -> tuple[PartPlan, ...]:
    model, rates = training.model, training.stage.learn
    towers = {"image_tower": model.image_tower, "text_tower": model.text_tower}
    numbers = {name: sum(parameter.numel() for parameter in tower.parameters()) for name, tower in towers.items()}
    parts = []
    for name in get_args(Part):
        total = numbers.get(name) or sum(parameter.numel() for parameter in model.part(name))
        learning = sum(parameter.numel() for parameter in training.parts.get(name, []))
        parts.append(PartPlan(name, total, learning, rates.get(name)))
    return tuple(parts)


def _measure(training: StageTraining) -> tuple[float, int]:
    """Make a step to warm up and `TIMED` more; returns the seconds of one of those and the process's peak in bytes."""
    if _CLEAR.exists():
        _CLEAR.write_text("5")  # the kernel forgets the peak reached before
    training.model.train()
    [batch] = training.batches(0)
    _run(training, [batch])
    begun = time.monotonic()
    _run(training, [batch] * TIMED)
    return (time.monotonic() - begun) / TIMED, _peak()


def _run(training: StageTraining, batches: list) -> None:
    for batch, (hidden, mirrored) in zip(batches, training.images.epoch(batches, 0), strict=True):
        training.step(0, 0, batch, hidden, mirrored)


def _peak() -> int:
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

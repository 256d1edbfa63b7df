"""The trainer: stages, epochs, steps; validates, keeps the best, can stop anywhere and go on.

Public names: train, Reporter, Outcome.
"""

import io
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from ..data.sample import Sample, corpora
from ..errors import BadRecipe
from ..files import atomic_write, lock, sha256_parts
from ..models.checkpoint import Checkpoint, learned_tensors, load_learned, save_checkpoint
from .classes import Labelled
from .energy import Meter, measure, total
from .feeds import samples_hash
from .folder import FEATURES, STATE, best_of, claim, tidy, writing
from .intake import Intake, check_stage, take_in, usable
from .logs import Log
from .recipe import Recipe, Stage
from .setup import SCRATCH, begin_from, build, check_device
from .stage import Inputs, StageTraining, check_labelled, check_learning
from .state import State, load_state, save_state, stop_requests

SAVE_EVERY = 300.0  # seconds of work that a power cut may cost


class Reporter(Protocol):
    """Hears how the run goes on; the command line shows it."""

    def note(self, text: str) -> None:
        """Something happened that is worth a line."""

    def work(self, what: str, done: int, total: int) -> None:
        """Some preparation moved on."""

    def step(self, what: str, done: int, total: int, loss: float, rate: float) -> None:
        """A training step ended; rate is pairs a second."""


@dataclass(frozen=True)
class Outcome:
    """What a run came to. best: the selected figure; history: one entry an epoch; skipped: pictures left out."""

    best: float
    history: list[dict[str, Any]]
    skipped: list[str]


def train(
    recipe: Recipe,
    samples: Sequence[Sample],
    valid: Mapping[str, Sequence[Sample]],
    out: Path,
    *,
    resume: bool = False,
    device: str = "cpu",
    labelled: Labelled | None = None,
    init: Path | None = None,
    reporter: Reporter,
) -> Outcome:
    """Train `recipe` on `samples`, validate on each of `valid`, and leave the best model in `out`, a model directory.

    resume: go on from the state in `out`; without it a folder that holds one is refused, and a folder that holds a
    model but no state is refused with it, too, so that nothing is lost. The first ^C ends the step, saves the state and
    raises KeyboardInterrupt. device: where it computes, "cpu" or as torch names GPUs. labelled: pictures of known
    classes, for a recipe with `classes`. init: a model directory of the recipe's architecture to begin from. Same
    recipe, data, machine and number of threads: same result on a CPU, however often interrupted; a GPU adds up in
    changing order. Raises BadRecipe, BadRecord, BadModel, MissingExtra, Busy, and CannotWrite, which leaves the last
    saved state whole.
    """
    check_device(device)
    check_labelled(recipe, labelled)
    if recipe.blend is not None and init is None:
        raise BadRecipe("blend: says how far to go towards a finished model; name one with --init, or leave it out")
    with writing(out), lock(out / ".lock", "training"), measure(country=recipe.country, device=device) as meter:
        claim(out, resume=resume)
        checkpoint, intake = _prepare(recipe, samples, valid, labelled, reporter)
        if init is not None:
            begin_from(checkpoint, init, recipe.blend)
        for reason in intake.skipped[:5]:
            reporter.note(f"skipped: {reason}")
        if intake.skipped:
            reporter.note(f"{len(intake.skipped)} pictures skipped, {len(intake.samples)} used")
        run = _Run(recipe, checkpoint, intake, out, device, meter, reporter)
        run.begin(resume)
        return Outcome(run.finish(), run.state.history, intake.skipped)


def _prepare(
    recipe: Recipe,
    samples: Sequence[Sample],
    valid: Mapping[str, Sequence[Sample]],
    labelled: Labelled | None,
    reporter: Reporter,
) -> tuple[Checkpoint, Intake]:
    """Build the model, then open the pictures, which may take minutes: a wrong setting is told of before."""
    hoped = usable(recipe, samples, lambda reason: None)
    for stage in recipe.stages:
        check_stage(hoped, stage)
    checkpoint = build(recipe, _captions(hoped), reporter.note)
    for stage in recipe.stages:
        check_learning(checkpoint.model, stage)
    intake = take_in(recipe, samples, valid, reporter.work, labelled)
    check_labelled(recipe, intake.labelled)
    if recipe.text_tower.type in SCRATCH and _captions(intake.samples) != _captions(hoped):
        checkpoint = build(recipe, _captions(intake.samples), reporter.note)  # its tokenizer is made of what is used
    return checkpoint, intake


class _Run:
    """One run: the model, the data, and where it stands."""

    def __init__(
        self,
        recipe: Recipe,
        checkpoint: Checkpoint,
        intake: Intake,
        out: Path,
        device: str,
        meter: Meter,
        reporter: Reporter,
    ) -> None:
        self.meter, self.before = meter, list[dict[str, Any]]()
        self.checkpoint, self.model = checkpoint, checkpoint.model.to(device)
        labelled = intake.labelled
        self.inputs = Inputs(recipe, checkpoint, intake.samples, intake.valid, out / FEATURES, reporter.work, labelled)
        self.recipe, self.out, self.reporter = recipe, out, reporter
        if named := corpora(intake.samples):
            checkpoint.notes["corpora"] = named
        known = [samples_hash(labelled.samples).encode(), labelled.classes.tobytes()] if labelled else []
        self.identity = sha256_parts([recipe.identity(), samples_hash(intake.samples).encode(), *known])
        self.state = State(self.identity)
        self.bias = nn.Parameter(torch.tensor(recipe.loss.bias, device=device))
        self.restored: dict[str, Any] = {}
        self.saved = time.monotonic()

    def begin(self, resume: bool) -> None:
        """Take up the stored state if there is one to go on with."""
        if not (resume and (self.out / STATE).exists()):
            return
        self.state, self.restored = load_state(self.out / STATE, self.identity)
        self.before = self.state.energy
        load_learned(self.model, self.restored["model"], str(self.out / STATE))
        if "bias" in self.restored:
            self.bias.data.copy_(self.restored["bias"])
        place = self.state
        if place.stage == len(self.recipe.stages):
            self.reporter.note("this run is finished; nothing is left to do")
        else:
            self.reporter.note(f"going on at stage {place.stage + 1}, epoch {place.epoch + 1}, step {place.step + 1}")

    def finish(self) -> float:
        """Run the stages that are left; returns the best figure."""
        with Log.open(self.out, self.state.total_steps, len(self.state.history)) as log:
            for number in range(self.state.stage, len(self.recipe.stages)):
                self._run_stage(number, log)
        tidy(self.out, len(self.recipe.stages))
        assert self.state.best is not None
        return self.state.best

    def _run_stage(self, number: int, log: Log) -> None:
        training = StageTraining(self.inputs, number, self.bias)
        stage, state, note = training.stage, self.state, self.reporter.note
        if "optimizer" in self.restored:
            training.restore(self.restored)
        self.restored = {}
        learning = sum(parameter.numel() for part in training.parts.values() for parameter in part)
        note(f"stage {stage.name}: {learning:,} numbers learn; {stage.epochs} epochs of {training.per_epoch} steps")
        with stop_requests(note) as stop:
            while state.epoch < stage.epochs and not self._patience_is_over(stage):
                seconds = self._run_epoch(training, log, stop)
                self._end_epoch(training, log, seconds)
                self._stop_if(stop, training, log)
        if self._patience_is_over(stage):
            note(f"no better figure for {state.since_best} epochs: the stage ends here")
        self._end_stage(number, log)

    def _run_epoch(self, training: StageTraining, log: Log, stop: Callable[[], bool]) -> float:
        """Run one epoch from where the state stands; returns the seconds it took."""
        state, stage = self.state, training.stage
        epoch, before = state.epoch, state.step
        batches = training.batches(epoch)[before:]
        begun = time.monotonic()
        self.model.train()
        for batch, (hidden, mirrored) in zip(batches, training.images.epoch(batches, epoch), strict=True):
            loss = training.step(epoch, state.step, batch, hidden, mirrored)
            state.step, state.total_steps = state.step + 1, state.total_steps + 1
            rate = (state.step - before) * stage.batch / (time.monotonic() - begun)
            where, done = f"{stage.name} {epoch + 1}/{stage.epochs}", epoch * training.per_epoch + state.step
            self.reporter.step(where, done, training.steps, loss, rate)
            log.step(state.total_steps, loss, training.optimizer.param_groups[0]["lr"], rate)
            self._stop_if(stop, training, log)
            if time.monotonic() - self.saved > SAVE_EVERY:
                self._save(training.stored(), log)
        return time.monotonic() - begun

    def _end_epoch(self, training: StageTraining, log: Log, seconds: float) -> None:
        """Validate, keep the model if it is the best, and store where the run stands."""
        state, stage = self.state, training.stage
        if (state.epoch + 1) % stage.validate_every and state.epoch + 1 < stage.epochs:
            state.epoch, state.step = state.epoch + 1, 0
            return
        if not (self.out / STATE).exists():
            self._save(training.stored(), log)  # a folder with a model but no state is refused: it may be anybody's
        with training.averaged():
            figures = training.validate()
            state.epoch, state.step = state.epoch + 1, 0
            entry = {"stage": stage.name, "epoch": state.epoch, "step": state.total_steps}
            state.history.append(entry | {"seconds": round(seconds, 1), "valid": figures})
            log.epoch(state.history[-1])
            self._keep_if_best(float(np.mean([part[self.recipe.select] for part in figures.values()])), training)
        for name, part in figures.items():
            shown = "  ".join(f"{key} {part[key]:.3f}" for key in ("loss", "mrr@10", "recall@1", "recall@10"))
            self.reporter.note(f"{stage.name} {state.epoch}/{stage.epochs}  {name}: {shown}  ({seconds:.0f} s)")
        self._save(training.stored(), log)

    def _end_stage(self, number: int, log: Log) -> None:
        """Go on from the stage's best weights, as the paper's second stage did from the first one's."""
        state, name = self.state, best_of(number)
        load_learned(self.model, torch.load(self.out / name, map_location="cpu", weights_only=True), name)
        state.stage, state.epoch, state.step = number + 1, 0, 0
        state.best_in_stage, state.since_best = None, 0
        self._save({"bias": self.bias.detach()}, log)

    def _keep_if_best(self, figure: float, training: StageTraining) -> None:
        """Write the model directory when the figure is the best of the run, and the stage's best beside the state."""
        state = self.state
        if not math.isfinite(figure):
            raise BadRecipe(f"stage {training.stage.name!r}: validation gives {figure}; lower its learning rates")
        if self._better(figure, state.best_in_stage):
            state.best_in_stage, state.since_best = figure, 0
            buffer = io.BytesIO()
            torch.save(learned_tensors(self.model), buffer)
            with atomic_write(self.out / best_of(training.number)) as stream:
                stream.write(buffer.getbuffer())
        else:
            state.since_best += 1
        if self._better(figure, state.best):
            state.best = figure
            self.checkpoint.notes |= {"figures": state.history[-1], "energy": total(self._energy())}
            save_checkpoint(self.checkpoint, self.out, half=self.recipe.weights == "float16")

    def _energy(self) -> list[dict[str, Any]]:
        """Return what the run has taken, once for each time that it was taken up."""
        return [*self.before, self.meter.so_far()]

    def _better(self, figure: float, than: float | None) -> bool:
        return than is None or (figure < than if self.recipe.select == "loss" else figure > than)

    def _patience_is_over(self, stage: Stage) -> bool:
        return stage.patience is not None and self.state.since_best >= stage.patience

    def _stop_if(self, stop: Callable[[], bool], training: StageTraining, log: Log) -> None:
        if stop():
            self._save(training.stored(), log)
            raise KeyboardInterrupt

    def _save(self, tensors: Mapping[str, Any], log: Log) -> None:
        self.state.energy = self._energy()
        log.flush()  # first, so that the log has every step that the state counts
        save_state(self.out / STATE, self.state, {"model": learned_tensors(self.model), **tensors})
        self.saved = time.monotonic()


def _captions(samples: Sequence[Sample]) -> list[str]:
    return [caption.text for sample in samples for caption in sample.captions]

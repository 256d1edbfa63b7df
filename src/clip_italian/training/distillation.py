"""Distillation: a small student learns from what a larger model of ours says of pictures and texts.

Public names: distil, Outcome.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..errors import BadRecipe
from ..files import lock
from ..models.checkpoint import Checkpoint, learned_tensors, load_checkpoint, load_learned, save_checkpoint
from ..models.towers import build_image_tower
from .distil_blocks import BLOCKS, learn_blocks
from .distil_layout import choose_layout
from .distil_reading import READING, learn_reading
from .distil_recipe import DistilRecipe
from .distil_setup import (
    Check,
    Data,
    Pictures,
    asked_texts,
    make_student,
    prepare,
    read_pictures,
    student_preprocess,
)
from .distil_start import given
from .distil_student import LOSSES, EpochPlan, Student
from .distil_texts import TextPool, tokenised
from .energy import Meter, measure, total
from .folder import STATE, claim, writing
from .memory import keep_memory
from .setup import check_device
from .state import State, load_state, save_state, stop_requests
from .trainer import Reporter

SAVE_EVERY = 180.0  # seconds of work that a power cut may cost
READ_EVERY = 20  # steps between two looks at the loss, each of which waits for the GPU
WARM, MEASURED = 10, 20  # steps before and during the measurement that --minutes needs
SPARE = 4.0  # seconds left at the end of --minutes
TEACHING = 0.35  # share of --minutes after which the teacher is shown no further views
TEACHER, TEACHER_TEXTS = "teacher.safetensors", "teacher-texts.safetensors"
ENDLESS = 10**9


@dataclass(frozen=True)
class Outcome:
    """What a run came to. best: mean MRR@10 of what is kept, None where no student was made; rate: pictures a second,
    the last measured.
    """

    best: float | None
    rate: float


def distil(
    recipe: DistilRecipe,
    teacher: Path,
    data: Data,
    out: Path,
    *,
    device: str = "cpu",
    minutes: float | None = None,
    begun: float | None = None,
    resume: bool = False,
    init: Sequence[Path] = (),
    only: Literal["blocks", "reading"] | None = None,
    reporter: Reporter,
) -> Outcome:
    """Train a student of `teacher`, a model directory, and leave the best one in `out`, a model directory too.

    init: what parts of other runs left (`distil_start.given` reads them); the recipe's own parts are then left out,
    but for reading where `only` names it, which goes on from there. only: the part behind which the run ends. minutes:
    how long the whole run may take from `begun` (of time.monotonic(); now if not given): the number of steps is set by
    their measured rate. The first ^C ends the step, saves the state and raises KeyboardInterrupt. Raises BadRecipe,
    BadRecord, BadModel, MissingExtra, Busy, CannotWrite.
    """
    if minutes is not None and not 0 < minutes < math.inf:
        raise BadRecipe(f"--minutes {minutes:g}: give a number above 0, such as 30")
    start = time.monotonic() if begun is None else begun
    deadline, until = (start + 60 * minutes, start + 60 * minutes * TEACHING) if minutes is not None else (None, None)
    check_device(device)
    place = torch.device(device)
    if place.type == "cuda":
        torch.backends.cudnn.benchmark = True
    keep_memory()
    with writing(out), lock(out / ".lock", "training"), measure(country=recipe.country, device=device) as meter:
        _claim(out, resume)
        master = load_checkpoint(teacher)
        if master.preprocess.resize != recipe.pictures.resize:
            raise BadRecipe(f"pictures.resize: the teacher was trained with {master.preprocess.resize!r}; use that")
        # On a GPU the teacher's answers come faster than a disk takes them; on processors they are hours of work.
        kept = out if place.type == "cpu" and deadline is None else None
        parts, starts = _Parts(recipe, master, data, out, kept, resume, reporter), [given(path) for path in init]
        tokenizer = next((one.tokenizer for one in starts if one.tokenizer), None)
        if only == "reading":
            reader, pool = make_student(recipe, master, data.samples, data, reporter, tokenizer)
            for one in starts:
                one.fill(reader)
            parts.read(reader, pool, place)
            return Outcome(None, 0.0)
        if only == "blocks" and (brought := [one.where for one in starts if one.image]):
            raise BadRecipe(f"--only blocks: --init {brought[0]} brings an image tower already; leave one of them out")
        pictures = read_pictures(recipe, data, place, reporter)
        begun_before = resume and (out / STATE).exists()
        blocks = None if begun_before or any(one.image for one in starts) else parts.blocks(pictures)
        if only == "blocks":
            return Outcome(None, 0.0)
        student, pool = make_student(recipe, master, pictures.learned.samples, data, reporter, tokenizer)
        if blocks is not None:
            student.model.image_tower.load_state_dict(blocks)
        text = None
        if not begun_before:
            for one in starts:
                one.fill(student)
            reads = not any(one.text for one in starts)
            text = parts.read(student, pool, place) if reads else parts.asked(pool, place)
        answers = kept and kept / TEACHER
        learner, checks, identity = prepare(
            recipe, master, student, pool, data, pictures, text, answers, until, reporter
        )
        run = _Run(recipe, learner, checks, out, identity, deadline, meter, reporter)
        run.begin(resume)
        return run.finish()


@dataclass(frozen=True)
class _Parts:
    """The parts of a run that come before the whole student learns, as far as the recipe has them."""

    recipe: DistilRecipe
    teacher: Checkpoint
    data: Data
    out: Path
    kept: Path | None
    resume: bool
    reporter: Reporter

    def blocks(self, pictures: Pictures) -> dict[str, Tensor] | None:
        """Let the image tower's stages learn; returns its weights, None where the recipe has no such part."""
        recipe = self.recipe
        if recipe.blockwise is None:
            return None
        torch.manual_seed(recipe.seed)
        tower = build_image_tower(recipe.image_tower.model_dump())
        learn_blocks(
            tower, self.teacher.model.image_tower, pictures.learned, student_preprocess(recipe), recipe, self.out,
            resume=self.resume, reporter=self.reporter,
        )  # fmt: skip
        return tower.state_dict()

    def read(self, student: Checkpoint, pool: TextPool, device: torch.device) -> Tensor | None:
        """Let the student's text side learn; returns what the teacher says of the texts, None without such a part."""
        if self.recipe.reading is None:
            return None
        wanted = self.asked(pool, device)
        pieces = tokenised(pool.texts, student.tokenizer, device, self.reporter.work)
        student.model.to(device)
        learn_reading(student, pool, pieces, wanted, self.recipe, self.out, resume=self.resume, reporter=self.reporter)
        return wanted

    def asked(self, pool: TextPool, device: torch.device) -> Tensor:
        """Return what the teacher says of the texts, asked now or in an earlier run whose answers lie in `out`."""
        kept = self.kept and self.kept / TEACHER_TEXTS
        return asked_texts(self.recipe, self.teacher, pool, kept, device, self.reporter.work)


def _claim(out: Path, resume: bool) -> None:
    claim(out, resume=resume)
    if not resume and any((out / f"{name}.pt").exists() for name in (BLOCKS, READING)):
        raise BadRecipe(f"{out}: holds an unfinished run; add --resume, or choose another --out")


class _Run:
    """One run, and where it stands. total: its steps, as far as they are known."""

    def __init__(
        self,
        recipe: DistilRecipe,
        student: Student,
        checks: Sequence[Check],
        out: Path,
        identity: str,
        deadline: float | None,
        meter: Meter,
        reporter: Reporter,
    ) -> None:
        self.meter, self.before = meter, list[dict[str, Any]]()
        self.recipe, self.student, self.checks, self.out = recipe, student, checks, out
        self.deadline, self.reporter = deadline, reporter
        self.state, self.saved, self.rate = State(identity), time.monotonic(), 0.0
        self.total = ENDLESS if deadline else recipe.epochs * student.per_epoch
        if student.device.type == "cuda":
            size = recipe.pictures.size
            pixels = torch.randn(recipe.batch, 3, size, size, device=student.device)
            tower, bfloat16 = student.model.image_tower.train(), recipe.precision == "bfloat16"
            choose_layout(tower, pixels, bfloat16=bfloat16, note=reporter.note)
        self.step_seconds = self.check_seconds = 0.0

    def begin(self, resume: bool) -> None:
        """Take up the stored state if there is one to go on with."""
        if not (resume and (self.out / STATE).exists()):
            return
        self.state, stored = load_state(self.out / STATE, self.state.identity)
        self.before = self.state.energy
        load_learned(self.student.model, stored["model"], str(self.out / STATE))
        self.student.restore(stored)
        self.reporter.note(f"going on at epoch {self.state.epoch + 1}, step {self.state.step + 1}")

    def finish(self) -> Outcome:
        """Make the steps that are left."""
        state, student, per_epoch = self.state, self.student, self.student.per_epoch
        student.model.train()
        if self.deadline is None:
            self.reporter.note(f"{self.total:,} steps of {self.recipe.batch} pictures, {per_epoch} an epoch")
        with stop_requests(self.reporter.note) as stop:
            while state.total_steps < self.total:
                begun = time.monotonic()
                plan = student.plan(state.epoch)
                self._run_epoch(plan, begun, stop)
                over = state.total_steps >= self.total
                measured = bool(state.history) and state.history[-1]["step"] == state.total_steps
                if (over or (state.step == 0 and state.epoch % self.recipe.validate_every == 0)) and not measured:
                    self._validate(plan)
                    self._plan_time()
        self._save()
        for name in (TEACHER, TEACHER_TEXTS, f"{BLOCKS}.pt", f"{READING}.pt"):
            (self.out / name).unlink(missing_ok=True)
        return Outcome(state.best or 0.0, self.rate)

    def _run_epoch(self, plan: EpochPlan, begun: float, stop: Callable[[], bool]) -> None:
        """Run one epoch, or what is left of it or of the run; begun: when it was drawn."""
        state, student, done = self.state, self.student, 0
        sums: list[Tensor] = []
        for place in range(state.step, len(plan)):
            sums.append(student.step(plan, state.epoch, place, state.total_steps, self.total))
            state.step, state.total_steps, done = state.step + 1, state.total_steps + 1, done + 1
            if done % READ_EVERY == 0 or place + 1 == len(plan):
                parts = torch.stack(sums).mean(0).tolist()
                sums.clear()
                self.rate = done * self.recipe.batch / (time.monotonic() - begun)
                self._tell(parts)
            if stop():
                self._save()
                raise KeyboardInterrupt
            if self.deadline and not self.step_seconds:
                self._measure(plan, stop)
                begun, done = time.monotonic(), 0
            if state.total_steps >= self.total:
                break
            if time.monotonic() - self.saved > SAVE_EVERY:
                self._save()
        if state.step >= len(plan):
            state.epoch, state.step = state.epoch + 1, 0

    def _measure(self, plan: EpochPlan, stop: Callable[[], bool]) -> None:
        """Time steps and a validation, all of which count, and set the number of steps that the minutes allow."""
        state, student, begun = self.state, self.student, 0.0
        for number in range(WARM + MEASURED):
            if number == WARM:
                begun = self._now()
            student.step(plan, state.epoch, number % len(plan), state.total_steps, self.total)
            state.total_steps += 1
            if stop():
                self._save()
                raise KeyboardInterrupt
        self.step_seconds = (self._now() - begun) / MEASURED
        begun = time.monotonic()
        self._validate(plan)
        self.check_seconds = self._now() - begun
        self._plan_time()

    def _plan_time(self) -> None:
        """Set the run's length by the time that is left."""
        if self.deadline is None:
            return
        if self.rate:
            self.step_seconds = self.recipe.batch / self.rate
        left = self.deadline - time.monotonic() - SPARE - self.check_seconds
        every = self.student.per_epoch * self.recipe.validate_every
        steps = max(0, math.floor(left / (self.step_seconds + self.check_seconds / every)))
        if self.total == ENDLESS:
            self.reporter.note(
                f"{self.recipe.batch / self.step_seconds:.0f} pictures/s, {left:.0f} s left: {steps} more steps, "
                f"{steps / self.student.per_epoch:.1f} epochs"
            )
        if self.state.total_steps < self.total:
            self.total = self.state.total_steps + steps

    def _validate(self, plan: EpochPlan) -> None:
        """Measure the averaged student, and keep it if it is the best."""
        state, student, checkpoint = self.state, self.student, self.student.checkpoint
        if not (self.out / STATE).exists():
            self._save()  # a folder with a model but no state is refused: it may be anybody's
        with student.settled(plan, state.epoch):
            figures = {check.name: check(student.model) for check in self.checks}
            mean = float(np.mean([part["mrr@10"] for part in figures.values()]))
            if not math.isfinite(mean):
                raise BadRecipe(f"validation gives {mean}; lower the learning rates")
            state.history.append({"step": state.total_steps, "epoch": state.epoch, "valid": figures})
            if state.best is None or mean > state.best:
                state.best = mean
                checkpoint.notes |= {"figures": state.history[-1], "energy": total(self._energy())}
                save_checkpoint(checkpoint, self.out, half=self.recipe.weights == "float16")
        for name, part in figures.items():
            shown = "  ".join(f"{key} {value:.4f}" for key, value in part.items())
            self.reporter.note(
                f"step {state.total_steps}, epoch {state.epoch}  {name}: {shown}  {self.rate:.0f} pictures/s"
            )
        self._log(state.history[-1])

    def _tell(self, parts: Sequence[float]) -> None:
        state, weights = self.state, self.recipe.loss
        loss = sum(getattr(weights, name) * part for name, part in zip(LOSSES, parts, strict=True))
        if not math.isfinite(loss):
            raise BadRecipe(f"step {state.total_steps}: the loss became {loss}; lower the learning rates")
        total = max(state.total_steps, self.total)
        self.reporter.step(f"distillation, epoch {state.epoch + 1}", state.total_steps, total, loss, self.rate)
        entry = {"step": state.total_steps, "loss": round(loss, 5), "pictures_per_second": round(self.rate, 1)}
        self._log(entry | {name: round(part, 5) for name, part in zip(LOSSES, parts, strict=True)})

    def _log(self, entry: Mapping[str, object]) -> None:
        with (self.out / "log.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def _energy(self) -> list[dict[str, Any]]:
        """Return what the run has taken, once for each time that it was taken up."""
        return [*self.before, self.meter.so_far()]

    def _save(self) -> None:
        self.state.energy = self._energy()
        save_state(
            self.out / STATE, self.state, {"model": learned_tensors(self.student.model), **self.student.stored()}
        )
        self.saved = time.monotonic()

    def _now(self) -> float:
        """Return the time when all that was asked of the device is done."""
        if self.student.device.type == "cuda":
            torch.cuda.synchronize()
        return time.monotonic()

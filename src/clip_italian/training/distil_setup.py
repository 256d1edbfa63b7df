"""From a recipe, a teacher and data to a student ready to learn, with all that it reads on the device.

Public names: Data, Check, prepare.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.class_names import ClassName
from ..data.sample import Sample
from ..data.seeded import generator
from ..errors import BadRecipe, BadRecord
from ..evaluation.metrics import mrr_at_k, ranks_from_vectors, recall_at_k
from ..files import sha256_parts
from ..models.checkpoint import Checkpoint
from ..models.dual import DualEncoder
from ..models.torch_encoder import fingerprint
from ..preprocess import Preprocess
from .distil_recipe import DistilRecipe
from .distil_student import Lessons, Student
from .distil_teacher import Source, teach
from .distil_texts import Pieces, gather, tokenised
from .distil_views import Decoded, decode, draw_views, normalised
from .feeds import samples_hash
from .recipe import Recipe
from .setup import SCRATCH, build, learnable
from .trainer import Reporter
from .validation import ValidSet


@dataclass(frozen=True)
class Data:
    """What a student's run reads: pictures, sets to validate on, further texts by file, class names in their order."""

    samples: Sequence[Sample]
    valid: Mapping[str, Sequence[Sample]]
    lines: Sequence[Sequence[str]] = ()
    classes: Sequence[ClassName] = ()


@dataclass(frozen=True)
class Check:
    """A validation set, ready on the device."""

    name: str
    pixels: Tensor
    pieces: Pieces
    owners: np.ndarray
    preprocess: Preprocess

    @classmethod
    def of(cls, name: str, decoded: Decoded, student: Checkpoint, device: torch.device) -> "Check":
        """Bring the set's Italian captions to the device beside its pictures. Raises BadRecord when it has none."""
        data = ValidSet.of(name, decoded.samples, "it")
        pieces = tokenised(data.texts, student.tokenizer, device, lambda what, done, total: None)
        return cls(name, decoded.pixels, pieces, data.owners, student.preprocess)

    @torch.no_grad()
    def __call__(self, model: DualEncoder) -> dict[str, float]:
        """Return mrr@10 and recall@k of text→image, ties pessimistic, in float32."""
        tuning, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False  # shapes that come but once
        images = [model.encode_images(normalised(part.float(), self.preprocess)) for part in self.pixels.split(256)]
        places = torch.arange(len(self.owners), device=self.pixels.device)
        width = self.pieces.ids.shape[1]
        texts = [model.encode_texts(*self.pieces.batch(part, width)) for part in places.split(512)]
        torch.backends.cudnn.benchmark = tuning
        image, text = torch.cat(images).cpu().numpy(), torch.cat(texts).cpu().numpy()
        ranks = ranks_from_vectors(text, image, self.owners, np.arange(len(image)))
        return {"mrr@10": mrr_at_k(ranks, 10)} | {f"recall@{k}": recall_at_k(ranks, k) for k in (1, 10)}


def prepare(
    recipe: DistilRecipe,
    teacher: Checkpoint,
    data: Data,
    kept: Path | None,
    until: float | None,
    device: torch.device,
    reporter: Reporter,
) -> tuple[Student, list[Check], str]:
    """Decode, draw, ask the teacher, build; returns the student, what validates it, and what its run belongs to.

    kept: where the teacher's answers are kept for a run that goes on. until: when it should be done with views, as for
    `distil_teacher.Source`. Raises as `distillation.distil` does.
    """
    if teacher.preprocess.resize != recipe.pictures.resize:
        raise BadRecipe(f"pictures.resize: the teacher was trained with {teacher.preprocess.resize!r}; use that")
    rng = generator(recipe.seed, 0, recipe.name, "lessons")
    decoded, shown = _decoded(recipe, data, device, reporter)
    views = draw_views(decoded.samples, recipe.views, rng)
    pool = gather(decoded.samples, recipe.texts, data.lines, data.classes, rng)
    counts = ", ".join(f"{len(places):,} {kind}" for kind, places in pool.kinds.items())
    reporter.note(f"{len(decoded.samples):,} pictures in {len(views.picture):,} views; texts: {counts}")
    ordinary = _ordinary(recipe, teacher.model.dim)
    student = build(ordinary, pool.texts, reporter.note)
    _start_words(student)
    student.notes.update({"recipe": recipe.stored(), "teacher": teacher.name})
    student.notes["data"] = {"pictures": len(decoded.samples), "texts": len(pool.texts)}
    _tell_size(student, reporter)
    marks = [recipe.identity(), samples_hash(decoded.samples).encode(), *(text.encode() for text in pool.texts)]
    answers = sha256_parts([*marks, fingerprint(teacher.model, teacher.tokenizer, teacher.preprocess).encode()])
    # The best figure so far is one of these sets: others would be measured against it. The answers stay good.
    sets = [part.encode() for name in sorted(shown) for part in (name, samples_hash(shown[name].samples))]
    identity = sha256_parts([answers.encode(), *sets])
    teacher.model.to(device)
    begun = time.monotonic()
    source = Source(teacher, decoded.pixels, views, pool, recipe.precision == "bfloat16", recipe.teacher_batch, until)
    with ThreadPoolExecutor(1) as beside:  # processors read texts while a GPU looks at pictures
        reading = beside.submit(tokenised, pool.texts, student.tokenizer, device, lambda what, done, total: None)
        taught = teach(source, kept, answers, reporter.work)
        pieces = reading.result()
    seen = int(np.minimum(views.count, int(taught.rounds)).sum())
    reporter.note(f"the teacher's answers to {seen:,} views took {time.monotonic() - begun:.0f} s")
    views = replace(views, count=np.minimum(views.count, int(taught.rounds)))
    student.model.to(device)
    has = pool.weight.any(1)
    lessons = Lessons(decoded.pixels, views, pool, pieces, taught, np.flatnonzero(has), np.flatnonzero(~has))
    learner = Student(recipe, student, lessons, learnable(student.model, ordinary.stages[0]))
    return learner, [Check.of(name, part, student, device) for name, part in shown.items()], identity


def _decoded(
    recipe: DistilRecipe, data: Data, device: torch.device, reporter: Reporter
) -> tuple[Decoded, dict[str, Decoded]]:
    """Return the pictures to learn from, and those of each validation set, none of which may be among the first."""
    skipped: list[str] = []
    kept = Preprocess(recipe.views.kept, recipe.pictures.resize)
    learned = decode(data.samples, kept, device, on_skip=skipped.append, report=reporter.work)
    own = Preprocess(recipe.pictures.size, recipe.pictures.resize)
    shown = {
        name: decode(part, own, device, on_skip=skipped.append, report=reporter.work)
        for name, part in data.valid.items()
    }
    for reason in skipped[:5]:
        reporter.note(f"skipped: {reason}")
    if skipped:
        reporter.note(f"{len(skipped)} pictures skipped, {len(learned.samples)} used")
    _refuse_leaks(learned, shown)
    return learned, shown


def _ordinary(recipe: DistilRecipe, dim: int) -> Recipe:
    """Return the recipe as the ordinary trainer's model builder reads it."""
    stage = {"name": "distillation", "learn": recipe.learn, "epochs": recipe.epochs, "batch": recipe.batch}
    texts = {name: getattr(recipe.texts, name) for name in ("max_length", "vocabulary", "languages")}
    same = {name: getattr(recipe, name).model_dump(exclude_none=True) for name in ("image_tower", "text_tower")}
    heads = {name: getattr(recipe, name).model_dump(exclude_none=True) for name in ("image_head", "text_head")}
    values = {
        "name": recipe.name,
        "seed": recipe.seed,
        "dim": dim,
        "scale": recipe.scale,
        "texts": texts,
        **same,
        **heads,
    }
    return Recipe.model_validate(
        values | {"pictures": recipe.pictures.model_dump(exclude_none=True), "stages": [stage]}
    )


def _refuse_leaks(learned: Decoded, shown: Mapping[str, Decoded]) -> None:
    origin = dict(zip(learned.digests, (sample.key for sample in learned.samples), strict=True))
    for name, part in shown.items():
        leaks = [
            (sample.key, origin[digest])
            for sample, digest in zip(part.samples, part.digests, strict=True)
            if digest in origin
        ]
        if leaks:
            raise BadRecord(
                f"{name}: {len(leaks)} of its {len(part.samples)} pictures are also learned from: {leaks[0][0]} "
                f"(in training: {leaks[0][1]}); take them out of one of the two"
            )


def _start_words(student: Checkpoint) -> None:
    """Let word vectors start small: in a short run, a rare piece's would else stay what chance made it.

    A pretrained tower's stay as they are.
    """
    if student.model.text_tower.spec["type"] not in SCRATCH:
        return
    for module in student.model.text_tower.modules():
        if isinstance(module, torch.nn.Embedding):
            torch.nn.init.normal_(module.weight, std=0.02)


def _tell_size(student: Checkpoint, reporter: Reporter) -> None:
    model = student.model
    parts = {"image tower": model.image_tower, "text tower": model.text_tower, "model": model}
    sizes = ", ".join(f"{name} {sum(p.numel() for p in part.parameters()):,}" for name, part in parts.items())
    reporter.note(f"numbers that learn: {sizes}")

"""From a recipe, a teacher and data to a student ready to learn, with all that it reads on the device.

Public names: Data, Check, Pictures, read_pictures, student_preprocess, make_student,
asked_texts, prepare.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..data.class_names import ClassName
from ..data.sample import Sample, corpora
from ..data.seeded import generator
from ..errors import BadRecipe, BadRecord
from ..evaluation.metrics import mrr_at_k, ranks_from_vectors, recall_at_k
from ..files import sha256_parts
from ..models.checkpoint import Checkpoint
from ..models.dual import DualEncoder
from ..models.tokenizer import Tokenizer
from ..models.torch_encoder import fingerprint
from ..preprocess import Preprocess
from .distil_reading import TextSide, text_side_notes
from .distil_recipe import DistilRecipe
from .distil_student import Lessons, Student
from .distil_teacher import Source, teach, teach_texts
from .distil_texts import Pieces, TextPool, gather, tokenised
from .distil_views import Decoded, decode, draw_views, normalised
from .feeds import Report, samples_hash
from .recipe import Part, Recipe
from .setup import SCRATCH, build, learnable
from .trainer import Reporter
from .validation import ValidSet


@dataclass(frozen=True)
class Data:
    """What a student's run reads: pictures, sets to validate on, further texts by file, class names in their order.

    wnids: WordNet ids of the classes that the pictures' labels count through, where these are known.
    """

    samples: Sequence[Sample]
    valid: Mapping[str, Sequence[Sample]]
    lines: Sequence[Sequence[str]] = ()
    classes: Sequence[ClassName] = ()
    wnids: Sequence[str] = ()


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
        return cls(name, decoded.pixels.large, pieces, data.owners, student.preprocess)

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


@dataclass(frozen=True)
class Pictures:
    """Pictures on the device: those to learn from, and those of each validation set at the student's size."""

    learned: Decoded
    shown: Mapping[str, Decoded]


def make_student(
    recipe: DistilRecipe,
    teacher: Checkpoint,
    samples: Sequence[Sample],
    data: Data,
    reporter: Reporter,
    tokenizer: Tokenizer | None = None,
) -> tuple[Checkpoint, TextPool]:
    """Return the student as it begins, and all texts, from which it gets a tokenizer unless one is given.

    Raises BadRecord.
    """
    rng = generator(recipe.seed, 0, recipe.name, "texts")
    pool = gather(samples, recipe.texts, data.lines, data.classes, rng)
    counts = ", ".join(f"{len(places):,} {kind}" for kind, places in pool.kinds.items())
    reporter.note(f"{len(samples):,} pictures; texts: {counts}")
    student = build(_ordinary(recipe, teacher.model.dim), pool.texts, reporter.note, tokenizer=tokenizer)
    _start_words(student)
    mark = fingerprint(teacher.model, teacher.tokenizer, teacher.preprocess)
    student.notes.update({"recipe": recipe.stored(), "teacher": {"name": teacher.name, "fingerprint": mark}})
    # A place may stand several times in a kind, as often as it is drawn.
    kinds = {kind: len(np.unique(places)) for kind, places in pool.kinds.items()}
    if named := corpora(samples):
        student.notes["corpora"] = named
    student.notes["data"] = {"pictures": len(samples), "texts": len(pool.texts), "kinds": kinds}
    _tell_size(student, reporter)
    return student, pool


def asked_texts(
    recipe: DistilRecipe, teacher: Checkpoint, pool: TextPool, kept: Path | None, device: torch.device, report: Report
) -> Tensor:
    """Return what the teacher says of the texts, (texts, dim) float16 unit rows; kept: a file to find it again in."""
    teacher.model.to(device)
    mark = fingerprint(teacher.model, teacher.tokenizer, teacher.preprocess)
    identity = sha256_parts([mark.encode(), recipe.precision.encode(), *(text.encode() for text in pool.texts)])
    bfloat16 = recipe.precision == "bfloat16"
    return teach_texts(teacher, pool.texts, device, bfloat16=bfloat16, kept=kept, identity=identity, report=report)


def prepare(
    recipe: DistilRecipe,
    teacher: Checkpoint,
    student: Checkpoint,
    pool: TextPool,
    data: Data,
    pictures: Pictures,
    text: Tensor | None,
    kept: Path | None,
    until: float | None,
    reporter: Reporter,
) -> tuple[Student, list[Check], str]:
    """Draw views, ask the teacher; returns what learns, what validates it, and what its run belongs to.

    text: what the teacher says of the texts, if it was asked. kept: where its answers are kept for a run that goes on.
    until: when it should be done with views, as for `distil_teacher.Source`. Raises as `distillation.distil` does.
    """
    decoded, shown, device = pictures.learned, pictures.shown, pictures.learned.pixels.device
    views = draw_views(decoded.samples, recipe.views, generator(recipe.seed, 0, recipe.name, "views"))
    labels = _labels(decoded.samples, data, device)
    asked = [str(recipe.seed), recipe.name, recipe.views.model_dump_json(), recipe.precision, recipe.classifier]
    marks = [*asked, samples_hash(decoded.samples), fingerprint(teacher.model, teacher.tokenizer, teacher.preprocess)]
    answers = sha256_parts(part.encode() for part in (*marks, *pool.texts))
    # The best figure so far is one of these sets: others would be measured against it. The answers stay good.
    sets = [part for name in sorted(shown) for part in (name, samples_hash(shown[name].samples))]
    known = b"" if labels is None else labels.cpu().numpy().tobytes()
    sets.append(str(text_side_notes(student)))
    identity = sha256_parts([answers.encode(), recipe.identity(), known, *(part.encode() for part in sets)])
    teacher.model.to(device)
    begun = time.monotonic()
    source = Source(
        teacher,
        decoded.pixels,
        views,
        pool,
        recipe.precision == "bfloat16",
        recipe.teacher_batch,
        until,
        text,
        recipe.classifier == "untouched",
        (recipe.views.captioned_size or teacher.preprocess.size, recipe.views.others_size or teacher.preprocess.size),
    )
    with ThreadPoolExecutor(1) as beside:  # processors read texts while a GPU looks at pictures
        reading = beside.submit(tokenised, pool.texts, student.tokenizer, device, lambda what, done, total: None)
        taught = teach(source, kept, answers, reporter.work)
        pieces = reading.result()
    seen = int(np.minimum(views.count, int(taught.rounds)).sum())
    reporter.note(f"the teacher's answers to {seen:,} views took {time.monotonic() - begun:.0f} s")
    views = replace(views, count=np.minimum(views.count, int(taught.rounds)))
    student.model.to(device)
    has = pool.weight.any(1)
    lessons = Lessons(decoded.pixels, views, pool, pieces, taught, np.flatnonzero(has), np.flatnonzero(~has), labels)
    learner = Student(recipe, student, lessons, _learning(recipe, student))
    return learner, [Check.of(name, part, student, device) for name, part in shown.items()], identity


def _learning(recipe: DistilRecipe, student: Checkpoint) -> dict[Part, list[nn.Parameter]]:
    """Let the student's parts learn, all but what `[reading]` holds; returns each part's parameters."""
    parts = learnable(student.model, _ordinary(recipe, student.model.dim).stages[0])
    if recipe.reading and recipe.reading.held:
        TextSide(student).requires_grad_(False)
    learning = {part: [one for one in parameters if one.requires_grad] for part, parameters in parts.items()}
    return {part: parameters for part, parameters in learning.items() if parameters}


def _labels(samples: Sequence[Sample], data: Data, device: torch.device) -> Tensor | None:
    """Return each picture's place among the classes, −1 where it is not known; None when none is."""
    if not data.wnids:
        return None
    if not data.classes:
        raise BadRecipe("--wnids: says which classes pictures show; give the classes' names by --labels, too")
    numbers = {name.wnid: number for number, name in enumerate(data.classes)}
    if strange := [wnid for wnid in data.wnids if wnid not in numbers]:
        raise BadRecord(f"--wnids: class {strange[0]} is none of those that --labels names")
    if wrong := [one for one in samples if one.label is not None and not 0 <= one.label < len(data.wnids)]:
        raise BadRecord(f"{wrong[0].key}: has class {wrong[0].label}, but --wnids lists {len(data.wnids)}")
    known = [-1 if one.label is None else numbers[data.wnids[one.label]] for one in samples]
    return torch.tensor(known, device=device)


def read_pictures(recipe: DistilRecipe, data: Data, device: torch.device, reporter: Reporter) -> Pictures:
    """Decode all pictures. Raises BadRecord when a validation set shows one that is also learned from."""
    skipped: list[str] = []
    kept = Preprocess(recipe.views.kept, recipe.pictures.resize)
    small = recipe.views.small if device.type == "cpu" else None  # a GPU would have to wait to tell which is which
    learned = decode(data.samples, kept, device, small=small, on_skip=skipped.append, report=reporter.work)
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
    return Pictures(learned, shown)


def student_preprocess(recipe: DistilRecipe) -> Preprocess:
    """Return how the student reads pictures."""
    pictures, default = recipe.pictures, Preprocess()
    return Preprocess(
        pictures.size, pictures.resize, mean=pictures.mean or default.mean, std=pictures.std or default.std
    )


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
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.02)


def _tell_size(student: Checkpoint, reporter: Reporter) -> None:
    model = student.model
    parts = {"image tower": model.image_tower, "text tower": model.text_tower, "model": model}
    sizes = ", ".join(f"{name} {sum(p.numel() for p in part.parameters()):,}" for name, part in parts.items())
    reporter.note(f"numbers that learn: {sizes}")

"""What a teacher says of views and texts, computed once, so that epochs cost only the student.

Public names: Source, Taught, teach, teach_texts.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional as F

from ..errors import BadModel, BadRecipe
from ..files import atomic_write
from ..models.checkpoint import Checkpoint
from ..models.towers.base import TowerOutput
from .distil_texts import TextPool
from .distil_views import Squares, ViewSet, normalised
from .feeds import Report, in_use

GUESSES = 10  # classes kept of a view
TEXT_BATCH = 1024


@dataclass(frozen=True)
class Taught:
    """The teacher's vectors, float16 unit rows on the device.

    image: (views, dim); text: (texts, dim); rounds: how many views of a picture were seen at most. With classes: places
    and chances, (views, 10) int16 and float16, a classifier's first guesses, and prototypes, (classes, dim), the mean
    vectors of the classes' sentences.
    """

    image: Tensor
    text: Tensor
    rounds: Tensor
    places: Tensor | None = None
    chances: Tensor | None = None
    prototypes: Tensor | None = None


@dataclass(frozen=True)
class Source:
    """What the teacher is asked about. pixels: pictures on the device, of which `views` are parts.

    text: what the teacher says of the texts, where it was asked before. untouched: whether its image tower as the
    package brings it guesses classes, or its own. sides: at which it looks at pictures with texts and at others, by
    default its own. until: a time.monotonic() after which pictures get no further views; each has its first one at
    least.
    """

    teacher: Checkpoint
    pixels: Squares
    views: ViewSet
    pool: TextPool
    bfloat16: bool
    batch: int
    until: float | None = None
    text: Tensor | None = None
    untouched: bool = True
    sides: tuple[int, int] | None = None


def teach(source: Source, kept: Path | None, identity: str, report: Report) -> Taught:
    """Ask the teacher about all views and texts.

    kept: a file that the answers are written to, and found again in if `identity`, of all they depend on, is the same.
    Raises BadModel when a vector is no number, BadRecipe when the classes are not ImageNet's thousand.
    """
    device = source.pixels.device
    if kept is None:
        return _asked(source, report)
    if (found := _read(kept, identity, device)) is not None:
        return found
    taught = _asked(source, report)
    tensors = {field.name: getattr(taught, field.name) for field in fields(taught)}
    present = {name: tensor.cpu().contiguous() for name, tensor in tensors.items() if tensor is not None}
    with atomic_write(kept) as stream:
        stream.write(save(present, {"identity": identity}))
    return taught


def teach_texts(
    teacher: Checkpoint,
    texts: Sequence[str],
    device: torch.device,
    *,
    bfloat16: bool,
    kept: Path | None,
    identity: str,
    report: Report,
) -> Tensor:
    """Ask the teacher about texts alone; returns (texts, dim) float16 unit rows on the device. kept: as for `teach`."""
    if kept is not None and (found := _tensors(kept, identity)) is not None:
        return found["text"].to(device)
    with in_use(teacher.model, bfloat16):
        text = _texts(teacher, texts, device, report)
    if kept is not None:
        with atomic_write(kept) as stream:
            stream.write(save({"text": text.cpu()}, {"identity": identity}))
    return text


def _read(path: Path, identity: str, device: torch.device) -> Taught | None:
    tensors = _tensors(path, identity)
    return None if tensors is None else Taught(**{name: tensor.to(device) for name, tensor in tensors.items()})


def _tensors(path: Path, identity: str) -> dict[str, Tensor] | None:
    if not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as stored:
            if (stored.metadata() or {}).get("identity") != identity:
                return None
            return {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None  # a damaged file is made again


def _asked(source: Source, report: Report) -> Taught:
    model = source.teacher.model.eval()
    with in_use(model, source.bfloat16):
        text = source.text
        if text is None:
            text = _texts(source.teacher, source.pool.texts, source.pixels.device, report)
        image, places, chances, rounds = _images(source, report)
        prototypes = None
        if source.pool.prototypes:
            prototypes = torch.stack([F.normalize(text[own].float().mean(0), dim=0) for own in source.pool.prototypes])
    if not (bool(image.isfinite().all()) and bool(text.isfinite().all())):
        raise BadModel(f"{source.teacher.name}: some of the teacher's vectors are not numbers; set precision = float32")
    return Taught(image, text, torch.tensor(rounds), places, chances, None if prototypes is None else prototypes.half())


def _texts(teacher: Checkpoint, texts: Sequence[str], device: torch.device, report: Report) -> Tensor:
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    vectors = torch.empty(len(texts), teacher.model.dim, dtype=torch.float16, device=device)
    for start in range(0, len(order), TEXT_BATCH):
        part = order[start : start + TEXT_BATCH]
        ids, mask = teacher.tokenizer.encode([texts[place] for place in part])
        found = teacher.model.encode_texts(ids.to(device), mask.to(device))
        vectors[torch.tensor(part, device=device)] = found.half()
        report("teacher, texts", start + len(part), len(order))
    return vectors


def _images(source: Source, report: Report) -> tuple[Tensor, Tensor | None, Tensor | None, int]:
    """Return the vectors of all views, a classifier's guesses where there are classes, and the views of each picture.

    The first view of every picture comes first, then the second, until all are seen or the time is over.
    """
    teacher, device, views = source.teacher, source.pixels.device, source.views
    tower, preprocess, count = teacher.model.image_tower, teacher.preprocess, len(views.picture)
    picture, boxes = (torch.from_numpy(values).to(device) for values in (views.picture, views.boxes))
    vectors = torch.zeros(count, teacher.model.dim, dtype=torch.float16, device=device)
    classifier = _Classifier(source) if source.pool.prototypes else None
    places = torch.zeros(count, GUESSES, dtype=torch.int16, device=device) if classifier else None
    chances = torch.zeros(count, GUESSES, dtype=torch.float16, device=device) if classifier else None
    done, rounds = 0, int(views.count.max())
    sides = source.sides or (preprocess.size, preprocess.size)
    captioned = source.pool.weight.any(1)
    for number in range(rounds):
        for side, kind in zip(sides, (captioned, ~captioned), strict=True):
            asked = torch.from_numpy((views.first + number)[(views.count > number) & kind]).to(device)
            # A last batch is filled up with the first rows: on a GPU another shape costs more than what is done twice.
            batch = min(source.batch, len(asked))
            for start in range(0, len(asked), max(batch, 1)):
                rows = asked[torch.arange(start, start + batch, device=device) % len(asked)]
                pixels = normalised(source.pixels.parts(picture[rows], boxes[rows], side), preprocess)
                hidden = tower.stem(pixels)
                output = tower.body(hidden)
                vectors[rows] = teacher.model.project_image(output).half()
                if classifier and places is not None and chances is not None:
                    chance, place = classifier.guesses(hidden, output)
                    places[rows], chances[rows] = place.short(), chance.half()
                report("teacher, views", done + min(start + batch, len(asked)), count)
            done += len(asked)
        if source.until is not None and _clock(device) > source.until:
            return vectors, places, chances, number + 1
    return vectors, places, chances, rounds


class _Classifier:
    """ImageNet's classifier on the teacher's own reading, or on that of the tower as its package brings it.

    The second runs behind the teacher's own stem, untouched like it.
    """

    def __init__(self, source: Source) -> None:
        from ..models.towers.lite import LiteTower, classifier

        tower = source.teacher.model.image_tower
        if not isinstance(tower, LiteTower):
            raise BadRecipe("--labels: classes are learned from the tower efficientnet-lite2; the teacher has another")
        weight, bias = classifier()
        if len(source.pool.prototypes) != len(weight):
            raise BadRecipe(
                f"--labels: {len(source.pool.prototypes)} classes, but the teacher's classifier has {len(weight)}; "
                "name all of them, in their order"
            )
        device = source.pixels.device
        self.tower = LiteTower(tower.cut).load_pretrained().eval().to(device) if source.untouched else None
        self.weight, self.bias = weight.to(device), bias.to(device)

    def guesses(self, hidden: Tensor, output: TowerOutput) -> tuple[Tensor, Tensor]:
        """Return the first guesses' chances and places, (k, 10) each."""
        pooled = output.pooled if self.tower is None else self.tower.body(hidden).pooled
        logits = F.linear(pooled, self.weight, self.bias)
        found = torch.softmax(logits.float(), 1).topk(GUESSES)
        return found.values, found.indices


def _clock(device: torch.device) -> float:
    """Return the time when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()

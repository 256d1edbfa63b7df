"""The text side's first lessons: the teacher's vectors of texts alone, without any picture.

A step of texts costs a small part of one with pictures, and there are far more texts than pictures: a student that can
already read learns faster what pictures show.

Public names: learn_reading, TextSide, READING.
"""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.seeded import generator
from ..errors import BadRecipe
from ..files import sha256_parts
from ..models.checkpoint import Checkpoint
from . import distil_losses
from .distil_part import PartRun
from .distil_recipe import DistilRecipe
from .distil_texts import Pieces, TextPool, padded
from .trainer import Reporter

READING = "reading"


class TextSide(nn.Module):
    """A model's text tower and head, as one module whose weights can be kept."""

    def __init__(self, student: Checkpoint) -> None:
        super().__init__()
        self.text_tower, self.text_head = student.model.text_tower, student.model.text_head

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """ids, mask: (n, t). Returns (n, dim) float32 unit rows."""
        return F.normalize(self.text_head(self.text_tower(ids, mask)).float(), dim=-1)


def text_side_notes(student: Checkpoint) -> dict[str, object]:
    """Return what weights of a text side fit: its architecture and its tokenizer's pieces."""
    pieces = sorted(student.tokenizer.backend.get_vocab().items(), key=lambda item: item[1])
    digest = sha256_parts(f"{piece}\0{number}".encode() for piece, number in pieces)
    model = student.model
    return {"text_tower": model.text_tower.spec, "text_head": model.text_head_spec, "dim": model.dim, "pieces": digest}


def learn_reading(
    student: Checkpoint,
    pool: TextPool,
    pieces: Pieces,
    wanted: Tensor,
    recipe: DistilRecipe,
    out: Path,
    *,
    resume: bool,
    reporter: Reporter,
) -> None:
    """Let the text side learn, and leave its weights in `out` / reading.safetensors, too.

    wanted: (texts, dim) unit rows, the teacher's. Stopped, it keeps its state in `out` and raises KeyboardInterrupt.
    """
    settings = recipe.reading
    assert settings is not None
    device, weights = wanted.device, recipe.loss
    if not pool.kinds:
        raise BadRecipe("[reading]: there are no texts")
    side = TextSide(student).to(device)
    notes = text_side_notes(student)
    marks = [str(notes), recipe.texts.model_dump_json(), settings.model_dump_json(), str(recipe.seed), *pool.texts]
    vectors = wanted.cpu().contiguous().numpy().tobytes()
    identity = sha256_parts([*(mark.encode() for mark in marks), vectors])
    run = PartRun(READING, side, settings, out, identity=identity, notes=notes, reporter=reporter)

    def losses(step: int) -> Tensor:
        rng = generator(recipe.seed, step, recipe.name, READING)
        chosen = pool.draw_others(settings.batch, recipe.texts.shares, rng)
        places = torch.from_numpy(chosen).to(device)
        ids, mask = pieces.batch(places, padded(pieces, chosen))
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            text = side(ids, mask)
        target = wanted[places].float()
        # Which other texts are near one says more than its own vector, as all of them may lie close together.
        near = distil_losses.rows(text, target, target, target, weights.rows_scale)
        return torch.stack([distil_losses.away(text, target), settings.rows * near])

    run.run(resume, losses, lambda means: {"text": round(means[0], 5), "rows": round(means[1], 5)})

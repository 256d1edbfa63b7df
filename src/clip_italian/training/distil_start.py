"""What a student begins with instead of random weights: parts of other runs, or a finished student.

Public names: Start, given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import BadRecipe
from ..models.checkpoint import Checkpoint, load_checkpoint
from ..models.tokenizer import Tokenizer
from .distil_blocks import BLOCKS
from .distil_part import read_part
from .distil_reading import TextSide, text_side_notes


@dataclass(frozen=True)
class Start:
    """Weights of the image tower, of its head, of the text side, each with what it must fit; `where` they lie.

    tokenizer: the one whose pieces the text side reads, where it is known.
    """

    where: Path
    image: Mapping[str, Tensor] | None = None
    head: Mapping[str, Tensor] | None = None
    text: Mapping[str, Tensor] | None = None
    image_notes: Mapping[str, Any] | None = None
    head_notes: Mapping[str, Any] | None = None
    text_notes: Mapping[str, Any] | None = None
    tokenizer: Tokenizer | None = None

    def fill(self, student: Checkpoint) -> None:
        """Put the weights into a student. Raises BadRecipe where it is built otherwise."""
        if self.image is not None:
            mine = {"image_tower": student.model.image_tower.spec}
            self._agree("image tower", self.image_notes, mine)
            student.model.image_tower.load_state_dict(dict(self.image))
        if self.head is not None:
            self._agree("image head", self.head_notes, image_head_notes(student))
            student.model.image_head.load_state_dict(dict(self.head))
        if self.text is not None:
            self._agree("text side", self.text_notes, text_side_notes(student))
            TextSide(student).load_state_dict(dict(self.text))

    def _agree(self, what: str, theirs: Mapping[str, Any] | None, mine: Mapping[str, Any]) -> None:
        different = [name for name in mine if (theirs or {}).get(name) != mine[name]]
        if different:
            name = different[0]
            raise BadRecipe(
                f"--init {self.where}: its {what} does not fit the recipe: {name} is {(theirs or {}).get(name)}, "
                f"but here {mine[name]}"
            )


def image_head_notes(student: Checkpoint) -> dict[str, Any]:
    """Return what weights of an image head fit."""
    return {"image_head": student.model.image_head_spec, "dim": student.model.dim}


def given(path: Path) -> Start:
    """Read a start: blocks.safetensors, reading.safetensors, or a model directory, all of which is taken.

    Raises BadModel, MissingExtra.
    """
    if path.is_dir():
        model = load_checkpoint(path)
        image, head, text = model.model.image_tower, model.model.image_head, TextSide(model)
        return Start(
            path,
            image.state_dict(),
            head.state_dict(),
            text.state_dict(),
            {"image_tower": image.spec},
            image_head_notes(model),
            text_side_notes(model),
            model.tokenizer,
        )
    part, notes, weights = read_part(path)
    if part == BLOCKS:
        return Start(path, image=weights, image_notes=notes)
    return Start(path, text=weights, text_notes=notes)

"""From a decoded picture to the numbers an image tower reads, the same way in training, indexing and search.

Public names: Preprocess, OPENAI_CLIP.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

Resize = Literal["crop", "squash"]


@dataclass(frozen=True)
class Preprocess:
    """How a picture becomes (3, size, size) float32.

    resize: "crop" scales the shorter side to `size` and cuts the middle square, as CLIP does; "squash" scales both
    sides to `size`, so that nothing of the picture is lost. mean, std: per channel, for values in [0, 1]. Raises
    ValueError for settings that describe no such square.
    """

    size: int = 224
    resize: Resize = "crop"
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if not isinstance(self.size, int) or self.size < 1:
            raise ValueError(f"a picture's size is a whole number of pixels from 1 up, not {self.size!r}")
        if self.resize not in get_args(Resize):
            raise ValueError(f"pictures are resized by {' or '.join(get_args(Resize))}, not {self.resize!r}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ValueError(f"mean and std are three numbers, std above 0, not {self.mean} and {self.std}")

    def square(self, image: Image.Image) -> Image.Image:
        """Return the picture as size × size RGB; bicubic with antialiasing."""
        image = image.convert("RGB")
        width, height = image.size
        if self.resize == "squash":
            return image.resize((self.size, self.size), Image.Resampling.BICUBIC)
        # The crop is taken in source coordinates, so that one resampling does both and a panorama costs no memory.
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return image.resize((self.size, self.size), Image.Resampling.BICUBIC, box=box)

    def normalise(self, pixels: np.ndarray) -> np.ndarray:
        """Scale uint8 (…, h, w, 3) to normalised float32 (…, 3, h, w)."""
        scale = 1 / (255 * np.asarray(self.std, np.float32))
        shift = -np.asarray(self.mean, np.float32) / np.asarray(self.std, np.float32)
        return np.moveaxis(pixels * scale + shift, -1, -3).astype(np.float32)

    def __call__(self, image: Image.Image) -> np.ndarray:
        """Return the picture as normalised (3, size, size) float32."""
        return self.normalise(np.asarray(self.square(image)))

    def to_json(self) -> dict[str, Any]:
        """Describe these settings as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Preprocess":
        """Rebuild from `to_json`. Raises KeyError, TypeError or ValueError where a key is missing, unknown or wrong."""
        return cls(**{**value, "mean": tuple(value["mean"]), "std": tuple(value["std"])})


OPENAI_CLIP = Preprocess(
    224, "crop", mean=(0.48145466, 0.4578275, 0.40821073), std=(0.26862954, 0.26130258, 0.27577711)
)

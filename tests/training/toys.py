"""Small things to train: squares of four colours in four places, and the smallest recipe that learns them."""

from pathlib import Path

import numpy as np
from PIL import Image

from clip_italian.data.sample import Caption, ImageRef, Sample
from clip_italian.training.recipe import Recipe

COLOURS = {"rosso": (220, 30, 30), "verde": (30, 180, 40), "blu": (30, 50, 220), "giallo": (240, 220, 40)}
PLACES = {(0, 0): "in alto a sinistra", (1, 0): "in alto a destra", (0, 1): "in basso a sinistra",
          (1, 1): "in basso a destra"}  # fmt: skip
IMAGE = {"type": "scratch-image", "width": 16, "dim": 32, "early_blocks": 0, "late_blocks": 1, "heads": 2}
TEXT = {"type": "scratch-text", "width": 32, "depth": 1, "heads": 2}
BAG = {"type": "bag-of-words", "width": 32}  # learns the quickest
STAGE = {"name": "all", "learn": {"heads": 2e-3, "image_tower": 2e-3, "text_tower": 2e-3}, "epochs": 2, "batch": 16}
HEADS = {"name": "heads", "learn": {"heads": 3e-3}, "epochs": 2, "batch": 16}


def squares(folder: Path, count: int, *, seed: int = 0, name: str = "quadro") -> list[Sample]:
    """Draw `count` pictures of 32 × 32, colours and places in turn, on noise, so that no two files are equal."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    samples = []
    for number in range(count):
        colour = list(COLOURS)[number % 4]
        right, low = number // 4 % 2, number // 8 % 2
        pixels = rng.integers(90, 166, (32, 32, 3)).astype(np.uint8)
        top, left = low * 17 + rng.integers(0, 4), right * 17 + rng.integers(0, 4)
        pixels[top : top + 11, left : left + 11] = COLOURS[colour]
        path = folder / f"{name}{number}.png"
        Image.fromarray(pixels).save(path)
        place = PLACES[right, low]
        captions = (Caption(f"un quadrato {colour} {place}"), Caption(f"{place} c'è un quadrato {colour}"))
        samples.append(Sample(path.name, ImageRef(path), captions, queries=(f"quadrato {colour}",)))
    return samples


def recipe(*stages: dict, **changes) -> Recipe:
    """The smallest recipe, with other settings where asked."""
    values = {
        "name": "quadri", "seed": 7, "dim": 32, "scale": 10.0, "workers": 0, "image_tower": IMAGE, "text_tower": TEXT,
        "pictures": {"size": 32}, "texts": {"max_length": 24, "vocabulary": 300}, "stages": list(stages) or [STAGE],
    }  # fmt: skip
    return Recipe.model_validate(values | changes)


class Listener:
    """A reporter that keeps what it hears; `at_step` is called with the number of every step made."""

    def __init__(self, at_step=None) -> None:
        self.notes: list[str] = []
        self.losses: list[float] = []
        self.at_step = at_step

    def note(self, text: str) -> None:
        self.notes.append(text)

    def work(self, what: str, done: int, total: int) -> None:
        assert 0 < done <= total

    def step(self, what: str, done: int, total: int, loss: float, rate: float) -> None:
        assert 0 < done <= total and rate > 0
        self.losses.append(loss)
        if self.at_step:
            self.at_step(len(self.losses))

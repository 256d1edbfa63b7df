"""Photos and captions of no meaning, for measuring how long training takes."""

from pathlib import Path

import numpy as np
from PIL import Image

from clip_italian.data.sample import Caption, ImageRef, Sample

WORDS = (
    "un", "una", "due", "tre", "cane", "gatto", "uomo", "donna", "bambino", "bicicletta", "spiaggia", "strada", "rosso",
    "nero", "blu", "corre", "siede", "su", "con", "e",
)  # fmt: skip


def photos(folder: Path, count: int, *, size: tuple[int, int] = (500, 375)) -> list[Sample]:
    """Write `count` JPEGs of the usual size of a data set's, each with two captions of 8 to 14 words."""
    rng = np.random.default_rng(0)
    samples = []
    for number in range(count):
        small = Image.fromarray(rng.integers(0, 256, (24, 32, 3)).astype(np.uint8))
        path = folder / f"{number}.jpg"
        small.resize(size, Image.Resampling.BICUBIC).save(path, quality=85)
        captions = tuple(Caption(" ".join(rng.choice(WORDS, rng.integers(8, 15)))) for _ in range(2))
        samples.append(Sample(path.name, ImageRef(path), captions))
    return samples

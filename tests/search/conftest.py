"""A small folder of coloured photos."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import COLOURS
from PIL import Image

Paint = Callable[..., Path]


@pytest.fixture
def paint() -> Paint:
    """Write a photo mostly of one colour; `seed` makes its bytes and its vector its own."""

    def write(path: Path, colour: str = "rosso", seed: int = 0, **options: object) -> Path:
        noise = np.random.default_rng(seed).integers(0, 60, (24, 32, 3))
        base = np.array([255 if value > 0 else 0 for value in COLOURS[colour]])
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(np.abs(base - noise), 0, 255).astype(np.uint8)).save(path, **options)
        return path

    return write


@pytest.fixture
def folder(tmp_path: Path, paint: Paint) -> Path:
    """Twelve photos in two folders."""
    for i, colour in enumerate(["rosso", "verde", "blu", "giallo"] * 3):
        paint(tmp_path / "foto" / ("mare" if i % 2 else "") / f"{colour}_{i}.png", colour, i)
    return tmp_path / "foto"

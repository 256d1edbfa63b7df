"""An encoder of a few lines that sees colours, and the command line with it, for tests that need a process to kill.

`python fake_encoder.py index …` runs the three commands; FAKE_DELAY is how many seconds each picture takes.
"""

import os
import sys
import time
from collections.abc import Iterable

import numpy as np
from PIL import Image

from clip_italian.encoder import ImageLike
from clip_italian.images import open_image
from clip_italian.preprocess import Preprocess

COLOURS = {"rosso": (1, -1, -1), "verde": (-1, 1, -1), "blu": (-1, -1, 1), "giallo": (1, 1, -1), "bianco": (1, 1, 1)}
DIM = 32


class ColourEncoder:
    """Mean colour, and a little of everything else so that no two pictures are equal."""

    dim = DIM
    scale = 20.0

    def __init__(self, name: str = "fake", preprocess: Preprocess | None = Preprocess(16, "squash")) -> None:  # noqa: B008
        self.name, self.fingerprint = name, f"{name:0<64}"
        if preprocess is not None:
            self.preprocess = preprocess
        self.seen = 0
        self.project = np.random.default_rng(0).normal(0, 0.02, (16 * 16 * 3, DIM))

    def encode_images(self, images: Iterable[ImageLike]) -> np.ndarray:
        rows = []
        for image in images:
            time.sleep(float(os.environ.get("FAKE_DELAY", "0")))
            assert isinstance(image, Image.Image) or not isinstance(image, bytes)
            pixels = np.asarray(Preprocess(16, "squash").square(open_image(image)), float) / 127.5 - 1
            row = pixels.reshape(-1) @ self.project * 0.02
            row[:3] += pixels.mean((0, 1))
            rows.append(row / np.linalg.norm(row))
            self.seen += 1
        return np.array(rows, np.float32).reshape(-1, DIM)

    def encode_texts(self, texts: Iterable[str]) -> np.ndarray:
        rows = []
        for text in texts:
            row = np.full(DIM, 1e-3)
            for word, colour in COLOURS.items():
                row[:3] += np.array(colour) * (word in text)
            rows.append(row / np.linalg.norm(row))
        return np.array(rows, np.float32).reshape(-1, DIM)


def open_fake(name: str, device: str) -> ColourEncoder | None:
    """Open "fake…" names, as an entry of OPENERS."""
    return ColourEncoder(name) if name.startswith("fake") else None


def default_fake() -> str:
    """Name the model that is meant when none is named, in place of encoder.DEFAULT."""
    return "fake"


def main() -> None:
    import typer

    from clip_italian import cli, encoder
    from clip_italian.cli import classify, index, search

    encoder.OPENERS.insert(0, "fake_encoder:open_fake")
    cli.app = typer.Typer()
    for command in (index, search, classify):
        command.register(cli.app)
    cli._register = lambda: None
    cli.main()


if __name__ == "__main__":
    sys.modules["fake_encoder"] = sys.modules["__main__"]
    main()

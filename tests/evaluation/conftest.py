import io
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from clip_italian.data.sample import Caption, ImageRef, Sample
from clip_italian.errors import CorruptImage

COLOURS = {"rosso": (255, 0, 0), "verde": (0, 255, 0), "blu": (0, 0, 255), "giallo": (255, 255, 0), "grigio": (9, 9, 9)}


class ColourEncoder:
    """Knows five colours: a flat picture's vector is its RGB direction, a text's that of the colours it names."""

    name = "colours"
    dim = 3
    fingerprint = "c" * 64

    def encode_images(self, images):
        rows = []
        for data in images:
            try:
                rows.append(np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), float).mean(axis=(0, 1)))
            except UnidentifiedImageError as error:
                raise CorruptImage("not a picture") from error
        return self._unit(rows)

    def encode_texts(self, texts):
        named = [[COLOURS[word] for word in re.findall(r"\w+", text) if word in COLOURS] for text in texts]
        return self._unit([np.sum(colours, axis=0) if colours else (1, 1, 1) for colours in named])

    def _unit(self, rows):
        rows = np.asarray(rows, np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def encoder() -> ColourEncoder:
    return ColourEncoder()


@pytest.fixture
def paint(tmp_path: Path) -> Callable[[str, str], Path]:
    """Write a flat picture of a colour under a name; "rotto" writes bytes that are no picture."""

    def write(name: str, colour: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if colour == "rotto":
            path.write_bytes(b"this is no picture")
        else:
            size = (2 + len(name), 2)  # so that two names never have the same bytes by accident
            Image.new("RGB", size, COLOURS[colour]).save(path, "PNG")
        return path

    return write


@pytest.fixture
def make_sample(paint) -> Callable[..., Sample]:
    def make(name: str, colour: str, *captions: str, label: int | None = None) -> Sample:
        texts = tuple(Caption(text) for text in captions)
        return Sample(name, ImageRef(paint(name, colour)), texts, label=label)

    return make


@pytest.fixture
def opened_by_name(monkeypatch, encoder) -> None:
    """Let `load("colours")` open the fake encoder."""
    module = types.ModuleType("fake_opener")
    module.open_fake = lambda name, device: encoder if name == "colours" else None
    monkeypatch.setitem(sys.modules, "fake_opener", module)
    monkeypatch.setattr("clip_italian.encoder.OPENERS", ["fake_opener:open_fake"])

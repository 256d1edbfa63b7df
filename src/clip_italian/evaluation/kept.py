"""Vectors kept in a file, so that measuring a model again, or another way, encodes nothing twice.

Public name: KeptVectors.
"""

import itertools
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..encoder import Encoder, ImageLike
from ..errors import BadModel, CannotWrite
from ..files import sha256_parts

Item = TypeVar("Item")

_BATCH = 256  # items whose vectors are looked up, encoded and written together
_LOOKED_UP = 500  # keys in one query; SQLite's oldest limit is 999


class KeptVectors:
    """An Encoder that asks another one only for what it has not yet encoded.

    A picture's key is the hash of its bytes, a text's that of its words; the file is named after the encoder's
    fingerprint, so that vectors of two models never meet. What was encoded is kept when the work is stopped. Made in
    `folder`, if need be. Raises CannotWrite when the file cannot be written to or is damaged.
    """

    def __init__(self, encoder: Encoder, folder: Path | str) -> None:
        self.encoder = encoder
        self.name, self.dim, self.fingerprint = encoder.name, encoder.dim, encoder.fingerprint
        if (scale := getattr(encoder, "scale", None)) is not None:
            self.scale = float(scale)
        self.path = Path(folder) / f"{encoder.fingerprint[:16]}.vectors"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(self.path, isolation_level=None)
            self._file.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, row BLOB) WITHOUT ROWID")
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error

    def encode_images(self, images: Iterable[ImageLike]) -> np.ndarray:
        """Return (n, dim) float32 unit rows. Raises CorruptImage, which keeps nothing of its batch; CannotWrite."""
        return self._encode(images, _image_key, self.encoder.encode_images)

    def encode_texts(self, texts: Iterable[str]) -> np.ndarray:
        """Return (n, dim) float32 unit rows. Raises CannotWrite."""
        return self._encode(texts, _text_key, self.encoder.encode_texts)

    def _encode(
        self, items: Iterable[Item], key: Callable[[Item], bytes], encode: Callable[[Sequence[Item]], np.ndarray]
    ) -> np.ndarray:
        iterator = iter(items)
        rows = [np.empty((0, self.dim), np.float32)]
        while batch := list(itertools.islice(iterator, _BATCH)):
            keys = [key(item) for item in batch]
            known = self._known(keys)
            new = {key: item for key, item in zip(keys, batch, strict=True) if key not in known}
            if new:
                vectors = np.ascontiguousarray(encode(list(new.values())), np.float32)
                if vectors.shape != (len(new), self.dim):
                    raise BadModel(f"{self.name}: {vectors.shape} vectors where {(len(new), self.dim)} were due")
                self._keep(dict(zip(new, vectors, strict=True)))
                known |= dict(zip(new, vectors, strict=True))
            rows.append(np.stack([known[key] for key in keys]))
        return np.concatenate(rows)

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        found: dict[bytes, np.ndarray] = {}
        try:
            for start in range(0, len(keys), _LOOKED_UP):
                some = keys[start : start + _LOOKED_UP]
                marks = ", ".join("?" * len(some))
                for key, row in self._file.execute(f"SELECT key, row FROM vectors WHERE key IN ({marks})", some):
                    found[key] = np.frombuffer(row, "<f4")
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        if any(len(row) != self.dim for row in found.values()):
            raise self._unusable("it holds vectors of another length")
        return found

    def _keep(self, vectors: dict[bytes, np.ndarray]) -> None:
        rows = [(key, row.astype("<f4").tobytes()) for key, row in vectors.items()]
        try:
            with self._file:
                self._file.execute("BEGIN IMMEDIATE")
                self._file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _unusable(self, reason: object) -> CannotWrite:
        return CannotWrite(f"{self.path}: vectors cannot be kept there ({reason}); delete it or name another folder")


def _text_key(text: str) -> bytes:
    return sha256(b"text " + text.encode("utf-8", "surrogatepass")).digest()


def _image_key(image: ImageLike) -> bytes:
    if isinstance(image, str | Path):
        image = Path(image).read_bytes()
    if isinstance(image, bytes):
        return sha256(b"file " + image).digest()
    drawn = (image.mode.encode(), f"{image.width} {image.height}".encode(), image.tobytes())
    return bytes.fromhex(sha256_parts([b"pixels", *drawn]))

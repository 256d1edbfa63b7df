"""The waist: everything before it makes an Encoder, everything after it uses one and knows nothing else.

Public names: Encoder, PatchEncoder, Embeddings, ImageLike, load, default_name, OPENERS, DEFAULT.
"""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from .errors import BadModel, MissingExtra

ImageLike = str | Path | bytes | Image.Image


@runtime_checkable
class Encoder(Protocol):
    """Turns pictures and Italian texts into unit vectors of one space."""

    name: str  # what a person calls it
    dim: int
    fingerprint: str  # SHA-256 of weights, tokenizer and preprocessing: vectors of two fingerprints never mix

    def encode_images(self, images: Iterable[ImageLike]) -> np.ndarray:
        """Return (n, dim) float32 unit rows, one per picture. Raises CorruptImage."""
        ...

    def encode_texts(self, texts: Iterable[str]) -> np.ndarray:
        """Return (n, dim) float32 unit rows, one per text; texts past the model's length are cut."""
        ...


@runtime_checkable
class PatchEncoder(Encoder, Protocol):
    """An encoder that can also say where in a picture something is."""

    def encode_patches(self, image: ImageLike) -> np.ndarray:
        """Return (grid_h, grid_w, dim) float32 unit vectors. Raises CorruptImage."""
        ...


@dataclass(frozen=True)
class Embeddings:
    """Unit vectors and the fingerprint of the encoder that made them.

    vectors: (n, dim) float32. `similarity` refuses vectors of another encoder.
    """

    vectors: np.ndarray
    fingerprint: str

    def similarity(self, other: "Embeddings") -> np.ndarray:
        """Return (n, m) cosines with `other`. Raises BadModel when another encoder made it."""
        if self.fingerprint != other.fingerprint:
            raise BadModel(
                f"these vectors come from two models ({self.fingerprint[:12]} and {other.fingerprint[:12]}); "
                "encode both sides with the same one"
            )
        return self.vectors @ other.vectors.T


# Tried in order; each is "module:function", called with (name_or_path, device), and returns an Encoder, or None when
# the name is not its kind. Modules are imported when tried: the base install needs neither torch nor transformers.
OPENERS: list[str] = [
    "clip_italian.models.shipped:open_shipped",
    "clip_italian.models.onnx_encoder:open_directory",
    "clip_italian.models.checkpoint:open_directory",
    "clip_italian.models.transformers_encoder:open_transformers",
]
# Names the model that is meant when none is named.
DEFAULT = "clip_italian.models.shipped:default_name"
_TORCH = ("torch", "transformers", "huggingface_hub")
_TRAIN_LIBRARIES = (*_TORCH, "tokenizers")


def load(name_or_path: str | Path | None = None, *, device: str = "cpu") -> Encoder:
    """Open a model that comes with the package by its name, any other by directory, or by hub id where there is a hub.

    Without a name: clip-italian-base where its package is installed (extra `base`), else clip-italian-small. Raises
    BadModel when no opener knows the name, the model is broken, or this build carries none; MissingExtra when its
    library or package is missing; CannotWrite when its parts cannot be put together in the user's cache.

    >>> load().encode_texts(["un gatto sul divano"]).shape                 # doctest: +SKIP
    (1, 512)
    """
    if name_or_path is None:
        name = default_name()
    else:
        # A path is never a model's name: Path("./clip-italian-base") has lost its dot.
        name = str(name_or_path.absolute() if isinstance(name_or_path, Path) else name_or_path)
    if Path(name).is_absolute() and not Path(name).exists():
        raise BadModel(f"{name}: there is no such directory; check the name")
    for opener in OPENERS:
        encoder = _open(opener, name, device)
        if encoder is not None:
            return encoder
    raise BadModel(
        f"{name_or_path}: no such model: neither one that comes with the package (`clip-italian models` lists "
        "them), nor a model directory, nor a hub id of the form owner/name"
    )


def default_name() -> str:
    """Return the name of the model that `load()` opens. Raises BadModel when this build carries none, MissingExtra."""
    return str(_named(DEFAULT)())


def _named(reference: str) -> Any:
    module, function = reference.split(":")
    return getattr(importlib.import_module(module), function)


def _open(opener: str, name: str, device: str) -> Encoder | None:
    try:
        encoder = _named(opener)(name, device)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _TRAIN_LIBRARIES:
            raise
        if library in _TORCH and not _may_need(name):
            return None
        what = "opening a model that is not exported" if Path(name).exists() else "no directory here, and a hub's model"
        raise MissingExtra(
            f"{name}: {what} needs {library}, which is not installed; run: pip install 'clip-italian[train]'"
        ) from error
    assert encoder is None or isinstance(encoder, Encoder)
    return encoder


def _may_need(name: str) -> bool:
    """Tell whether a name may be a model that torch runs: a directory that says what it is, or a hub id."""
    path = Path(name)
    if path.exists():
        return any((path / described).is_file() for described in ("model.json", "config.json"))
    return "/" in name and not path.is_absolute()

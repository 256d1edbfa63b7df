"""Image and text towers: pretrained from pip, from transformers, or from random initialisation.

Owns: what every tower gives (base.py), EfficientNet-Lite2 (lite.py), multilingual-e5-small (e5.py, e5_source.py,
e5_file.py, trim.py), any transformers model (huggingface.py), towers from scratch (scratch.py, mobile.py,
staged.py).

Public names: build_image_tower, build_text_tower, tower_types, tower_settings, Side.
"""

import importlib
import inspect
from typing import TYPE_CHECKING, Any, Literal

from ...errors import BadModel

if TYPE_CHECKING:
    from .base import ImageTower, TextTower

Side = Literal["image", "text"]

# Where each type is made. Modules are imported when asked for: they need torch, some of them transformers.
_MAKERS: dict[Side, dict[str, str]] = {
    "image": {
        "efficientnet-lite2": "lite:LiteTower",
        "huggingface": "huggingface:image_tower",
        "scratch-image": "scratch:ScratchImageTower",
        "mobile-image": "mobile:MobileImageTower",
        "staged-image": "staged:StagedImageTower",
    },
    "text": {
        "multilingual-e5-small": "e5:E5Tower",
        "huggingface": "huggingface:text_tower",
        "scratch-text": "scratch:ScratchTextTower",
        "gated-text": "scratch:GatedTextTower",
        "bag-of-words": "scratch:BagOfWordsTower",
    },
}
# What transformers' towers take in a recipe, where a text tower may also name its tokenizer.
_HUGGINGFACE: dict[str, Any] = {
    "source": str,
    "config": dict[str, Any],
    "architecture": str,
    "pooling": Literal["pooler", "cls", "mean"],
}
_OF_THE_TOKENIZER = "vocabulary"  # a tower's argument, but set by the pieces and never by a recipe


def build_image_tower(spec: dict[str, Any], *, pretrained: bool = True) -> "ImageTower":
    """Make the image tower that `spec` describes, {"type": …, …}.

    pretrained: whether weights from pip are filled in. Raises BadModel, MissingExtra.
    """
    return _build(spec, "image", pretrained)


def build_text_tower(spec: dict[str, Any], *, pretrained: bool = True) -> "TextTower":
    """Make the text tower that `spec` describes; see `build_image_tower`."""
    return _build(spec, "text", pretrained)


def tower_types(side: Side) -> list[str]:
    """Return the names that a tower's "type" may have."""
    return list(_MAKERS[side])


def tower_settings(side: Side, kind: str) -> dict[str, Any]:
    """Return what a recipe may set of a tower of a known type: name → annotation. All may be left out."""
    if kind == "huggingface":
        return _HUGGINGFACE | ({"tokenizer": str} if side == "text" else {})
    taken = inspect.signature(_maker(side, kind)).parameters.values()
    return {one.name: one.annotation for one in taken if one.name != _OF_THE_TOKENIZER}


def _build(spec: dict[str, Any], side: Side, pretrained: bool) -> Any:
    settings = dict(spec)
    kind = settings.pop("type", None)
    if kind not in _MAKERS[side]:
        raise BadModel(f"there is no {side} tower of type {kind!r}; the types are {', '.join(_MAKERS[side])}")
    make = _maker(side, kind)
    try:
        if kind == "huggingface":
            return make(settings)
        if kind == "multilingual-e5-small":
            return _e5(settings, pretrained)
        tower = make(**settings)
    except TypeError as error:
        raise BadModel(f"{side} tower {kind!r}: {error}; see its settings in docs/training.md") from error
    return tower.load_pretrained() if kind == "efficientnet-lite2" and pretrained else tower


def _maker(side: Side, kind: str) -> Any:
    module, name = _MAKERS[side][kind].split(":")
    return getattr(importlib.import_module(f".{module}", __package__), name)


def _e5(settings: dict[str, Any], pretrained: bool) -> "TextTower":
    from .e5 import E5Tower, kept_pieces, pieces_hash

    if settings.pop("pieces_sha256", pieces_hash()) != pieces_hash():
        raise BadModel("the text tower was trained with another list of pieces; use the version it was made with")
    settings.setdefault("vocabulary", len(kept_pieces()))
    tower = E5Tower(**settings)
    return tower.load_pretrained(kept_pieces()) if pretrained else tower

"""Image and text towers: pretrained from pip, from transformers, or from random initialisation.

Owns: what every tower gives (base.py), EfficientNet-Lite2 (lite.py), multilingual-e5-small (e5.py, e5_file.py,
trim.py), any transformers model (huggingface.py), towers from scratch (scratch.py).

Public names: build_image_tower, build_text_tower.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ...errors import BadModel

if TYPE_CHECKING:
    from .base import ImageTower, TextTower


def build_image_tower(spec: dict[str, Any], *, pretrained: bool = True) -> "ImageTower":
    """Make the image tower that `spec` describes, {"type": …, …}.

    pretrained: whether weights from pip are filled in. Raises BadModel, MissingExtra.
    """
    return _build(spec, _IMAGE, "image", pretrained)


def build_text_tower(spec: dict[str, Any], *, pretrained: bool = True) -> "TextTower":
    """Make the text tower that `spec` describes; see `build_image_tower`."""
    return _build(spec, _TEXT, "text", pretrained)


def _build(spec: dict[str, Any], kinds: dict[str, Callable[..., Any]], side: str, pretrained: bool) -> Any:
    settings = dict(spec)
    kind = settings.pop("type", None)
    if kind not in kinds:
        raise BadModel(f"there is no {side} tower of type {kind!r}; the types are {', '.join(kinds)}")
    try:
        return kinds[kind](settings, pretrained)
    except TypeError as error:
        raise BadModel(f"{side} tower {kind!r}: {error}; see its settings in docs/training.md") from error


def _lite(settings: dict[str, Any], pretrained: bool) -> "ImageTower":
    from .lite import LiteTower

    tower = LiteTower(**settings)
    return tower.load_pretrained() if pretrained else tower


def _e5(settings: dict[str, Any], pretrained: bool) -> "TextTower":
    from .e5 import E5Tower, kept_pieces, pieces_hash

    if settings.pop("pieces_sha256", pieces_hash()) != pieces_hash():
        raise BadModel("the text tower was trained with another list of pieces; use the version it was made with")
    settings.setdefault("vocabulary", len(kept_pieces()))
    tower = E5Tower(**settings)
    return tower.load_pretrained(kept_pieces()) if pretrained else tower


def _huggingface_image(settings: dict[str, Any], pretrained: bool) -> "ImageTower":
    from .huggingface import image_tower

    return image_tower(settings)


def _huggingface_text(settings: dict[str, Any], pretrained: bool) -> "TextTower":
    from .huggingface import text_tower

    return text_tower(settings)


def _scratch_image(settings: dict[str, Any], pretrained: bool) -> "ImageTower":
    from .scratch import ScratchImageTower

    return ScratchImageTower(**settings)


def _scratch_text(settings: dict[str, Any], pretrained: bool) -> "TextTower":
    from .scratch import ScratchTextTower

    return ScratchTextTower(**settings)


def _gated_text(settings: dict[str, Any], pretrained: bool) -> "TextTower":
    from .scratch import GatedTextTower

    return GatedTextTower(**settings)


def _bag_of_words(settings: dict[str, Any], pretrained: bool) -> "TextTower":
    from .scratch import BagOfWordsTower

    return BagOfWordsTower(**settings)


_IMAGE: dict[str, Callable[..., Any]] = {
    "efficientnet-lite2": _lite,
    "huggingface": _huggingface_image,
    "scratch-image": _scratch_image,
}
_TEXT: dict[str, Callable[..., Any]] = {
    "multilingual-e5-small": _e5,
    "huggingface": _huggingface_text,
    "scratch-text": _scratch_text,
    "gated-text": _gated_text,
    "bag-of-words": _bag_of_words,
}

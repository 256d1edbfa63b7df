"""Signals that need a model: likeness of picture and caption, and what comes back from translating back.

Public names: similarities, round_trip, TranslatesBack.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ...encoder import Encoder, ImageLike
from .chrf import chrf

_BATCH = 256


class TranslatesBack(Protocol):
    """Translates Italian into English, as the translators of this package do; order kept."""

    def translate(self, texts: Sequence[str]) -> list[str]:
        """Return one English text per Italian one."""
        ...


def similarities(encoder: Encoder, images: Sequence[ImageLike], texts: Sequence[str]) -> np.ndarray:
    """Return (n,) float32 cosines of each picture with the text of its place, a batch at a time.

    Raises ValueError when there are not as many texts as pictures, CorruptImage.
    """
    if len(images) != len(texts):
        raise ValueError(f"{len(images)} pictures and {len(texts)} texts; give one text per picture")
    found = [np.zeros(0, np.float32)]
    for start in range(0, len(images), _BATCH):
        pictures = encoder.encode_images(images[start : start + _BATCH])
        captions = encoder.encode_texts(texts[start : start + _BATCH])
        found.append(np.einsum("nd,nd->n", pictures, captions).astype(np.float32))
    return np.concatenate(found)


def round_trip(translator_back: TranslatesBack, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """Translate the Italian of (English, Italian) pairs back and return (n,) float64 chrF against the English.

    Case and outer blanks do not count. A low score asks for a look, it proves nothing: synonyms lower it too. Raises
    ValueError when the translator loses a text, and what the translator raises.
    """
    back = translator_back.translate([italian for _, italian in pairs])
    if len(back) != len(pairs):
        raise ValueError(f"the translator gave {len(back)} texts back for {len(pairs)}; it must keep them in order")
    return np.array(
        [chrf(again.casefold(), english.casefold()) for again, (english, _) in zip(back, pairs, strict=True)],
        np.float64,
    )

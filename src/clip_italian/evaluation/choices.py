"""Forced choice: of several sentences about a picture, does the true one come closest?

Tells apart what a ranking over many pictures mixes: colour, count, position.

Public names: Choice, evaluate_choices, picked, score_choices.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..encoder import Encoder, ImageLike
from .statistics import Interval, bootstrap_means


@dataclass(frozen=True)
class Choice:
    """A picture, sentences of which only `texts[right]` is true of it, and what is asked ("colour", "count", …)."""

    image: ImageLike
    texts: tuple[str, ...]
    right: int
    asked: str


def evaluate_choices(encoder: Encoder, choices: Sequence[Choice], *, seed: int = 0) -> dict[str, Interval]:
    """Return for every `asked` how often the true sentence comes strictly first, with its 95 % interval by picture.

    A tie counts as wrong. Raises ValueError when a choice has fewer than two sentences, CorruptImage.
    """
    return score_choices(choices, picked(encoder, choices), seed=seed)


def picked(encoder: Encoder, choices: Sequence[Choice]) -> list[int]:
    """Return which sentence of each choice comes closest to its picture; of equally close ones, a wrong one.

    Raises as `evaluate_choices` does.
    """
    if any(len(choice.texts) < 2 or not 0 <= choice.right < len(choice.texts) for choice in choices):
        raise ValueError("a choice needs two sentences or more, one of them the right one")
    pictures = encoder.encode_images(choice.image for choice in choices)
    distinct = sorted({text for choice in choices for text in choice.texts})
    rows = dict(zip(distinct, encoder.encode_texts(distinct), strict=True))
    places = []
    for picture, choice in zip(pictures, choices, strict=True):
        scores = np.stack([rows[text] for text in choice.texts]) @ picture
        wrong = np.arange(len(scores)) != choice.right
        places.append(int(np.lexsort((wrong, scores))[-1]))
    return places


def score_choices(choices: Sequence[Choice], places: Sequence[int], *, seed: int = 0) -> dict[str, Interval]:
    """Count `picked` answers by what was asked: how often they were right, with 95 % intervals by picture."""
    found: dict[str, list[float]] = {}
    for choice, place in zip(choices, places, strict=True):
        found.setdefault(choice.asked, []).append(float(place == choice.right))
    return {
        asked: bootstrap_means({"accuracy": np.array(right)}, seed=seed)["accuracy"] for asked, right in found.items()
    }

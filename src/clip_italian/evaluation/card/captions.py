"""The captions of one data set after retrieval: scores by category, the worst of each, and what came first instead.

Public names: Captions, Ranked, rank_captions, by_category, worst.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...data.sample import Sample
from ...encoder import Encoder
from ..encoding import Progress, encode_pictures, encode_texts
from ..metrics import reciprocal_at_k
from ..report import Result
from ..retrieval import evaluate_retrieval
from ..statistics import Interval, bootstrap_means
from .categories import CATEGORIES, categories_of

SHOWN = 3  # photos that came first instead


@dataclass(frozen=True)
class Ranked:
    """A caption, its number among those of its photo (from 1), its photo, its rank, and what came first instead."""

    text: str
    number: int
    photo: Sample
    rank: int
    first: tuple[Sample, ...]


@dataclass(frozen=True)
class Captions:
    """The captions of a data set, in file order, with all that the card asks of them.

    ranks, owners: (n,), rank of each caption's photo and its row in gallery (m, dim). categories: for each caption.
    photos: m samples, the first of each picture. texts: all captions of each of them.
    """

    result: Result
    ranked: tuple[Ranked, ...]
    ranks: np.ndarray
    owners: np.ndarray
    categories: tuple[tuple[str, ...], ...]
    gallery: np.ndarray
    texts: tuple[tuple[str, ...], ...]


def rank_captions(
    encoder: Encoder, samples: Sequence[Sample], *, language: str = "it", progress: Progress | None = None
) -> Captions:
    """Evaluate retrieval and keep, for each caption, which photos came first. Raises as `evaluate_retrieval` does.

    Encodes everything twice: give it an encoder that keeps its vectors.
    """
    result = evaluate_retrieval(encoder, samples, language=language, progress=progress)
    pictures = encode_pictures(encoder, samples)
    _, first, picture_of = np.unique(pictures.hashes, return_index=True, return_inverse=True)
    captions = [
        (text, number, sample, owner)
        for sample, owner in zip(pictures.samples, picture_of.tolist(), strict=True)
        for number, text in enumerate(sample.texts(language), 1)
    ]
    gallery = pictures.vectors[first]
    photos = [pictures.samples[place] for place in first]
    texts: list[list[str]] = [[] for _ in photos]
    for text, _, _, owner in captions:
        texts[owner].append(text)
    ranks = result.parts[0].ranks
    similarity = encode_texts(encoder, [text for text, *_ in captions]).astype(np.float64) @ gallery.T
    ranked = []
    for (text, number, sample, owner), rank, scores in zip(captions, ranks.tolist(), similarity, strict=True):
        order = [place for place in np.argsort(-scores, kind="stable")[: SHOWN + 1].tolist() if place != owner]
        ranked.append(Ranked(text, number, sample, rank, tuple(photos[place] for place in order[:SHOWN])))
    owners = np.array([owner for *_, owner in captions])
    categories = tuple(categories_of(text) for text, *_ in captions)
    return Captions(result, tuple(ranked), ranks, owners, categories, gallery, tuple(map(tuple, texts)))


def by_category(captions: Captions, k: int = 10) -> dict[str, tuple[int, Interval]]:
    """Return how many captions each category has and their MRR@k, with intervals drawn by photo.

    "all" is all captions, "none" those in no category; categories without captions are left out.
    """
    scores: dict[str, tuple[int, Interval]] = {}
    sorted_into = [("all", *(found or ("none",))) for found in captions.categories]
    for category in ("all", *CATEGORIES, "none"):
        chosen = np.array([category in found for found in sorted_into])
        if chosen.any():
            values = {"mrr": reciprocal_at_k(captions.ranks[chosen], k)}
            scores[category] = int(chosen.sum()), bootstrap_means(values, captions.owners[chosen])["mrr"]
    return scores


def worst(captions: Captions, each: int = 1) -> list[tuple[str, Ranked]]:
    """Return the worst-ranked captions of every category, none of them, and no photo, twice.

    Of equally bad ones the first in the file comes first.
    """
    order = np.argsort(-captions.ranks, kind="stable").tolist()
    taken: set[int] = set()
    found = []
    for category in CATEGORIES:
        fitting = (i for i in order if category in captions.categories[i] and captions.owners[i] not in taken)
        for _, i in zip(range(each), fitting, strict=False):
            if captions.ranks[i] > 1:
                found.append((category, captions.ranked[i]))
            taken.add(captions.owners[i])
    return found

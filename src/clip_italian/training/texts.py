"""Which texts a batch's pictures are told by, and all those that a stage may ever ask for.

Public names: draw_texts, possible_texts.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

import numpy as np

from ..data.captions import draw, swap_left_right
from ..data.sample import Sample
from ..data.seeded import generator
from .recipe import Texts


def draw_texts(
    settings: Texts, samples: Sequence[Sample], mirrored: Sequence[bool] | np.ndarray, *, seed: int, epoch: int
) -> tuple[list[str], list[str | None]]:
    """Draw `per_photo` texts for every sample, then its hard negatives; returns them and the key each belongs to.

    A hard negative belongs to none (None). Where the picture was mirrored, left and right are swapped. What a sample
    gets depends on (seed, epoch, its key) alone.
    """
    texts: list[str] = []
    owners: list[str | None] = []
    for turn in range(settings.per_photo):
        drawn = epoch * settings.per_photo + turn
        for sample, flipped in zip(samples, mirrored, strict=True):
            caption = draw(sample, seed=seed, epoch=drawn, languages=settings.languages, queries=settings.queries)
            texts.append(swap_left_right(caption.text) if flipped else caption.text)
            owners.append(sample.key)
    for sample, flipped in zip(samples, mirrored, strict=True) if settings.hard_negatives else ():
        chosen = _draw_hard_negatives(sample, settings.hard_negatives, seed, epoch)
        texts += map(swap_left_right, chosen) if flipped else chosen
        owners += [None] * len(chosen)
    return texts, owners


def possible_texts(settings: Texts, samples: Iterable[Sample], *, mirrored: bool) -> set[str]:
    """Return every text that `draw_texts` can give; mirrored: whether pictures may be."""
    texts = {text for sample in samples for text in _texts(settings, sample)}
    return texts | {swap_left_right(text) for text in texts} if mirrored else texts


def _texts(settings: Texts, sample: Sample) -> Iterator[str]:
    for language, weight in settings.languages.items():
        if weight > 0:
            yield from sample.texts(language)
    if settings.queries:
        yield from sample.queries
    if settings.hard_negatives:
        for texts in _hard_negatives(sample):
            yield from texts


def _draw_hard_negatives(sample: Sample, wanted: int, seed: int, epoch: int) -> list[str]:
    """Draw from each kind in turn, so that each is asked about as often, however many texts it has."""
    kinds = _hard_negatives(sample)
    if not kinds:
        return []
    rng = generator(seed, epoch, sample.key, "hard negatives")
    first = int(rng.integers(len(kinds)))
    shuffled = [[texts[place] for place in rng.permutation(len(texts))] for texts in kinds[first:] + kinds[:first]]
    laps = zip_longest(*shuffled)
    return [text for lap in laps for text in lap if text is not None][:wanted]


def _hard_negatives(sample: Sample) -> list[list[str]]:
    """Texts that are almost true of the picture and come with it: one list, or a list for each kind of fault."""
    offered = sample.extra.get("hard_negatives", [])
    kinds = [offered] if offered and isinstance(offered[0], str) else offered
    return [list(kind) for kind in kinds if kind]

"""What a model is weak at, in words, by the very figures of its card.

Named is what is no better than chance, what captions and queries of each data set are found worst, and where women and
men are treated unlike. Two figures are unlike when their 95 % intervals do not meet. Public name: weaknesses.
"""

from collections.abc import Iterator, Mapping

from ..report import Part
from ..scenes import Measured
from ..statistics import Interval
from .captions import Captions, by_category
from .gender import SCORES, Neutral, Side, Symmetry
from .markdown import score
from .measured import ASKED, Card

CLOSER, CLOSER_BY_CHANCE = "closer as written", 0.5
FEWEST = 50  # captions of a category below which its score says little


def weaknesses(measured: Card) -> list[str]:
    """Return a sentence for each weakness that the measurements show."""
    found: list[str] = []
    if measured.scenes is not None:
        found += _by_chance(measured.scenes)
    for name, captions in measured.captions.items():
        found += _worst_category(name, captions)
    for name, result in measured.queries.items():
        found += _worst_kind(name, result.parts)
    for name, both in measured.symmetry.items():
        found += _unlike(name, both)
    for name, searches in measured.neutral.items():
        found += [sentence for one in searches for sentence in _uneven(name, one)]
    return found


def _by_chance(drawn: Measured) -> Iterator[str]:
    asked: dict[str, tuple[Interval, float]] = {
        words: (drawn.choices[key], drawn.chances[key]) for key, words in ASKED.items() if key in drawn.choices
    }
    named = drawn.zero_shot
    asked["what thing it is"] = named.parts[0].metrics["accuracy@1"], 1 / named.settings["n_classes"]
    for verdict, some in (
        ("worse than a blind guess", {words: pair for words, pair in asked.items() if pair[0].high < pair[1]}),
        (
            "no better than a blind guess",
            {w: pair for w, pair in asked.items() if pair[0].low <= pair[1] <= pair[0].high},
        ),
    ):
        if some:
            told = "; ".join(f"{words}: {score(value)}, chance {chance:.2f}" for words, (value, chance) in some.items())
            yield f"On drawn scenes {verdict} ({told})."


def _worst_category(name: str, captions: Captions) -> Iterator[str]:
    scores = by_category(captions)
    every = scores.pop("all")[1]
    counted = {category: value for category, (n, value) in scores.items() if n >= FEWEST and category != "none"}
    yield from _worst(f"{name}: of captions, those that speak of", counted, every, "mrr@10")


def _worst_kind(name: str, parts: tuple[Part, ...]) -> Iterator[str]:
    every, *kinds = parts
    values = {part.name: part.metrics["mrr"] for part in kinds}
    yield from _worst(f"{name}: of typed queries, those of the kind", values, every.metrics["mrr"], "mrr")


def _worst(what: str, values: Mapping[str, Interval], every: Interval, metric: str) -> Iterator[str]:
    """Name the lowest of several scores, and say whether it is clear."""
    if len(values) < 2:
        return
    lowest = min(values, key=lambda key: values[key].value)
    value = values[lowest]
    clear = "" if value.high < every.value else ", which may be by chance"
    yield f"{what} {lowest} are found worst: {metric} {score(value)}, all {every.value:.3f}{clear}."


def _unlike(name: str, both: Symmetry) -> Iterator[str]:
    sides: dict[str, Side] = {"men and boys": both.men, "women and girls": both.women}
    blind = [who for who, side in sides.items() if side.scores[CLOSER].low <= CLOSER_BY_CHANCE]
    for who in blind:
        yield (
            f"{name}: captions about {who} lie closer to their photo as written than with the gender swapped no more "
            f"often than by chance: {_sides(CLOSER, sides)}."
        )
    for key, words in SCORES.items():
        men, women = (side.scores.get(key) for side in sides.values())
        apart = men is not None and women is not None and (men.high < women.low or women.high < men.low)
        if apart and not (key == CLOSER and blind):
            yield f"{name}: captions about women and about men fare unlike, {words}: {_sides(key, sides)}."


def _sides(key: str, sides: Mapping[str, Side]) -> str:
    return ", ".join(f"{who} {score(side.scores[key])}" for who, side in sides.items())


def _uneven(name: str, one: Neutral) -> Iterator[str]:
    if not one.share.low <= one.base <= one.share.high:
        more = "more" if one.share.low > one.base else "fewer"
        yield (
            f"{name}: “{one.query}” finds {more} men than there are: {score(one.share)} of the first {one.first}, "
            f"{one.base:.3f} of all."
        )

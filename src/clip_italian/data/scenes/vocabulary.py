"""What scenes are made of, in words, and which combinations training never shows.

Public names: SHAPES, COLOURS, SIZES, RELATIONS, COUNTS, HORIZONTAL, VERTICAL, OPPOSITE, Group, phrase, class_names,
held_out.
"""

from dataclasses import dataclass
from typing import Literal

from ... import italian
from ...italian import Noun

Novelty = Literal["colour", "count", "relation"]

SHAPES: dict[str, Noun] = {
    "cerchio": Noun("cerchio", "cerchi", "m"),
    "stella": Noun("stella", "stelle", "f"),
    "quadrato": Noun("quadrato", "quadrati", "m"),
    "croce": Noun("croce", "croci", "f"),
    "triangolo": Noun("triangolo", "triangoli", "m"),
    "luna": Noun("luna", "lune", "f"),
    "cuore": Noun("cuore", "cuori", "m"),
    "freccia": Noun("freccia", "frecce", "f"),
    "anello": Noun("anello", "anelli", "m"),
    "goccia": Noun("goccia", "gocce", "f"),
    "fulmine": Noun("fulmine", "fulmini", "m"),
    "onda": Noun("onda", "onde", "f"),
}
COLOURS = (
    "rosso",
    "verde",
    "blu",
    "giallo",
    "arancione",
    "viola",
    "rosa",
    "marrone",
    "nero",
    "bianco",
    "grigio",
)
SIZES = ("piccolo", "grande")
COUNTS = (1, 2, 3, 4, 5, 6)
HORIZONTAL = ("a sinistra di", "a destra di")
VERTICAL = ("sopra", "sotto")
RELATIONS = HORIZONTAL + VERTICAL
OPPOSITE = {
    "a sinistra di": "a destra di",
    "a destra di": "a sinistra di",
    "sopra": "sotto",
    "sotto": "sopra",
}

_SHAPE_INDEX = {shape: index for index, shape in enumerate(SHAPES)}
_COLOUR_INDEX = {colour: index for index, colour in enumerate(COLOURS)}


@dataclass(frozen=True)
class Group:
    """Equal things: `count` of one shape and colour; size None means of any size, and nobody mentions it."""

    count: int
    shape: str
    colour: str
    size: str | None = None

    @property
    def what(self) -> tuple[int, str, str]:
        """The part that tells scenes apart whatever their captions mention: count, shape, colour."""
        return self.count, self.shape, self.colour


def phrase(group: Group, *, size_first: bool = True) -> str:
    """Return the group in words, as in "due piccoli cerchi rossi"."""
    return italian.phrase(group.count, SHAPES[group.shape], group.size, group.colour, size_first=size_first)


def class_names() -> tuple[str, ...]:
    """Return each shape with its article, in the order of the labels: "un cerchio", "una stella", …"""
    return tuple(italian.indefinite(noun.singular, noun.gender) for noun in SHAPES.values())


def held_out(groups: tuple[Group, ...], relation: str | None) -> frozenset[Novelty]:
    """Tell in which ways a scene is new to who has seen the training split; empty means not at all.

    Every shape lacks 2 of the 11 colours and 1 of the counts 2–6, is never beside (left or right of) 2 or 3 of the 12
    shapes, and never above or below 2 or 3 others. A pair of shapes is held out both ways round, so that no order is
    learned by heart.
    """
    new: set[Novelty] = set()
    for group in groups:
        if (_COLOUR_INDEX[group.colour] + 3 * _SHAPE_INDEX[group.shape]) % len(COLOURS) < 2:
            new.add("colour")
        if group.count > 1 and (group.count + _SHAPE_INDEX[group.shape]) % 5 == 0:
            new.add("count")
    if relation is not None:
        pair = sum(_SHAPE_INDEX[group.shape] for group in groups)
        if pair % 5 == (0 if relation in HORIZONTAL else 2):
            new.add("relation")
    return frozenset(new)

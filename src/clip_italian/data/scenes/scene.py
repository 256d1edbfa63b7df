"""One drawn scene: what is where, what is said about it, and what would be said wrongly.

Public names: Thing, Scene, contrasts, hard_negatives, CONTRASTS.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from PIL import Image

from ...italian import there_is
from .shapes import Outline, outline
from .vocabulary import COLOURS, COUNTS, HORIZONTAL, OPPOSITE, SHAPES, VERTICAL, Group, held_out, phrase

Kind = Literal["single", "group", "relation"]
Contrast = Literal["colour", "count", "left_right", "above_below"]
Box = tuple[float, float, float, float]

CONTRASTS: tuple[Contrast, ...] = ("colour", "count", "left_right", "above_below")


@dataclass(frozen=True)
class Thing:
    """One object: `group` says which group it belongs to; the rest are fractions of the picture's side, and degrees."""

    group: int
    shape: str
    colour: str
    size: str | None
    x: float
    y: float
    radius: float
    angle: float

    @cached_property
    def outline(self) -> Outline:
        """Closed (k, 2) curves in fractions of the picture's side."""
        angle = np.deg2rad(self.angle)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        return tuple(curve @ turn * self.radius + (self.x, self.y) for curve in outline(self.shape))

    @property
    def box(self) -> Box:
        """Left, top, right, bottom in fractions of the picture's side; exact."""
        low, high = self.outline[0].min(axis=0), self.outline[0].max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


@dataclass(frozen=True)
class Scene:
    """One group alone, or two in a relation: groups[0] is `relation` groups[1].

    split, seed, index and asked (the kind asked for, if any) name the scene: `generate.make` makes it again from them.
    """

    split: str
    seed: int
    index: int
    asked: Kind | None
    groups: tuple[Group, ...]
    relation: str | None
    things: tuple[Thing, ...]
    texture: int

    @property
    def kind(self) -> Kind:
        """Whether there is one object, one group of equal objects, or two groups."""
        if self.relation is not None:
            return "relation"
        return "single" if self.groups[0].count == 1 else "group"

    @property
    def key(self) -> str:
        """A name no other scene has."""
        return "-".join(
            str(part) for part in (self.split, self.asked, self.seed, f"{self.index:06d}") if part is not None
        )

    @property
    def label(self) -> int | None:
        """The index of the shape in `class_names()` when there is one object, else None."""
        return list(SHAPES).index(self.groups[0].shape) if self.kind == "single" else None

    @property
    def captions(self) -> tuple[str, ...]:
        """Sentences that say exactly what is there; the first is the plain one."""
        return _captions(self.groups, self.relation)

    @property
    def content(self) -> tuple[object, ...]:
        """What the picture shows, sizes aside; scenes with different contents have no caption that fits both."""
        if self.relation is None:
            return (self.groups[0].what,)
        first, second = self.groups
        if self.relation in ("a destra di", "sotto"):
            first, second = second, first
        return first.what, self.relation in HORIZONTAL, second.what

    def draw(self, size: int = 112) -> Image.Image:
        """Draw the scene as size × size RGB; the same scene at any size. Raises ValueError below 16."""
        from .draw import draw

        return draw(self.things, self.texture, size)

    def objects(self, size: int) -> list[dict[str, Any]]:
        """Describe every object for a picture of `size`: shape, colour, size (or None), group, box in pixels."""
        return [
            {
                "shape": thing.shape,
                "colour": thing.colour,
                "size": thing.size,
                "group": thing.group,
                "box": [round(side * size, 2) for side in thing.box],
            }
            for thing in self.things
        ]


def contrasts(scene: Scene, kind: Contrast) -> tuple[tuple[str, ...], int]:
    """Return captions of which one is true, and its place among them.

    colour: the 11 colours of one group. count: 1 to 6 of it. left_right, above_below: the relation and its opposite.
    The group asked about is the one whose colour or count is new, else the first. The order is that of the vocabulary,
    the same for every scene, so that no place is favoured. Raises ValueError when there is nothing to ask of this kind.
    """
    if kind in ("left_right", "above_below"):
        relations = HORIZONTAL if kind == "left_right" else VERTICAL
        if scene.relation not in relations:
            raise ValueError(f"{scene.key}: no {kind} to ask about; see Scene.relation")
        texts = tuple(_captions(scene.groups, relation)[0] for relation in relations)
        return texts, relations.index(scene.relation)
    focus = next((place for place, group in enumerate(scene.groups) if kind in held_out((group,), None)), 0)
    asked = scene.groups[focus]
    if kind == "colour":
        changed = [replace(asked, colour=colour) for colour in COLOURS]
    elif kind == "count":
        changed = [replace(asked, count=count) for count in COUNTS]
    else:
        raise ValueError(f"{kind}: not a contrast; use one of {', '.join(CONTRASTS)}")
    scenes = [(*scene.groups[:focus], group, *scene.groups[focus + 1 :]) for group in changed]
    return tuple(_captions(groups, scene.relation)[0] for groups in scenes), changed.index(asked)


def hard_negatives(scene: Scene) -> tuple[tuple[str, ...], ...]:
    """Return sentences that are almost true, by what is wrong: the colour of a group, its number, the relation.

    Numbers are wrong by one or two. The sentences come in all the forms that captions have, so that no form gives a
    false one away. Combinations kept from training are not among them: what is called false in training must not be
    the answer of a test.
    """
    near: dict[str, list[tuple[tuple[Group, ...], str | None]]] = {"colour": [], "count": [], "relation": []}
    for place, group in enumerate(scene.groups):
        before, after = scene.groups[:place], scene.groups[place + 1 :]
        colours = [replace(group, colour=colour) for colour in COLOURS if colour != group.colour]
        counts = [replace(group, count=count) for count in COUNTS if 0 < abs(count - group.count) <= 2]
        near["colour"] += [((*before, other, *after), scene.relation) for other in colours]
        near["count"] += [((*before, other, *after), scene.relation) for other in counts]
    if scene.relation is not None:
        near["relation"] += [(scene.groups, OPPOSITE[scene.relation])] * 4  # once in every form
    kinds = [[_captions(*content) for content in contents if not held_out(*content)] for contents in near.values()]
    return tuple(tuple(forms[n % len(forms)] for n, forms in enumerate(kind)) for kind in kinds if kind)


def _captions(groups: tuple[Group, ...], relation: str | None) -> tuple[str, ...]:
    first = groups[0]
    if relation is None:
        texts = [phrase(first), f"{there_is(first.count)} {phrase(first, size_first=False)}"]
        if first.size:
            texts.append(phrase(first, size_first=False))
        return tuple(texts)
    second = groups[1]
    return (
        f"{phrase(first)} {relation} {phrase(second)}",
        f"{phrase(second)} {OPPOSITE[relation]} {phrase(first)}",
        f"{there_is(first.count)} {phrase(first, size_first=False)} {relation} {phrase(second, size_first=False)}",
        f"{relation} {phrase(second)} {there_is(first.count)} {phrase(first)}",
    )

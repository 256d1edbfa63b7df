"""Choose what a scene holds: every scene follows from its split, seed and index alone.

Public names: make, scenes, SPLITS, KINDS.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

from .layout import place
from .scene import Kind, Scene
from .vocabulary import COLOURS, COUNTS, RELATIONS, SHAPES, SIZES, Group, Novelty, held_out

SPLITS = ("train", "valid", "test")
KINDS: dict[Kind, float] = {"single": 0.2, "group": 0.35, "relation": 0.45}  # and how often each is drawn

_NOVELTIES: dict[Kind, tuple[Novelty, ...]] = {
    "single": ("colour",),
    "group": ("colour", "count"),
    "relation": ("colour", "count", "relation"),
}
_COUNTS_IN_RELATIONS = (0.3, 0.22, 0.17, 0.13, 0.09, 0.09)
_MOST_IN_RELATIONS = 9
_MOST_GRANDE = {"single": 1, "group": 3, "relation": 2}
_NAMED_SIZE = 0.35  # how often a group's size is chosen to be mentioned


def make(index: int, *, split: str = "train", seed: int = 0, kind: Kind | None = None) -> Scene:
    """Make one scene. kind: what it holds; drawn from `KINDS` when None. Raises ValueError on a wrong split or kind.

    Scenes of train and valid hold no combination that `held_out` names; each of test holds one, of colour and shape,
    count and shape, or two shapes in a relation, in equal parts where its kind allows. When kind is "single", shapes
    come in turn.
    """
    if split not in SPLITS or (kind is not None and kind not in KINDS):
        raise ValueError(f"split {split!r} of {', '.join(SPLITS)}; kind {kind!r} of {', '.join(KINDS)}")
    random = Random(f"{seed}/{split}/{kind}/{index}")
    chosen = kind or random.choices(list(KINDS), list(KINDS.values()))[0]
    novelty = random.choice(_NOVELTIES[chosen]) if split == "test" else None
    while True:
        groups, relation = _content(chosen, random)
        if kind == "single":
            groups = (replace(groups[0], shape=list(SHAPES)[index % len(SHAPES)]),)
        new = held_out(groups, relation)
        if novelty in new if novelty else not new:
            break
    things = place(groups, relation, random)
    return Scene(split, seed, index, kind, groups, relation, things, random.getrandbits(63))


def scenes(n: int, *, split: str = "train", seed: int = 0, kind: Kind | None = None) -> Iterator[Scene]:
    """Make n scenes; a longer run begins with the same ones.

    In test no two have the same content, so that every caption fits one picture only (unless `kind` is given, when
    there may be too few contents for that).
    """
    seen: set[tuple[object, ...]] = set()
    index = made = 0
    while made < n:
        scene = make(index, split=split, seed=seed, kind=kind)
        index += 1
        if split == "test" and kind is None:
            if scene.content in seen:
                continue
            seen.add(scene.content)
        made += 1
        yield scene


def _content(kind: Kind, random: Random) -> tuple[tuple[Group, ...], str | None]:
    if kind == "single":
        return (_group(1, kind, random),), None
    if kind == "group":
        return (_group(random.choice(COUNTS[1:]), kind, random),), None
    while True:
        counts = random.choices(COUNTS, _COUNTS_IN_RELATIONS, k=2)
        first, second = (_group(count, kind, random) for count in counts)
        if sum(counts) <= _MOST_IN_RELATIONS and (first.shape, first.colour) != (second.shape, second.colour):
            return (first, second), random.choice(RELATIONS)


def _group(count: int, kind: Kind, random: Random) -> Group:
    size = random.choice(SIZES) if random.random() < _NAMED_SIZE else None
    if size == "grande" and count > _MOST_GRANDE[kind]:
        size = None
    return Group(count, random.choice(list(SHAPES)), random.choice(COLOURS), size)

"""Put the objects of a scene in their places, so that what is said of them is plain to see.

Public names: place, MARGIN, GAP, PICCOLO, GRANDE.
"""

import math
from collections.abc import Sequence
from random import Random

import numpy as np

from .scene import Thing
from .shapes import TURN
from .vocabulary import HORIZONTAL, VERTICAL, Group

MARGIN = 0.03  # no object comes nearer to the picture's edge, in fractions of its side
GAP = (0.05, 0.14)  # between the circles around two groups in a relation
PICCOLO = (0.14, 0.18)  # diameters of the circle around an object
GRANDE = (0.31, 0.4)
UNNAMED = (0.15, 0.38)

_TRIES = 10_000  # the worst seen in 25,000 scenes was 104
_DARTS = 12
# Distances between centres, in sums of radii: apart, or in some scenes lapping over each other a little.
_APART, _LAPPING = 1.04, 0.87
_LAPPING_SCENES = 0.3

Spot = tuple[float, float, float]  # along the relation's axis, across it, radius


def place(groups: Sequence[Group], relation: str | None, random: Random) -> tuple[Thing, ...]:
    """Draw place, size and turn of every object.

    In a relation the groups keep a clear gap along its axis and lie level across it, so that no relation of the other
    axis holds as well.
    """
    closeness = _LAPPING if random.random() < _LAPPING_SCENES else _APART
    for _ in range(_TRIES):
        spots = _pair(groups, random, closeness) if relation else _alone(groups[0], random, closeness)
        if spots is None:
            continue
        things = _things(groups, spots, relation, random)
        if relation is None or _level(things, relation):
            return things
    raise AssertionError(f"no room for {groups}")


def _things(
    groups: Sequence[Group], spots: list[list[Spot]], relation: str | None, random: Random
) -> tuple[Thing, ...]:
    if relation in ("a destra di", "sotto"):
        spots = [[(1 - along, across, radius) for along, across, radius in group] for group in spots]
    things = []
    for index, (group, places) in enumerate(zip(groups, spots, strict=True)):
        for along, across, radius in places:
            x, y = (across, along) if relation in VERTICAL else (along, across)
            angle = random.uniform(-1, 1) * TURN[group.shape]
            things.append(Thing(index, group.shape, group.colour, group.size, x, y, radius, angle))
    return tuple(things)


def _alone(group: Group, random: Random, closeness: float) -> list[list[Spot]] | None:
    radii = _radii(group, 0.85, random)
    inside = (MARGIN, 1 - MARGIN)
    spots = _darts(radii, inside, inside, random, closeness)
    return None if spots is None else [spots]


def _pair(groups: Sequence[Group], random: Random, closeness: float) -> list[list[Spot]] | None:
    """Place groups[0] before groups[1] along the axis."""
    radii = [_radii(group, 0.4, random) for group in groups]
    gap = random.uniform(*GAP)
    room = 1 - 2 * MARGIN - gap
    # Each side gets room by the area it has to hold, at least its largest object.
    least = [2.04 * max(group) for group in radii]
    if sum(least) > room:
        return None
    areas = [sum(radius**2 for radius in group) for group in radii]
    share = areas[0] / sum(areas) + random.uniform(-0.1, 0.1)
    first = min(max(share * room, least[0]), room - least[1])
    sides = ((MARGIN, MARGIN + first), (MARGIN + first + gap, 1 - MARGIN))
    spots = []
    for group_radii, side in zip(radii, sides, strict=True):
        placed = _darts(group_radii, side, (MARGIN, 1 - MARGIN), random, closeness)
        if placed is None:
            return None
        spots.append(placed)
    return spots


def _level(things: Sequence[Thing], relation: str) -> bool:
    """Tell whether the groups' boxes overlap across the relation's axis and lie clearly farther apart along it."""
    along, across = (0, 1) if relation in HORIZONTAL else (1, 0)
    frames = [np.array([thing.box for thing in things if thing.group == group]) for group in (0, 1)]
    low = np.array([frame[:, :2].min(axis=0) for frame in frames])
    high = np.array([frame[:, 2:].max(axis=0) for frame in frames])
    shared = (high.min(axis=0) - low.max(axis=0))[across]
    thinner = (high - low).min(axis=0)[across]
    distance = np.abs(np.diff((low + high) / 2, axis=0))[0]
    return bool(shared > 0.4 * thinner and distance[across] < 0.6 * distance[along])


def _radii(group: Group, area: float, random: Random) -> list[float]:
    """Draw radii that fit into `area` (of the picture, 1 being all of it); sizes not mentioned differ."""
    if group.size is not None:
        bounds = PICCOLO if group.size == "piccolo" else GRANDE
        return [random.uniform(*bounds) / 2 for _ in range(group.count)]
    low, high = UNNAMED
    usual = random.uniform(low, max(low, min(high, math.sqrt(area / (2.2 * group.count)))))
    return [min(max(usual * random.uniform(0.8, 1.2), low), high) / 2 for _ in range(group.count)]


def _darts(
    radii: list[float], along: tuple[float, float], across: tuple[float, float], random: Random, closeness: float
) -> list[Spot] | None:
    """Throw circles into a rectangle, keeping them apart; None when one finds no place."""
    spots: list[Spot] = []
    for radius in radii:
        if min(along[1] - along[0], across[1] - across[0]) < 2 * radius:
            return None
        for _ in range(_DARTS):
            x = random.uniform(along[0] + radius, along[1] - radius)
            y = random.uniform(across[0] + radius, across[1] - radius)
            if all(math.hypot(x - u, y - v) >= closeness * (radius + r) for u, v, r in spots):
                spots.append((x, y, radius))
                break
        else:
            return None
    return spots

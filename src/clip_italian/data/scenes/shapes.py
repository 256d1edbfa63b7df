"""Outlines of the shapes, within the unit circle.

Public names: Outline, outline, TURN.
"""

from functools import cache

import numpy as np

Outline = tuple[np.ndarray, ...]  # (k, 2) float64 closed curves, x right and y down; a second curve is a hole

# How far each may be turned either way, in degrees, and still be called what it is.
TURN = {
    "cerchio": 180,
    "stella": 180,
    "quadrato": 25,
    "croce": 20,
    "triangolo": 180,
    "luna": 180,
    "cuore": 40,
    "freccia": 180,
    "anello": 180,
    "goccia": 50,
    "fulmine": 30,
    "onda": 20,
}


@cache
def outline(shape: str) -> Outline:
    """Return the closed curves of a shape, unturned. Raises KeyError."""
    return _OUTLINES[shape]()


def _arc(radius: float, start: float, stop: float, points: int, x: float = 0.0) -> np.ndarray:
    angles = np.linspace(start, stop, points)
    return np.stack([x + radius * np.cos(angles), radius * np.sin(angles)], axis=1)


def _circle(radius: float) -> np.ndarray:
    return _arc(radius, 0, 2 * np.pi, 49)[:-1]


def _polygon(*points: tuple[float, float]) -> Outline:
    return (np.array(points, dtype=np.float64),)


def _regular(corners: int, *radii: float) -> Outline:
    """Corners at `radii` in turn, the first one at the top."""
    angles = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
    radius = np.resize(radii, corners)
    return (np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1),)


def _square() -> Outline:
    half = 0.7071
    return _polygon((-half, -half), (half, -half), (half, half), (-half, half))


def _cross() -> Outline:
    quarter = np.array([(0.3, -0.3), (0.93, -0.3), (0.93, 0.3)])
    turns = [np.array([[c, s], [-s, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]
    return (np.concatenate([quarter @ turn for turn in turns]),)


def _moon() -> Outline:
    outer, inner, shift = 0.97, 0.8, 0.46
    x = (outer**2 - inner**2 + shift**2) / (2 * shift)
    tip, bite = np.arccos(x / outer), np.arccos((x - shift) / inner)
    back = _arc(outer, tip, 2 * np.pi - tip, 40)
    front = _arc(inner, 2 * np.pi - bite, bite, 40, x=shift)
    return (np.concatenate([back, front[1:-1]]),)


def _heart() -> Outline:
    t = np.linspace(0, 2 * np.pi, 61)[:-1]
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return (np.stack([x, y - 2.5], axis=1) / 18.3,)


def _drop() -> Outline:
    t = np.linspace(0, 2 * np.pi, 61)[:-1]
    return (np.stack([0.72 * np.sin(t) * np.sin(t / 2) ** 1.4, -np.cos(t)], axis=1) * 0.98,)


def _bolt() -> Outline:
    half = ((0.38, -0.92), (-0.66, 0.26), (-0.2, 0.26))
    return _polygon(*half, *((-x, -y) for x, y in half))


def _arrow() -> Outline:
    return _polygon((-0.95, -0.22), (0.1, -0.22), (0.1, -0.68), (0.98, 0), (0.1, 0.68), (0.1, 0.22), (-0.95, 0.22))


def _wave() -> Outline:
    x = np.linspace(-0.97, 0.97, 40)
    middle = 0.26 * np.sin(x * 1.5 * np.pi / 0.97)
    top = np.stack([x, middle - 0.29], axis=1)
    bottom = np.stack([x, middle + 0.29], axis=1)
    return (np.concatenate([top, bottom[::-1]]) * 0.89,)


_OUTLINES = {
    "cerchio": lambda: (_circle(0.88),),
    "stella": lambda: _regular(10, 1.0, 0.42),
    "quadrato": _square,
    "croce": _cross,
    "triangolo": lambda: _regular(3, 1.0),
    "luna": _moon,
    "cuore": _heart,
    "freccia": _arrow,
    "anello": lambda: (_circle(0.92), _circle(0.48)),
    "goccia": _drop,
    "fulmine": _bolt,
    "onda": _wave,
}

"""Draw a scene: textured ground, clutter, and shaded, outlined objects, all anti-aliased.

Public names: draw.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageChops, ImageDraw

from . import palette
from .scene import Thing

_OVERSAMPLE = 4
_GROUND_DISTANCE = 0.25  # OKLab, the least between the ground and any object, where some colour allows it
_GROUNDS = 24  # how many grounds are tried
_EDGE, _EDGE_OF_RADIUS = 0.008, 0.06  # the outline's width: of the picture's side, but at most of the object's radius


def draw(things: Sequence[Thing], texture: int, size: int) -> Image.Image:
    """Draw things on a ground that follows from `texture`; returns size × size RGB. Raises ValueError below 16."""
    if size < 16:
        raise ValueError(f"{size} pixels are too few to tell shapes apart; use 16 or more")
    # All choices come first and in a fixed order; only the grain's numbers depend on the size.
    choices = np.random.default_rng(texture)
    colours = [palette.jitter(thing.colour, *choices.uniform(-1, 1, 3)) for thing in things]
    canvas = _ground(colours, choices, size)
    _clutter(canvas, choices)
    for thing, colour in zip(things, colours, strict=True):
        _paint(canvas, thing, colour, choices)
    grain = np.random.default_rng([texture, size]).standard_normal((size, size, 1), dtype=np.float32)
    canvas += grain * np.float32(choices.uniform(0.0, 0.02))
    return Image.fromarray((canvas.clip(0, 1) * 255 + 0.5).astype(np.uint8))


def _ground(colours: list[np.ndarray], choices: np.random.Generator, size: int) -> np.ndarray:
    """Return a (size, size, 3) float32 texture in a dull colour that keeps its distance from all objects' colours."""
    lightness = choices.uniform(0.3, 0.97, _GROUNDS)
    chroma = choices.uniform(0, 0.05, _GROUNDS)
    hue = choices.uniform(0, 360, _GROUNDS)
    lab = np.stack([lightness, chroma * np.cos(np.deg2rad(hue)), chroma * np.sin(np.deg2rad(hue))], axis=1)
    distance = np.linalg.norm(lab[:, None] - palette.oklab(np.array(colours)), axis=-1).min(axis=1)
    far = distance >= _GROUND_DISTANCE
    chosen = int(np.argmax(far) if far.any() else np.argmax(distance))
    base = palette.rgb(lightness[chosen], chroma[chosen], hue[chosen])
    field = _field(choices, size, size, cells=int(choices.integers(3, 9)))
    return (base + 0.055 * field[..., None] * choices.uniform(0.6, 1.0, 3)).astype(np.float32)


def _field(choices: np.random.Generator, width: int, height: int, cells: int) -> np.ndarray:
    """Return a (height, width) float32 pattern in about [-1, 1]: clouds, a gradient, stripes, or dots, at any size."""
    pattern = choices.integers(4)
    angle, frequency, phase = choices.uniform(0, 2 * np.pi), choices.uniform(2, 5), choices.uniform(0, 2 * np.pi)
    clouds = choices.uniform(-1, 1, (cells, cells)).astype(np.float32)
    if pattern == 0:
        return np.asarray(Image.fromarray(clouds).resize((width, height), Image.Resampling.BICUBIC))
    x = np.linspace(-1, 1, width, dtype=np.float32)
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    along = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle))
    if pattern == 1:
        return along
    if pattern == 2:
        return np.sin(along * np.float32(np.pi * frequency) + np.float32(phase))
    across = y * np.float32(np.cos(angle)) - x * np.float32(np.sin(angle))
    return np.sin(along * np.float32(np.pi * frequency)) * np.sin(across * np.float32(np.pi * frequency))


def _clutter(canvas: np.ndarray, choices: np.random.Generator) -> None:
    """Blend faint specks, lines and scribbles into the (size, size, 3) ground, all thinner than any object."""
    size = len(canvas)
    side = size * 2
    mask = Image.new("L", (side, side))
    pen = ImageDraw.Draw(mask)
    width = max(1, round(side * 0.006))
    specks = choices.random((choices.integers(0, 25), 3)) * (side, side, 0.006 * side)
    for x, y, radius in specks:
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
    for ends in choices.random((choices.integers(0, 4), 4)) * side:
        pen.line(ends.tolist(), fill=255, width=width)
    for _ in range(choices.integers(0, 4)):
        steps = np.cumsum(choices.normal(0, 0.04, (14, 2)), axis=0) + choices.random(2)
        pen.line((steps * side).ravel().tolist(), fill=255, width=width, joint="curve")
    strength = choices.uniform(0.12, 0.3) / 255
    ink = palette.rgb(0.25 if canvas.mean() > 0.45 else 0.9, choices.uniform(0, 0.05), choices.uniform(0, 360))
    alpha = np.asarray(mask.reduce(2), np.float32)[..., None] * np.float32(strength)
    canvas += alpha * (ink.astype(np.float32) - canvas)


def _paint(canvas: np.ndarray, thing: Thing, colour: np.ndarray, choices: np.random.Generator) -> None:
    """Lay one shaded object with its outline over the (size, size, 3) canvas."""
    size = len(canvas)
    box = thing.box
    left, top = (max(0, int(side * size)) for side in box[:2])
    right, bottom = (min(size, int(side * size) + 1) for side in box[2:])
    corner = np.array([left, top])
    scaled = (size * _OVERSAMPLE, (right - left) * _OVERSAMPLE, (bottom - top) * _OVERSAMPLE)
    curves = [(curve * scaled[0] - corner * _OVERSAMPLE).ravel().tolist() for curve in thing.outline]
    fill = Image.new("L", scaled[1:])
    edge = Image.new("L", scaled[1:])
    fill_pen, edge_pen = ImageDraw.Draw(fill), ImageDraw.Draw(edge)
    # The stroke runs along the border and only its inner half is kept.
    stroke = max(2, round(2 * min(_EDGE, _EDGE_OF_RADIUS * thing.radius) * scaled[0]))
    for place, curve in enumerate(curves):
        fill_pen.polygon(curve, fill=0 if place else 255)
        edge_pen.line(curve + curve[:4], fill=255, width=stroke, joint="curve")
    edge = ImageChops.darker(edge, fill)
    covered = np.asarray(fill.reduce(_OVERSAMPLE), np.float32)[..., None] / 255
    edged = np.asarray(edge.reduce(_OVERSAMPLE), np.float32)[..., None] / 255
    field = _field(choices, right - left, bottom - top, cells=4)[..., None]
    shade = np.float32(choices.uniform(0.04, 0.12)) * field
    body = colour.astype(np.float32) * (1 + shade) + 0.1 * shade
    patch = canvas[top:bottom, left:right]
    # Darker on a light ground, paler on a dark one, yet of the same name: thin shapes are half line.
    line = colour * 0.65 if patch[0, 0].mean() > 0.4 else colour * 0.75 + 0.25 * colour.max()
    patch += covered * (body - patch)
    patch += edged * (line.astype(np.float32) - patch) * 0.85

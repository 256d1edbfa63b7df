"""The drawing: boxes hold the pixels, nothing hides, colours are what they are called, size changes nothing."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from clip_italian.data import scenes as drawn

SEEDS = st.integers(0, 2**31)
# What a painter would mix for each name (sRGB), not the package's own palette.
MIXED = {
    "rosso": (212, 30, 38), "verde": (40, 155, 50), "blu": (20, 70, 215), "giallo": (250, 220, 30),
    "arancione": (250, 145, 25), "viola": (120, 30, 190), "rosa": (250, 160, 195), "marrone": (112, 64, 24),
    "nero": (16, 16, 16), "bianco": (248, 248, 248), "grigio": (136, 136, 136),
}  # fmt: skip


def lab(pixels):
    """CIE L*a*b* (D65) of (…, 3) sRGB in 0–255: another measure of likeness than the one that chose the colours."""
    c = np.asarray(pixels, float) / 255
    c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    xyz = c @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]])
    xyz = xyz / (0.9505, 1.0, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def mask(thing, size):
    image = Image.new("1", (size, size))
    pen = ImageDraw.Draw(image)
    for hole, curve in enumerate(thing.outline):
        pen.polygon((curve * size).ravel().tolist(), fill=0 if hole else 1)
    return np.asarray(image)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.sampled_from([64, 112, 224]))
def test_the_same_scene_gives_the_same_pixels(seed, size):
    one, other = (drawn.make(7, seed=seed).draw(size) for _ in range(2))
    assert one.size == (size, size)
    assert one.mode == "RGB"
    assert one.tobytes() == other.tobytes()


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_a_small_drawing_looks_like_a_large_one_made_smaller(seed):
    scene = drawn.make(0, seed=seed)
    small = np.asarray(scene.draw(96), float)
    shrunk = np.asarray(scene.draw(384).reduce(4), float)
    assert np.abs(small - shrunk).mean() < 6  # of 255: grain, and edges of one pixel
    boxes, large = scene.objects(96), scene.objects(384)
    for thing, other in zip(boxes, large, strict=True):
        assert np.allclose(np.array(thing["box"]) * 4, other["box"], atol=0.03)
        assert {**thing, "box": 0} == {**other, "box": 0}


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.sampled_from([64, 112, 384]))
def test_a_box_holds_its_object_and_no_more(seed, size):
    scene = drawn.make(3, seed=seed)
    # The last object lies on top; without it, only the pixels in its box may change, up to all four sides.
    less = replace(scene, things=(*scene.things[:-1], replace(scene.things[-1], radius=1e-4)))
    with_it, without = (np.asarray(each.draw(size), int) for each in (scene, less))
    rows, columns = np.nonzero((np.abs(with_it - without).max(axis=-1) > 8) & ~near_point(scene.things[-1], size))
    x0, y0, x1, y1 = scene.objects(size)[-1]["box"]
    found = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    slack = 1.0 + 0.02 * size  # sharp corners fade out before their tip
    assert found[0] >= x0 - 1.01 and found[1] >= y0 - 1.01 and found[2] <= x1 + 1.01 and found[3] <= y1 + 1.01
    assert np.allclose(found, (x0, y0, x1, y1), atol=slack)


def near_point(thing, size):
    rows, columns = np.indices((size, size))
    return np.hypot(columns - thing.x * size, rows - thing.y * size) < 2


@settings(max_examples=150, deadline=None)
@given(SEEDS, st.sampled_from(drawn.SPLITS))
def test_no_object_hides_behind_others(seed, split):
    scene = drawn.make(1, split=split, seed=seed)
    masks = [mask(thing, 256) for thing in scene.things]
    for place, own in enumerate(masks):
        hidden = own & np.any([*masks[place + 1 :], np.zeros_like(own)], axis=0)
        assert hidden.sum() <= 0.15 * own.sum()


@settings(max_examples=150, deadline=None)
@given(SEEDS)
def test_colours_are_what_they_are_called_and_stand_out_from_the_ground(seed):
    scene = drawn.make(2, seed=seed)
    pixels = lab(scene.draw(224))
    names, mixed = list(MIXED), lab(list(MIXED.values()))
    ground = np.median(pixels[~np.any([mask(thing, 224) for thing in scene.things], axis=0)], axis=0)
    for group, meant in enumerate(scene.groups):
        inside = np.any([mask(thing, 224) for thing in scene.things if thing.group == group], axis=0)
        looks = np.median(pixels[inside], axis=0)
        assert names[np.linalg.norm(mixed - looks, axis=1).argmin()] == meant.colour
        assert np.linalg.norm(looks - ground) > 14


def test_pictures_too_small_are_refused():
    with pytest.raises(ValueError, match="16"):
        drawn.make(0).draw(15)


def test_a_contact_sheet_shows_every_scene():
    made = list(drawn.scenes(5))
    page = drawn.sheet(made, columns=2, size=64, boxes=True)
    plain = drawn.sheet(made, columns=2, size=64)
    assert page.size == plain.size
    assert page.width == 2 * 72 + 8
    assert page.tobytes() != plain.tobytes()
    assert plain.crop((8, 8, 72, 72)).tobytes() == made[0].draw(64).tobytes()


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_every_outline_stays_within_its_radius(seed):
    for thing in drawn.make(4, seed=seed).things:
        reach = max(np.hypot(*(curve - (thing.x, thing.y)).T).max() for curve in thing.outline)
        assert 0.85 * thing.radius < reach <= 1.0001 * thing.radius

"""Every change of a photo against a slow reading of its definition, and the recipes' draws against their ranges."""

import colorsys
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from clip_italian.data import augment
from clip_italian.data.augment import AUGMENTATIONS, crop_augment, paper_augment


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth coloured ground with noise: resampling errors show, but do not depend on one pixel."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [127 + 90 * np.sin(x / (5 + 3 * c) + c) * np.cos(y / (7 - c)) for c in range(3)]
    pixels = np.stack(waves, -1) + rng.uniform(-30, 30, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def sample_back(image: Image.Image, source) -> tuple[np.ndarray, np.ndarray]:
    """Fetch each output pixel from source(x, y), bilinear over pixel centres; also say which lie clear of the rim."""
    pixels = np.asarray(image, float)
    height, width, _ = pixels.shape
    out, clear = np.full(pixels.shape, 127.0), np.ones((height, width), bool)
    for row in range(height):
        for column in range(width):
            u, v = source(column + 0.5, row + 0.5)
            clear[row, column] = min(abs(u), abs(width - u), abs(v), abs(height - v)) > 1e-6
            if not (0 <= u < width and 0 <= v < height):
                continue
            left, top = math.floor(u - 0.5), math.floor(v - 0.5)
            across, down = u - 0.5 - left, v - 0.5 - top
            total = np.zeros(3)
            for x, wx in ((left, 1 - across), (left + 1, across)):
                for y, wy in ((top, 1 - down), (top + 1, down)):
                    total += wx * wy * pixels[min(max(y, 0), height - 1), min(max(x, 0), width - 1)]
            out[row, column] = total
    return out, clear


def assert_near(image: Image.Image, expected: np.ndarray, tolerance: float = 1.01) -> None:
    assert np.abs(np.asarray(image, float) - expected).max() <= tolerance


@pytest.mark.parametrize(
    ("angle", "translate", "scale", "shear"),
    [
        (0, (0, 0), 1, (0, 0)),
        (15, (0, 0), 1, (0, 0)),
        (-9, (4, -3), 0.8, (0, 0)),
        (0, (0, 0), 1, (12, 0)),
        (0, (0, 0), 1, (0, -12)),
        (7, (-3, 2), 1.2, (10, -15)),
        (-15, (4, 4), 0.9, (-15, 15)),
    ],
)
def test_affine_fetches_every_pixel_from_where_the_definition_puts_it(angle, translate, scale, shear):
    # torchvision's closed form of the inverse map, written out entry by entry.
    image = picture(41, 34)
    turn, sx, sy = math.radians(angle), math.radians(shear[0]), math.radians(shear[1])
    a = math.cos(turn - sy) / math.cos(sy)
    b = -math.cos(turn - sy) * math.tan(sx) / math.cos(sy) - math.sin(turn)
    c = math.sin(turn - sy) / math.cos(sy)
    d = -math.sin(turn - sy) * math.tan(sx) / math.cos(sy) + math.cos(turn)

    def source(x: float, y: float) -> tuple[float, float]:
        x, y = x - 20.5 - translate[0], y - 17 - translate[1]
        return (d * x - b * y) / scale + 20.5, (-c * x + a * y) / scale + 17

    changed = augment.affine(image, angle=angle, translate=translate, scale=scale, shear=shear)
    expected, clear = sample_back(image, source)
    difference = np.abs(np.asarray(changed, float) - expected).max(-1)
    assert clear.mean() > 0.9
    assert difference[clear].max() <= 1.01


def test_affine_turns_clockwise_and_moves_right_and_down():
    dot = Image.new("RGB", (21, 21))
    dot.putpixel((10, 2), (255, 255, 255))  # straight above the centre
    turned = np.asarray(augment.affine(dot, angle=90, translate=(0, 0), scale=1, shear=(0, 0)))[..., 0]
    assert np.unravel_index(turned.argmax(), turned.shape) == (10, 18)  # now right of it
    moved = np.asarray(augment.affine(dot, angle=0, translate=(3, 5), scale=1, shear=(0, 0)))[..., 0]
    assert np.unravel_index(moved.argmax(), moved.shape) == (7, 13)
    assert (np.asarray(augment.affine(dot, angle=0, translate=(30, 0), scale=1, shear=(0, 0))) == 127).all()


@pytest.mark.parametrize(
    "corners",
    [
        [(0, 0), (40, 0), (40, 33), (0, 33)],
        [(5, 3), (37, 1), (40, 30), (2, 33)],
        [(0, 6), (36, 0), (33, 28), (6, 29)],
    ],
)
def test_perspective_solves_the_four_corners(corners):
    image = picture(41, 34)
    start = [(0, 0), (40, 0), (40, 33), (0, 33)]
    # The homography as the null space of eight homogeneous equations, instead of an inhomogeneous 8 × 8 system.
    rows = []
    for (x, y), (u, v) in zip(corners, start, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y, -u], [0, 0, 0, x, y, 1, -v * x, -v * y, -v]]
    matrix = np.linalg.svd(np.array(rows, float))[2][-1].reshape(3, 3)
    for (x, y), (u, v) in zip(corners, start, strict=True):
        lands = matrix @ (x, y, 1)
        assert np.allclose(lands[:2] / lands[2], (u, v), atol=1e-8)

    def source(x: float, y: float) -> tuple[float, float]:
        u, v, w = matrix @ (x, y, 1)
        return u / w, v / w

    expected, clear = sample_back(image, source)
    difference = np.abs(np.asarray(augment.perspective(image, corners), float) - expected).max(-1)
    assert clear.mean() > 0.9
    assert difference[clear].max() <= 1.01


@pytest.mark.parametrize("shift", [0, 0.1, -0.1, 1 / 3, 0.5, -0.037])
def test_hue_is_turned_pixel_by_pixel(shift):
    image = picture(30, 20)
    for x, colour in enumerate([(0, 0, 0), (255, 255, 255), (90, 90, 90), (255, 0, 0), (0, 255, 1), (3, 0, 255)]):
        image.putpixel((x, 0), colour)
    expected = np.empty((20, 30, 3))
    for y in range(20):
        for x in range(30):
            hue, saturation, value = colorsys.rgb_to_hsv(*(c / 255 for c in image.getpixel((x, y))))
            expected[y, x] = np.array(colorsys.hsv_to_rgb((hue + shift) % 1, saturation, value)) * 255
    assert_near(augment.shift_hue(image, shift), expected, 0.51)


def test_hue_without_shift_or_by_a_full_turn_is_the_picture_itself():
    image = picture(50, 40)
    assert np.array_equal(augment.shift_hue(image, 0), image)
    assert np.abs(np.asarray(augment.shift_hue(image, 1), int) - np.asarray(image, int)).max() <= 1


def test_pillow_autocontrast_and_equalize_are_the_originals_formulas():
    # The recipe uses Pillow's own; torchvision's tensor formulas, which the original ran, are written out here.
    image = augment.affine(picture(64, 48), angle=5, translate=(3, 2), scale=0.9, shear=(3, 1)).point(
        lambda v: 40 + v // 2
    )
    pixels = np.asarray(image, int)
    low, high = pixels.min((0, 1)), pixels.max((0, 1))
    assert_near(ImageOps.autocontrast(image), np.floor((pixels - low) * 255 / (high - low)))
    for channel, band in zip(ImageOps.equalize(image).split(), image.split(), strict=True):
        counts = np.bincount(np.asarray(band).ravel(), minlength=256)
        step = counts[counts != 0][:-1].sum() // 255
        table = np.clip(np.concatenate([[0], (np.cumsum(counts) + step // 2) // step])[:-1], 0, 255)
        assert np.array_equal(channel, table[np.asarray(band)])
    flat = Image.new("RGB", (8, 8), (10, 20, 30))
    assert np.array_equal(ImageOps.autocontrast(flat), flat)
    assert np.array_equal(ImageOps.equalize(flat), flat)


@pytest.mark.parametrize("full", [(300, 200), (200, 300), (97, 64), (64, 64), (40, 99), (99, 40), (31, 500)])
def test_one_resampling_equals_resize_then_cut(full):
    image, size = picture(*full), 48
    scaled = augment.scaled_size(full, size)
    assert min(scaled) == size
    assert scaled == tuple(size if side == min(full) else int(size * max(full) / min(full)) for side in full)
    resized = image.resize(scaled, Image.Resampling.BICUBIC)
    for share in (0, 0.3, 1):
        left, top = (int((side - size) * share) for side in scaled)
        expected = np.asarray(resized.crop((left, top, left + size, top + size)), float)
        assert_near(augment.resize_and_cut(image, size, left, top), expected)


def test_jitter_blends_with_black_mean_grey_and_grey():
    image = picture(30, 20)
    pixels = np.asarray(image, float)
    grey = pixels @ (0.299, 0.587, 0.114)
    assert np.array_equal(augment.jitter(image, 1, 1, 1), image)
    assert_near(augment.jitter(image, 0.7, 1, 1), pixels * 0.7)
    assert_near(augment.jitter(image, 1, 0.6, 1), 0.6 * pixels + 0.4 * round(grey.mean()), 1.5)
    assert_near(augment.jitter(image, 1, 1, 0.5), 0.5 * pixels + 0.5 * grey[..., None], 1.5)


def test_draws_stay_in_their_ranges_and_fill_them():
    rng = np.random.default_rng(1)
    drawn = [augment.draw_affine(rng, 224) for _ in range(4000)]
    columns = {
        "angle": ([d["angle"] for d in drawn], -15, 15),
        "right": ([d["translate"][0] for d in drawn], -22, 22),
        "down": ([d["translate"][1] for d in drawn], -22, 22),
        "scale": ([d["scale"] for d in drawn], 0.8, 1.2),
        "along x": ([d["shear"][0] for d in drawn], -15, 15),
        "along y": ([d["shear"][1] for d in drawn], -15, 15),
    }
    for name, (values, low, high) in columns.items():
        span = high - low
        assert low <= min(values) < low + 0.01 * span, name
        assert high - 0.01 * span < max(values) <= high, name
        assert abs(np.mean(values) - (low + high) / 2) < 0.02 * span, name
        assert abs(np.std(values) - span / math.sqrt(12)) < 0.02 * span, name
    corners = np.array([augment.draw_corners(rng, 224, 0.3) for _ in range(4000)])
    reach = int(0.3 * 112)
    low = np.array([(0, 0), (223 - reach, 0), (223 - reach, 223 - reach), (0, 223 - reach)])
    assert np.array_equal(corners.min(0), low)
    assert np.array_equal(corners.max(0), low + reach)
    assert np.abs(corners.mean(0) - low - reach / 2).max() < 0.7


def test_random_boxes_have_the_asked_area_and_shape():
    rng = np.random.default_rng(2)
    boxes = np.array([augment.random_box(rng, (300, 200), scale=(0.2, 0.6), ratio=(3 / 4, 4 / 3)) for _ in range(4000)])
    across, down = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    area, shape = across * down / 60000, np.log(across / down)
    assert boxes.min() >= 0
    assert boxes[:, 2].max() <= 300
    assert boxes[:, 3].max() <= 200
    assert 0.2 - 1e-9 <= area.min() < 0.21
    assert 0.58 < area.max() <= 0.6 + 1e-9
    assert abs(area.mean() - 0.4) < 0.01
    assert -math.log(4 / 3) - 1e-9 <= shape.min() < -0.27
    assert 0.27 < shape.max() <= math.log(4 / 3) + 1e-9
    assert abs(shape.mean()) < 0.02


def test_a_strip_too_thin_for_any_box_gives_its_centre():
    rng = np.random.default_rng(3)
    box = augment.random_box(rng, (1000, 30), scale=(0.5, 1), ratio=(3 / 4, 4 / 3))
    assert box == pytest.approx((480, 0, 520, 30))


@pytest.mark.parametrize("name", ["paper", "crop"])
@pytest.mark.parametrize("full", [(1, 1), (2, 3), (500, 1), (1, 700), (33, 20), (224, 224)])
def test_any_picture_comes_out_at_the_asked_size(name, full):
    for seed in range(6):
        image, mirrored = AUGMENTATIONS[name](np.random.default_rng(seed), 32)(picture(*full))
        assert (image.size, image.mode) == ((32, 32), "RGB")
        assert isinstance(mirrored, bool)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1", "LA"])
def test_other_modes_become_rgb(mode):
    image = picture(40, 30).convert(mode)
    for make in (paper_augment, crop_augment):
        assert make(np.random.default_rng(0), 24)(image)[0].mode == "RGB"


@pytest.mark.parametrize("make", [paper_augment, crop_augment])
def test_half_are_mirrored_and_say_so(make):
    half = Image.new("RGB", (48, 48))
    half.paste((255, 255, 255), (0, 0, 24, 48))  # the left half is white
    told = 0
    for seed in range(200):
        image, mirrored = make(np.random.default_rng(seed), 24)(half)
        bright = np.asarray(image.convert("L"), float)[8:16]
        right, left = bright[:, 16:].mean(), bright[:, :8].mean()
        if abs(right - left) > 60:  # a crop may lie in one half
            assert (right > left) == mirrored
        told += mirrored
    assert 75 <= told <= 125


@pytest.mark.parametrize("make", [paper_augment, crop_augment])
def test_forbidding_the_mirror_changes_nothing_else(make):
    image = picture(60, 48)
    seen = set()
    for seed in range(12):
        free, mirrored = make(np.random.default_rng(seed), 32)(image)
        bound, never = make(np.random.default_rng(seed), 32, flip=False)(image)
        assert not never
        assert np.array_equal(free, bound) != mirrored
        seen.add(mirrored)
    assert seen == {True, False}


@pytest.mark.parametrize("make", [paper_augment, crop_augment])
def test_the_same_generator_gives_the_same_picture_and_another_does_not(make):
    image = picture(60, 48)
    first, again, other = (np.asarray(make(np.random.default_rng(s), 32)(image)[0]) for s in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_paper_chain_is_its_steps_in_order():
    image, size = picture(90, 60), 32
    for seed in range(30):
        rng = np.random.default_rng(seed)
        across, down = augment.scaled_size(image.size, size)
        left, top = int(rng.integers(0, across - size + 1)), int(rng.integers(0, down - size + 1))
        expected = augment.shift_hue(augment.resize_and_cut(image, size, left, top), rng.uniform(-0.1, 0.1))
        expected = ImageOps.mirror(expected) if rng.random() < 0.5 else expected
        expected = augment.affine(expected, **augment.draw_affine(rng, size))
        expected = (
            augment.perspective(expected, augment.draw_corners(rng, size, 0.3)) if rng.random() < 0.3 else expected
        )
        expected = ImageOps.autocontrast(expected) if rng.random() < 0.3 else expected
        expected = ImageOps.equalize(expected) if rng.random() < 0.3 else expected
        assert np.array_equal(paper_augment(np.random.default_rng(seed), size)(image)[0], expected)


def test_without_augmentation_the_picture_is_left_alone():
    image = picture(60, 48)
    same, mirrored = AUGMENTATIONS["none"](np.random.default_rng(0), 32)(image)
    assert same is image
    assert not mirrored
    assert set(AUGMENTATIONS) == {"none", "paper", "crop"}


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(8, 64), st.integers(0, 2**32))
def test_crop_never_leaves_the_picture(width, height, size, seed):
    rng = np.random.default_rng(seed)
    left, top, right, bottom = augment.random_box(rng, (width, height), scale=(0.01, 1), ratio=(0.5, 2))
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height

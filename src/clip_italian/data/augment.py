"""Changes to a photo that leave its caption true, drawn anew for every picture and epoch.

Each change is a function of a picture and explicit numbers; a recipe draws the numbers from a generator in the order of
the original's chain. Public names: AUGMENTATIONS, paper_augment, crop_augment, no_augment, and the single changes
resize_and_cut, shift_hue, affine, perspective, random_box, jitter.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

Augment = Callable[[Image.Image], tuple[Image.Image, bool]]
Box = tuple[float, float, float, float]
GREY = (127, 127, 127)


class Recipe(Protocol):
    """Makes the change of one picture: draws from `rng`, gives size × size RGB, mirrors only where `flip` allows it.

    What it makes returns the picture and whether it was mirrored, so that the caption can be swapped with it.
    """

    def __call__(self, rng: np.random.Generator, size: int = 224, *, flip: bool = True) -> Augment:
        """Return the change."""
        ...


def no_augment(rng: np.random.Generator, size: int = 224, *, flip: bool = True) -> Augment:
    """Leave pictures as they are, at their own size."""
    return lambda image: (image, False)


def paper_augment(rng: np.random.Generator, size: int = 224, *, flip: bool = True) -> Augment:
    """Make the paper's chain: cut, hue, mirror, affine, perspective, autocontrast, equalise.

    Ranges and order are the original's; that it resized without antialiasing, in training only, is not repeated, and
    its padding of too small pictures cannot happen after the resize. Source: Bianchi et al. 2021, training script.
    """

    def augment(image: Image.Image) -> tuple[Image.Image, bool]:
        image = image.convert("RGB")
        scaled = scaled_size(image.size, size)
        left, top = (int(rng.integers(0, side - size + 1)) for side in scaled)
        image = shift_hue(resize_and_cut(image, size, left, top), rng.uniform(-0.1, 0.1))
        mirrored = bool(rng.random() < 0.5) and flip
        if mirrored:
            image = ImageOps.mirror(image)
        image = affine(image, **draw_affine(rng, size))
        if rng.random() < 0.3:
            image = perspective(image, draw_corners(rng, size, 0.3))
        if rng.random() < 0.3:
            image = ImageOps.autocontrast(image)
        if rng.random() < 0.3:
            image = ImageOps.equalize(image)
        return image, mirrored

    return augment


def crop_augment(
    rng: np.random.Generator,
    size: int = 224,
    *,
    flip: bool = True,
    scale: tuple[float, float] = (0.5, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    colour: float = 0.2,
) -> Augment:
    """Make a light chain: a random part of the picture in one resampling, mirror, brightness, contrast and saturation.

    scale: share of the picture's area kept; ratio: width to height of the part; colour: each factor lies in 1 ± colour.
    """

    def augment(image: Image.Image) -> tuple[Image.Image, bool]:
        image = image.convert("RGB")
        box = random_box(rng, image.size, scale=scale, ratio=ratio)
        image = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
        mirrored = bool(rng.random() < 0.5) and flip
        if mirrored:
            image = ImageOps.mirror(image)
        return jitter(image, *rng.uniform(1 - colour, 1 + colour, 3)), mirrored

    return augment


AUGMENTATIONS: Mapping[str, Recipe] = MappingProxyType(
    {"none": no_augment, "paper": paper_augment, "crop": crop_augment}
)


def scaled_size(full: tuple[int, int], size: int) -> tuple[int, int]:
    """Return (width, height) after scaling the shorter side to `size`; the longer one is rounded down."""
    width, height = full
    return (size, size * height // width) if width <= height else (size * width // height, size)


def resize_and_cut(image: Image.Image, size: int, left: int, top: int) -> Image.Image:
    """Scale the shorter side to `size` (bicubic, antialiased) and cut size × size at (left, top) of the scaled picture.

    Both in one resampling: equal to doing one after the other, without the scaled picture's memory.
    """
    across, down = (full / scaled for full, scaled in zip(image.size, scaled_size(image.size, size), strict=True))
    right, bottom = min((left + size) * across, image.width), min((top + size) * down, image.height)
    box = (left * across, top * down, right, bottom)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=box)


def shift_hue(image: Image.Image, shift: float) -> Image.Image:
    """Turn every pixel's hue by `shift` of the full circle; saturation and value stay."""
    pixels = np.asarray(image, np.float32)
    value = pixels.max(-1)
    chroma = value - pixels.min(-1)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    # In sixths of the circle, measured from red; grey has no hue and zero chroma, so any number will do.
    unit = np.maximum(chroma, 1)
    from_green_or_blue = np.where(value == green, 2 + (blue - red) / unit, 4 + (red - green) / unit)
    hue = np.where(value == red, (green - blue) / unit, from_green_or_blue) + 6 * shift
    out = np.empty(pixels.shape, np.uint8)
    for channel, offset in enumerate((5, 3, 1)):
        away = (hue + offset) % 6
        out[..., channel] = np.rint(value - chroma * np.clip(np.minimum(away, 4 - away), 0, 1))
    return Image.fromarray(out)


def affine(
    image: Image.Image, *, angle: float, translate: tuple[float, float], scale: float, shear: tuple[float, float]
) -> Image.Image:
    """Shear, scale and turn the picture about its centre, then move it; bilinear, grey where nothing lands.

    angle: degrees, clockwise; translate: pixels right and down; shear: degrees along x and y, of the sign the original
    gives them: the forward map is T · R(angle) · scale · [[1, 0], [-tan y, 1]] · [[1, -tan x], [0, 1]].
    """
    turn, (along_x, along_y) = math.radians(angle), (math.tan(math.radians(s)) for s in shear)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    forward = scale * rotation @ np.array([[1, 0], [-along_y, 1]]) @ np.array([[1, -along_x], [0, 1]])
    back = np.linalg.inv(forward)
    centre = np.array(image.size) / 2
    start = centre - back @ (centre + np.array(translate))
    data = (*back[0], start[0], *back[1], start[1])
    return image.transform(image.size, Image.Transform.AFFINE, data, Image.Resampling.BILINEAR, fillcolor=GREY)


def draw_affine(rng: np.random.Generator, size: int) -> dict[str, Any]:
    """Draw what `affine` needs in the original's ranges: ±15°, moved by up to a tenth, scale 0.8–1.2, shears ±15°."""
    return {
        "angle": rng.uniform(-15, 15),
        "translate": (round(rng.uniform(-size / 10, size / 10)), round(rng.uniform(-size / 10, size / 10))),
        "scale": rng.uniform(0.8, 1.2),
        "shear": (rng.uniform(-15, 15), rng.uniform(-15, 15)),
    }


def perspective(image: Image.Image, corners: Sequence[tuple[float, float]]) -> Image.Image:
    """Move the picture's corners to `corners` (x, y from upper left, clockwise); bilinear, grey where nothing lands.

    The unmoved corners are (0, 0), (width - 1, 0), (width - 1, height - 1), (0, height - 1).
    """
    right, bottom = image.width - 1, image.height - 1
    rows, sides = [], []
    for (x, y), (u, v) in zip(corners, [(0, 0), (right, 0), (right, bottom), (0, bottom)], strict=True):
        # u = (a x + b y + c) / (g x + h y + 1), v = (d x + e y + f) / (g x + h y + 1), solved for a … h.
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        sides += [u, v]
    data = np.linalg.solve(np.array(rows, float), np.array(sides, float)).tolist()
    return image.transform(image.size, Image.Transform.PERSPECTIVE, data, Image.Resampling.BILINEAR, fillcolor=GREY)


def draw_corners(rng: np.random.Generator, size: int, distortion: float) -> list[tuple[int, int]]:
    """Draw where the corners of a square picture go: each up to distortion · size / 2 inwards, both ways."""
    reach = int(distortion * (size // 2))
    inwards = rng.integers(0, reach + 1, (4, 2)).tolist()
    far = [(0, 0), (1, 0), (1, 1), (0, 1)]  # which corners lie at the right, and which at the bottom
    return [
        (size - 1 - dx if right else dx, size - 1 - dy if bottom else dy)
        for (dx, dy), (right, bottom) in zip(inwards, far, strict=True)
    ]


def random_box(
    rng: np.random.Generator, full: tuple[int, int], *, scale: tuple[float, float], ratio: tuple[float, float]
) -> Box:
    """Draw a part of a (width, height) picture: area evenly within `scale` of the whole, ratio evenly in its logarithm.

    Ten tries to fit it in, then the largest centred part within `ratio`. Returns (left, top, right, bottom).
    """
    width, height = full
    for _ in range(10):
        area = width * height * rng.uniform(*scale)
        shape = math.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1])))
        across, down = math.sqrt(area * shape), math.sqrt(area / shape)
        if across <= width and down <= height:
            left, top = rng.uniform(0, width - across), rng.uniform(0, height - down)
            return left, top, min(left + across, width), min(top + down, height)
    across, down = min(width, height * ratio[1]), min(height, width / ratio[0])
    left, top = (width - across) / 2, (height - down) / 2
    return left, top, left + across, top + down


def jitter(image: Image.Image, brightness: float, contrast: float, saturation: float) -> Image.Image:
    """Blend with black, with the mean grey, and with its own grey picture; 1 leaves as it is."""
    image = ImageEnhance.Brightness(image).enhance(brightness)
    image = ImageEnhance.Contrast(image).enhance(contrast)
    return ImageEnhance.Color(image).enhance(saturation)

"""The edits by which the duplicates' benchmarks make near duplicates of photos, each as somebody would make them.

Public names: EDITS, edited.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps


def _crop(share: float) -> Callable[[Image.Image, np.random.Generator], Image.Image]:
    """Take away `share` of the width and of the height, at a random place."""

    def crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
        left, top = rng.integers(0, image.width - width + 1), rng.integers(0, image.height - height + 1)
        return image.crop((int(left), int(top), int(left) + width, int(top) + height))

    return crop


def _watermark(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Write a half-transparent line of text across the lower part, as wide as the picture."""
    layer = Image.new("RGBA", image.size)
    pen, text = ImageDraw.Draw(layer), f"© agenzia {rng.integers(1000, 9999)}"
    font = ImageFont.load_default(size=max(10, image.width // 9))
    pen.text((image.width * 0.05, image.height * 0.6), text, fill=(255, 255, 255, 160), font=font)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def _half(image: Image.Image, _: np.random.Generator) -> Image.Image:
    return image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BICUBIC)


def _border(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageOps.expand(image, max(1, min(image.size) // 20), "white" if rng.random() < 0.5 else "black")


# Name → (the edit, JPEG quality of what it gives).
EDITS: dict[str, tuple[Callable[[Image.Image, np.random.Generator], Image.Image], int]] = {
    "JPEG quality 30": (lambda image, _: image, 30),
    "half the size": (_half, 90),
    "crop 5 %": (_crop(0.05), 90),
    "crop 10 %": (_crop(0.1), 90),
    "crop 20 %": (_crop(0.2), 90),
    "brightness × 1.3": (lambda image, _: ImageEnhance.Brightness(image).enhance(1.3), 90),
    "mirrored": (lambda image, _: ImageOps.mirror(image), 90),
    "border of 5 %": (_border, 90),
    "watermark": (_watermark, 90),
    "grey": (lambda image, _: image.convert("L"), 90),
    "turned 2°": (lambda image, _: image.rotate(2, Image.Resampling.BICUBIC), 90),
}


def edited(image: Image.Image, name: str, seed: int) -> bytes:
    """Return a picture (RGB) after the edit `name`, as JPEG bytes; the same for the same seed."""
    change, quality = EDITS[name]
    out = io.BytesIO()
    change(image, np.random.default_rng(seed)).save(out, "JPEG", quality=quality)
    return out.getvalue()

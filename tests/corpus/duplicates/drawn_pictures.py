"""Pictures drawn by formula: the same pixels everywhere, with no decoder in between."""

import numpy as np
from PIL import Image


def drawn(seed: int, width: int = 160, height: int = 120) -> Image.Image:
    """Return an RGB picture of a few soft spots and stripes, different for each seed."""
    rng = np.random.default_rng(seed)
    down, across = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    pixels = np.zeros((height, width, 3))
    for _ in range(6):
        y, x, size, turn = rng.uniform(0, 1), rng.uniform(0, 1), rng.uniform(0.05, 0.3), rng.uniform(0, np.pi)
        spot = np.exp(-((down - y) ** 2 + (across - x) ** 2) / size**2)
        stripes = 1 + np.sin((down * np.cos(turn) + across * np.sin(turn)) * rng.uniform(4, 30))
        pixels += (spot * stripes)[..., None] * rng.uniform(0, 90, 3)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))

"""Changes to a whole batch of pictures at once, where it lies: on a GPU or not. data.augment changes single photos.

Public names: draw_boxes, cut, blended, WHOLE.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

WHOLE = ((1, 0, 0), (0, 1, 0))  # the box of a whole picture


def draw_boxes(
    mirrored: np.ndarray, area: tuple[float, float], ratio: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Draw a part of a square for each of (k,) bool `mirrored`; returns (k, 2, 3) float32, from places in
    the part to places in the whole, −1 to 1.

    area, ratio: ranges of a part's share of the square, and of its width to height.
    """
    count = len(mirrored)
    share = rng.uniform(*area, count)
    shape = np.exp(rng.uniform(math.log(ratio[0]), math.log(ratio[1]), count))
    across, down = np.minimum(np.sqrt(share * shape), 1), np.minimum(np.sqrt(share / shape), 1)
    boxes = np.zeros((count, 2, 3), np.float32)
    boxes[:, 0, 0], boxes[:, 1, 1] = np.where(mirrored, -across, across), down
    boxes[:, 0, 2] = rng.uniform(-1, 1, count) * (1 - across)
    boxes[:, 1, 2] = rng.uniform(-1, 1, count) * (1 - down)
    return boxes


def cut(pixels: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut boxes (k, 2, 3) out of (k, 3, h, w) pictures of 0–255; returns (k, 3, size, size) float32.

    Bicubic without antialiasing, so that values may leave 0–255 a little: parts are mostly enlarged.
    """
    grid = F.affine_grid(boxes, [len(boxes), 3, size, size], align_corners=False)
    return F.grid_sample(pixels.float(), grid, mode="bicubic", padding_mode="reflection", align_corners=False)


def blended(pixels: Tensor, factors: Tensor) -> Tensor:
    """Blend (k, 3, h, w) pixels of 0–255 with black, with their mean grey and with their own grey picture.

    factors: (3, k, 1, 1, 1), of brightness, contrast and saturation; 1 leaves as it is.
    """
    brightness, contrast, saturation = factors
    weights = torch.tensor([0.299, 0.587, 0.114], device=pixels.device).view(3, 1, 1)
    pixels = (pixels * brightness).clamp(0, 255)
    mean = (pixels * weights).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    pixels = (mean + (pixels - mean) * contrast).clamp(0, 255)
    grey = (pixels * weights).sum(1, keepdim=True)
    return (grey + (pixels - grey) * saturation).clamp(0, 255)

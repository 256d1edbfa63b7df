"""Views of pictures that a teacher saw once and a student sees again: the same part, at any size.

Pictures are kept decoded on the device; a view is a box in one and whether it is mirrored, so that storing what the
teacher says of it costs a vector. Source: Vasu 2024, MobileCLIP, section 4 (reinforced data sets).

Public names: Squares, Decoded, decode, ViewSet, draw_views, recoloured, erased, normalised.
"""

import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..data.captions import mirrorable
from ..data.sample import Sample
from ..errors import BadRecord, CorruptImage
from ..images import open_image
from ..preprocess import Preprocess
from .batch_augment import WHOLE, blended, cut, draw_boxes
from .distil_recipe import Views
from .feeds import Report

CHUNK = 512
ERASED = (0.02, 0.1)  # share of a picture that is greyed


@dataclass(frozen=True)
class Squares:
    """Pictures on a device, the small ones apart so that they take no more room than they need.

    large: (a, 3, side, side), small: (b, 3, side, side) uint8. place: (n,) int64 on the device, a picture's row in
    `large`, or −1 − its row in `small`.
    """

    large: Tensor
    small: Tensor
    place: Tensor

    @property
    def device(self) -> torch.device:
        """Where the pictures lie."""
        return self.large.device

    def parts(self, pictures: Tensor, boxes: Tensor, size: int) -> Tensor:
        """Cut a box (k, 2, 3) out of each of (k,) pictures; returns (k, 3, size, size) float32 of 0–255."""
        if not len(self.small):
            return cut(self.large[pictures], boxes, size)
        place = self.place[pictures]
        found = torch.empty(len(place), 3, size, size, device=self.device)
        for rows, kept, of in (
            ((place >= 0).nonzero()[:, 0], self.large, place),
            ((place < 0).nonzero()[:, 0], self.small, -1 - place),
        ):
            if len(rows):
                found[rows] = cut(kept[of[rows]], boxes[rows], size)
        return found


@dataclass(frozen=True)
class Decoded:
    """Pictures on a device, their samples, a hash of each one's file."""

    samples: list[Sample]
    pixels: Squares
    digests: list[bytes]


def decode(
    samples: Sequence[Sample],
    preprocess: Preprocess,
    device: torch.device,
    *,
    small: int | None = None,
    on_skip: Callable[[str], None],
    report: Report,
) -> Decoded:
    """Bring pictures as `preprocess` squares them onto the device; why another is left out goes to `on_skip`.

    small: pictures none of whose sides is longer become squares of this side instead.
    """
    tiny = preprocess if small is None else replace(preprocess, size=small)

    def square(sample: Sample) -> tuple[np.ndarray, bytes] | str:
        try:
            data = sample.image.read()
            image = open_image(data, min_side=preprocess.size)
            pixels = np.asarray((tiny if small and max(image.size) <= small else preprocess).square(image))
        except (CorruptImage, BadRecord) as error:
            return f"{sample.key}: {error}"
        return pixels, hashlib.blake2b(data, digest_size=16).digest()

    large, little = (
        torch.empty(count, 3, settings.size, settings.size, dtype=torch.uint8, device=device)
        for settings, count in ((preprocess, len(samples)), (tiny, len(samples) if small else 0))
    )
    good: list[Sample] = []
    digests: list[bytes] = []
    places: list[int] = []
    filled = {preprocess.size: 0, tiny.size: 0}
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(samples), CHUNK):
            chunk = samples[start : start + CHUNK]
            squares: dict[int, list[np.ndarray]] = {size: [] for size in filled}
            for sample, found in zip(chunk, pool.map(square, chunk), strict=True):
                if isinstance(found, str):
                    on_skip(found)
                    continue
                side = len(found[0])
                row = filled[side] + len(squares[side])
                places.append(row if side == preprocess.size else -1 - row)
                squares[side].append(found[0])
                good.append(sample)
                digests.append(found[1])
            for side, part in squares.items():
                if part:
                    block = torch.from_numpy(np.stack(part)).to(device).permute(0, 3, 1, 2)
                    (large if side == preprocess.size else little)[filled[side] : filled[side] + len(part)] = block
                    filled[side] += len(part)
            report("decoding pictures", start + len(chunk), len(samples))
    kept = Squares(
        large[: filled[preprocess.size]],
        little[: filled[tiny.size] if tiny.size != preprocess.size else 0],
        torch.tensor(places, dtype=torch.int64, device=device),
    )
    return Decoded(good, kept, digests)


@dataclass(frozen=True)
class ViewSet:
    """All views, one row each, those of a picture next to each other.

    picture: (v,) int64, whose view it is; mirrored: (v,) bool; first, count: (n,) int64, a picture's rows. boxes:
    (v, 2, 3) float32, from places in the view to places in the picture, both from −1 to 1.
    """

    picture: np.ndarray
    mirrored: np.ndarray
    first: np.ndarray
    count: np.ndarray
    boxes: np.ndarray


def draw_views(samples: Sequence[Sample], views: Views, rng: np.random.Generator) -> ViewSet:
    """Draw each picture's views, the first one the whole picture; mirrored only where captions allow it.

    A picture of which every object is told has that view alone.
    """
    wanted = [views.captioned if sample.captions else views.others for sample in samples]
    count = np.array([1 if sample.exact else n for sample, n in zip(samples, wanted, strict=True)], np.int64)
    first = np.cumsum(count) - count
    picture = np.repeat(np.arange(len(samples)), count)
    whole = np.zeros(len(picture), bool)
    whole[first] = True
    may = np.array([mirrorable(sample) for sample in samples], bool)[picture]
    mirrored = (rng.random(len(picture)) < 0.5) & may & ~whole
    boxes = draw_boxes(mirrored, views.area, views.ratio, rng)
    boxes[first] = WHOLE
    return ViewSet(picture, mirrored, first, count, boxes)


def recoloured(pixels: Tensor, colour: float, generator: torch.Generator) -> Tensor:
    """Vary brightness, contrast and saturation of (k, 3, h, w) pixels of 0–255, each factor within 1 ± colour."""
    drawn = torch.rand(3, len(pixels), 1, 1, 1, generator=generator, device=pixels.device)
    return blended(pixels, 1 + colour * (2 * drawn - 1))


def erased(pixels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Grey a random rectangle in a share of (k, 3, h, w) pictures (Zhong 2020, with the mean as filling)."""
    count, _, height, width = pixels.shape
    device = pixels.device
    hit, area, shape, right, low = torch.rand(5, count, 1, 1, 1, generator=generator, device=device)
    area = ERASED[0] + area * (ERASED[1] - ERASED[0])
    shape = torch.exp((2 * shape - 1) * math.log(2))
    across, down = torch.sqrt(area * shape), torch.sqrt(area / shape)
    left, top = right * (1 - across), low * (1 - down)
    x = ((torch.arange(width, device=device) + 0.5) / width).view(1, 1, 1, -1)
    y = ((torch.arange(height, device=device) + 0.5) / height).view(1, 1, -1, 1)
    inside = (x > left) & (x < left + across) & (y > top) & (y < top + down) & (hit < share)
    return torch.where(inside, pixels.mean((2, 3), keepdim=True), pixels)


def normalised(pixels: Tensor, preprocess: Preprocess) -> Tensor:
    """Turn (k, 3, h, w) pixels of 0–255 into what a tower reads, channels last."""
    scale = _constant(tuple(1 / (255 * std) for std in preprocess.std), pixels.device)
    shift = _constant(
        tuple(-mean / std for mean, std in zip(preprocess.mean, preprocess.std, strict=True)), pixels.device
    )
    return torch.addcmul(shift, pixels, scale).contiguous(memory_format=torch.channels_last)


@functools.lru_cache(maxsize=16)
def _constant(values: tuple[float, float, float], device: torch.device) -> Tensor:
    """Return a value for each channel, (3, 1, 1); kept, as bringing one to a GPU makes it wait."""
    return torch.tensor(values, device=device).view(3, 1, 1)

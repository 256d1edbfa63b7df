"""Pictures kept decoded in a GPU's memory and changed there, so that no processor has to keep up with it.

Public names: Resident, ResidentFeed.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.captions import mirrorable
from ..data.sample import Sample
from ..data.seeded import generator
from ..errors import BadRecipe
from ..images import open_image
from ..models.towers.base import ImageTower
from ..preprocess import Preprocess
from .batch_augment import WHOLE, blended, cut, draw_boxes
from .feeds import Report, in_use

CHUNK = 512
AREA, RATIO, COLOUR = (0.5, 1.0), (3 / 4, 4 / 3), 0.2  # as data.augment.crop_augment draws them


class Resident:
    """A list of samples as (n, 3, side, side) uint8 on a device, squashed to squares.

    side: of what is kept, the preprocessing's size by default; what is given back always has the latter. mirrorable:
    (n,) bool, whose captions stay true of the mirrored picture when sides are swapped. exact: (n,) bool, which are
    never changed.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        preprocess: Preprocess,
        device: torch.device,
        report: Report,
        *,
        side: int | None = None,
    ) -> None:
        self.size, side = preprocess.size, side or preprocess.size
        preprocess = replace(preprocess, size=side)
        self.keys = [sample.key for sample in samples]
        self.mirrorable = np.array([mirrorable(sample) for sample in samples], bool)
        self.exact = np.array([sample.exact for sample in samples], bool)
        try:
            self.pixels = torch.empty(len(samples), 3, side, side, dtype=torch.uint8, device=device)
        except torch.OutOfMemoryError as error:
            need = len(samples) * 3 * side * side / 1e9
            raise BadRecipe(
                f"--device {device}: {len(samples)} pictures of {side} pixels need {need:.1f} GB there; "
                "set a smaller pictures.train_size, learn from fewer pictures, or leave --device out"
            ) from error
        self.mean, self.std = (
            torch.tensor(values, device=device).view(3, 1, 1) for values in (preprocess.mean, preprocess.std)
        )

        def square(sample: Sample) -> np.ndarray:
            return np.asarray(preprocess.square(open_image(sample.image.read(), min_side=side)))

        with ThreadPoolExecutor() as pool:
            for start in range(0, len(samples), CHUNK):
                squares = np.stack(list(pool.map(square, samples[start : start + CHUNK])))
                self.pixels[start : start + CHUNK] = torch.from_numpy(squares).to(device).permute(0, 3, 1, 2)
                report("decoding pictures", start + len(squares), len(samples))

    def plain(self, places: np.ndarray) -> Tensor:
        """Return pictures as they are, (k, 3, size, size) float32 normalised."""
        pixels = self.pixels[torch.from_numpy(places).to(self.pixels.device)].float()
        if self.pixels.shape[-1] != self.size:
            pixels = F.interpolate(pixels, (self.size, self.size), mode="bicubic", antialias=True).clamp(0, 255)
        return self._normalised(pixels)

    def changed(
        self, places: np.ndarray, rng: np.random.Generator, size: int | None = None
    ) -> tuple[Tensor, np.ndarray]:
        """Cut a random part of each, mirror half of those that may be, vary their colours, in `crop_augment`'s ranges.

        size: of what is returned, the preprocessing's by default. Returns (k, 3, size, size) float32 normalised, and
        (k,) bool: which were mirrored.
        """
        count, size = len(places), size or self.size
        exact = self.exact[places]
        mirrored = (rng.random(count) < 0.5) & self.mirrorable[places] & ~exact
        device = self.pixels.device
        pixels = self.pixels[torch.from_numpy(places).to(device)]
        boxes = draw_boxes(mirrored, AREA, RATIO, rng)
        factors = rng.uniform(1 - COLOUR, 1 + COLOUR, (3, count, 1, 1, 1)).astype(np.float32)
        boxes[exact], factors[:, exact] = WHOLE, 1
        pixels = cut(pixels, torch.from_numpy(boxes).to(device), size)
        return self._normalised(blended(pixels, torch.from_numpy(factors).to(device))), mirrored

    def _normalised(self, pixels: Tensor) -> Tensor:
        return (pixels / 255 - self.mean) / self.std


class ResidentFeed:
    """Gives a tower's `body` its batches from resident pictures, an own change of each in every epoch.

    augmented: whether pictures are changed at all. A stem runs on the fly, as in use. Stands in for `feeds.ImageFeed`.
    """

    kept: tuple[()] = ()  # nothing is kept on disk

    def __init__(self, resident: Resident, tower: ImageTower, *, augmented: bool, seed: int, bfloat16: bool) -> None:
        self.resident, self.tower, self.augmented, self.seed, self.bfloat16 = resident, tower, augmented, seed, bfloat16

    def epoch(self, batches: Sequence[np.ndarray], epoch: int) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Yield (what `body` reads, which are mirrored) for batches of sample numbers."""
        for batch in batches:
            if self.augmented:
                rng = generator(self.seed, epoch, self.resident.keys[batch[0]], "resident")
                pixels, mirrored = self.resident.changed(batch, rng)
            else:
                pixels, mirrored = self.resident.plain(batch), np.zeros(len(batch), bool)
            if self.tower.has_stem:
                with in_use(self.tower, self.bfloat16):
                    pixels = self.tower.stem(pixels)
            yield pixels, mirrored

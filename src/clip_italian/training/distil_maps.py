"""A teacher's maps, stage by stage, and how far a student's are from them.

Public names: Units, stage_errors, teacher_maps, teacher_end.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F

from ..models.towers.lite import STAGES, LiteTower
from ..models.towers.staged import StagedImageTower

ENDS = tuple(accumulate(stage[-1] for stage in STAGES))  # blocks of Lite2 up to the end of each stage
LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class Units:
    """Mean and deviation of each channel of the teacher's maps, (1, c, 1, 1) a map.

    A student's maps are the teacher's in these units, mean 0 and variance 1: as they stand, some channels are a hundred
    times larger than others, and those that start at 1 would take most of a run to get there.
    """

    mean: list[Tensor]
    deviation: list[Tensor]

    @classmethod
    def of(cls, batches: Iterable[list[Tensor]]) -> "Units":
        """Measure the maps of some batches."""
        sums: list[list[Tensor]] = []
        count = 0
        for maps in batches:
            parts = [torch.stack([m.float().mean((0, 2, 3)), m.float().square().mean((0, 2, 3))]) for m in maps]
            sums = [[old + new] for (old,), new in zip(sums, parts, strict=True)] if sums else [[new] for new in parts]
            count += 1
        moments = [one / count for (one,) in sums]
        mean = [moment[0].view(1, -1, 1, 1) for moment in moments]
        variance = [(moment[1] - moment[0].square()).clamp_min(LEAST_VARIANCE).view(1, -1, 1, 1) for moment in moments]
        return cls(mean, [value.sqrt() for value in variance])

    def scaled(self, number: int, maps: Tensor) -> Tensor:
        """Bring the teacher's map `number` into units."""
        return (maps.float() - self.mean[number]) / self.deviation[number]

    def restored(self, number: int, maps: Tensor) -> Tensor:
        """Bring a map in units back to the teacher's own."""
        return maps.float() * self.deviation[number] + self.mean[number]


def stage_errors(tower: StagedImageTower, teacher: LiteTower, pixels: Tensor, units: Units, *, joined: bool) -> Tensor:
    """Return the mean square error of every stage's map in units, (8,); 1 is what the mean of each channel would reach.

    The last one is that of what the teacher's last convolution makes of the last map. joined: whether stages read the
    student's own maps instead of the teacher's.
    """
    with torch.no_grad():
        wanted = [units.scaled(number, one) for number, one in enumerate(teacher_maps(teacher, pixels))]
    errors, made = [], pixels.contiguous(memory_format=torch.channels_last)
    for number, stage in enumerate(tower.stages):
        made = stage(made if joined or number == 0 else wanted[number - 1])
        errors.append(F.mse_loss(made.float(), wanted[number]))
    # The teacher's end weighs the last map's channels as its vectors and classes do.
    end = teacher_end(teacher, units.restored(len(ENDS) - 1, made))
    errors.append(F.mse_loss(units.scaled(len(ENDS), end), wanted[-1]))
    return torch.stack(errors)


def teacher_maps(tower: LiteTower, pixels: Tensor) -> list[Tensor]:
    """Return the map behind each stage, and the one behind the last convolution. pixels: (n, 3, h, w), normalised."""
    maps, hidden, begin = [], tower.leading(pixels, 0), 0
    for end in ENDS:
        for block in tower.blocks[begin:end]:
            hidden = block(hidden)
        maps.append(hidden)
        begin = end
    return [*maps, teacher_end(tower, hidden)]


def teacher_end(tower: LiteTower, hidden: Tensor) -> Tensor:
    """Run the teacher's last convolution. hidden: (n, c, h, w)."""
    assert tower.last is not None
    return F.relu6(tower.last(hidden))

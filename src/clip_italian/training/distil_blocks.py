"""The image tower's first lessons: every stage learns the teacher's own map, all of them at once.

A picture says far more in the thousands of places of the teacher's maps than in one vector, so that a tower from random
weights needs far fewer pictures. At first each stage reads the teacher's map before it; later what the student's own
stages make, so that they learn to work together. Source: Li 2020, DNA (blockwise supervision); Romero 2015, FitNets.

Public names: learn_blocks, BLOCKS.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.seeded import generator
from ..errors import BadRecipe
from ..files import sha256_parts
from ..models.towers.base import ImageTower
from ..models.towers.lite import LiteTower
from ..models.towers.staged import StagedImageTower
from ..preprocess import Preprocess
from .batch_augment import draw_boxes
from .distil_maps import Units, stage_errors, teacher_maps
from .distil_part import PartRun
from .distil_recipe import Blockwise, DistilRecipe
from .distil_views import Decoded, normalised
from .feeds import samples_hash
from .trainer import Reporter

BLOCKS = "blocks"
MEASURED = 8  # batches from which the channels' units are measured


def learn_blocks(
    tower: ImageTower,
    teacher: ImageTower,
    pictures: Decoded,
    preprocess: Preprocess,
    recipe: DistilRecipe,
    out: Path,
    *,
    resume: bool,
    reporter: Reporter,
) -> None:
    """Let the stages of `tower` learn, and leave its weights in `out` / blocks.safetensors, too.

    Stopped, it keeps its state in `out` and raises KeyboardInterrupt. Raises BadRecipe when one of the two towers has
    no such stages.
    """
    assert recipe.blockwise is not None
    if not isinstance(tower, StagedImageTower):
        raise BadRecipe('[blockwise]: only image_tower.type = "staged-image" has stages that learn by themselves')
    if not isinstance(teacher, LiteTower) or teacher.last is None:
        raise BadRecipe("[blockwise]: stages learn from the whole tower efficientnet-lite2; the teacher has another")
    device = pictures.pixels.device
    teacher.eval().requires_grad_(False).to(device)
    tower.to(device).last.requires_grad_(False)  # no stage: the teacher's own may be of another width
    lesson = Lesson(teacher, pictures, preprocess, recipe, recipe.blockwise)
    identity, notes = lesson.identity(tower), {"image_tower": tower.spec}
    run = PartRun(BLOCKS, tower, recipe.blockwise, out, identity=identity, notes=notes, reporter=reporter)
    units = lesson.units()

    def errors(step: int) -> Tensor:
        pixels, joined = lesson.pixels(step, lesson.size(step)), lesson.joined(step)
        with lesson.autocast(device):
            return stage_errors(tower, teacher, pixels, units, joined=joined)

    run.run(resume, errors, lambda means: {"relative_errors": [round(mean, 4) for mean in means]})
    tower.last.requires_grad_(True)


@dataclass(frozen=True)
class Lesson:
    """What stages learn from. preprocess: how the student reads pictures, and here the teacher, too."""

    teacher: LiteTower
    pictures: Decoded
    preprocess: Preprocess
    recipe: DistilRecipe
    settings: Blockwise

    def identity(self, tower: StagedImageTower) -> str:
        """Return what a stored state belongs to."""
        recipe = self.recipe
        parts = [recipe.pictures, recipe.views, self.settings]
        marks = [str(tower.spec), str(recipe.seed), str(recipe.captioned), *(part.model_dump_json() for part in parts)]
        weights = (
            tensor.detach().cpu().contiguous().numpy().tobytes() for tensor in self.teacher.state_dict().values()
        )
        return sha256_parts(
            [*(mark.encode() for mark in marks), samples_hash(self.pictures.samples).encode(), *weights]
        )

    def autocast(self, device: torch.device) -> torch.autocast:
        """Return the block in which both towers run."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16")

    def joined(self, step: int) -> bool:
        """Tell whether stages read the student's own maps in a step."""
        return step >= self.settings.steps * (1 - self.settings.joined)

    def size(self, step: int) -> int:
        """Return the side that pictures have in a step."""
        sizes = self.settings.sizes or [self.preprocess.size]
        return sizes[min(step * len(sizes) // self.settings.steps, len(sizes) - 1)]

    def pixels(self, step: int, size: int) -> Tensor:
        """Draw a step's pictures, (batch, 3, size, size) normalised: parts of them, mirrored or not."""
        settings, views = self.settings, self.recipe.views
        rng = generator(self.recipe.seed, step, self.recipe.name, "blocks")
        device = self.pictures.pixels.device
        chosen = torch.from_numpy(self._chosen(settings.batch, rng)).to(device)
        boxes = draw_boxes(rng.random(settings.batch) < 0.5, views.area, views.ratio, rng)
        parts = self.pictures.pixels.parts(chosen, torch.from_numpy(boxes).to(device), size)
        return normalised(parts, self.preprocess)

    @torch.no_grad()
    def units(self) -> Units:
        """Measure the teacher's channels on the first batches: the same ones when a run goes on."""
        found = []
        for step in range(MEASURED):
            pixels = self.pixels(step, self.preprocess.size)
            with self.autocast(pixels.device):
                found.append(teacher_maps(self.teacher, pixels))
        return Units.of(found)

    def _chosen(self, count: int, rng: np.random.Generator) -> np.ndarray:
        has = np.array([bool(sample.captions) for sample in self.pictures.samples])
        sides = [np.flatnonzero(has), np.flatnonzero(~has)]
        first = round(count * self.recipe.captioned) if all(map(len, sides)) else count * (len(sides[0]) > 0)
        numbers = [(sides[0], first), (sides[1], count - first)]
        return np.concatenate([rng.choice(side, number) for side, number in numbers if number])

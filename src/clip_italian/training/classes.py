"""What an image tower's own classifier knows of 1,000 kinds of things, told in Italian names beside captions.

Captions teach sentences; single words come from the classifier. Every picture is told by the classes it may show, as
sure as the untouched tower is of them, and rows of the classifier stand in for pictures of classes that no photo shows.

Public names: ClassKnowledge, Labelled.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..data.class_names import ClassName, imagenet
from ..data.sample import Sample
from ..errors import BadRecipe, BadRecord
from ..models.dual import DualEncoder
from ..models.towers.base import FrozenImage, ImageTower, TowerOutput
from .losses import contrastive, logits
from .recipe import Classes

MIXED_STRENGTH = (0.3, 0.9)  # how much of a place's reading a class's row takes the place of
MIXED_SIDES = (0.5, 1.0)  # share of a map's sides that it covers
LABEL_SHARE = 0.5  # of a labelled picture's target; the rest is what the classifier sees, which knows what is alike


@dataclass(frozen=True)
class Labelled:
    """Pictures of known classes; classes: (n,) their numbers in `imagenet()`'s order."""

    samples: Sequence[Sample]
    classes: np.ndarray

    @classmethod
    def of(cls, samples: Sequence[Sample], wnids: Sequence[str]) -> "Labelled":
        """Take samples whose `label` counts through `wnids`. Raises BadRecord for one that has no known class."""
        numbers = {name.wnid: number for number, name in enumerate(imagenet())}
        if strange := [wnid for wnid in wnids if wnid not in numbers]:
            raise BadRecord(f"class {strange[0]} is none of ImageNet's 1,000; its Italian name is not known")
        for sample in samples:
            if sample.label is None or not 0 <= sample.label < len(wnids):
                raise BadRecord(f"{sample.key}: has class {sample.label}, but {len(wnids)} classes are listed")
        known = [numbers[wnids[sample.label]] for sample in samples if sample.label is not None]
        return cls(samples, np.array(known))

    def only(self, samples: Sequence[Sample]) -> "Labelled":
        """Keep these of its samples, in their order."""
        known = {sample.key: number for sample, number in zip(self.samples, self.classes, strict=True)}
        return Labelled(samples, np.array([known[sample.key] for sample in samples], np.int64))


class ClassKnowledge:
    """Adds to a stage's loss what the untouched classifier knows.

    part: what runs in each step. Raises BadRecipe when the tower has no classifier or when only a changed tower's
    reading is at hand.
    """

    def __init__(self, settings: Classes, part: ImageTower, device: torch.device) -> None:
        tower = part.tower if isinstance(part, FrozenImage) else part
        if tower.spec["type"] != "efficientnet-lite2" or tower.spec.get("end"):
            raise BadRecipe("classes: only the whole tower efficientnet-lite2 brings a classifier")
        from ..models.towers.lite import HeldBlocks, LiteTower, classifier

        self.settings, self.device = settings, device
        self.frozen = isinstance(part, FrozenImage)
        untouched = LiteTower(cut=tower.spec["cut"]).load_pretrained().eval().requires_grad_(False).to(device)
        self.teacher: ImageTower = untouched
        if isinstance(part, HeldBlocks):
            self.teacher = HeldBlocks(untouched, part.count)  # reads on from what the held blocks made
        weight, bias = classifier()
        self.weight, self.bias = weight.to(device), bias.to(device)
        rows = (weight - weight.mean(0)).clamp(min=0)  # close to the mean reading of a class's pictures: cosine 0.6
        self.prototypes = F.normalize(rows, dim=1).to(device)
        if self.frozen and not self._is_untouched(tower):
            raise BadRecipe(
                "classes: the image tower neither learns in this stage nor is it the untouched one, so that nothing is "
                "left of what its classifier reads; let image_tower learn, if only at a rate of 1e-9"
            )
        self.names: tuple[ClassName, ...] = imagenet()

    def _is_untouched(self, tower: ImageTower) -> bool:
        mine, theirs = self.teacher.state_dict(), tower.state_dict()
        return all(torch.equal(mine[name], theirs[name]) for name in mine)

    def texts(self) -> set[str]:
        """Return every text that `__call__` may ask for."""
        return set().union(*(name.texts() for name in self.names))

    def __call__(
        self,
        model: DualEncoder,
        hidden: Tensor,
        output: TowerOutput,
        image: Tensor,
        labels: np.ndarray,
        read: Callable[[Sequence[str]], Tensor],
        rng: np.random.Generator,
    ) -> Tensor:
        """Return the weighted loss of a batch.

        hidden: what the tower's body read; output: what it made of it; image: (n, dim) unit rows; labels: (n,) class
        numbers, −1 where not known; read: texts to (k, dim) unit rows.
        """
        seen = self._untouched(hidden, output)
        pooled = seen.pooled.float()
        target = self._target(pooled, labels)
        chosen = self._likeliest(target)
        names = read([self.names[number].text(rng) for number in chosen])
        loss = self.settings.weight * self._told(model, image, target, chosen, names)
        if self.settings.prototypes:
            rows = self.prototypes[chosen] * pooled.norm(dim=1).mean()
            made = model.project_image(TowerOutput(rows[:, None], rows, grid=(1, 1)))
            loss = loss + self.settings.prototypes * contrastive(made, names, model.scale)
        if self.settings.mixed:
            photos = torch.from_numpy(np.flatnonzero(labels < 0)).to(self.device)
            mine, theirs = self._mixed(_some(output, photos), _some(seen, photos), rng)
            target = self._target(theirs.pooled.float(), np.full(len(photos), -1))
            loss = loss + self.settings.mixed * self._told(model, model.project_image(mine), target, chosen, names)
        if self.settings.keep and not self.frozen:
            loss = loss + self.settings.keep * (1 - F.cosine_similarity(output.pooled.float(), pooled).mean())
        return loss

    def _told(self, model: DualEncoder, image: Tensor, target: Tensor, chosen: list[int], names: Tensor) -> Tensor:
        """Return how far pictures are from telling the chosen classes as `target`, (n, 1000), does."""
        target = target[:, chosen] / target[:, chosen].sum(1, keepdim=True).clamp(min=1e-6)
        return _soft_cross_entropy(logits(image, names, model.scale), target)

    def _mixed(
        self, output: TowerOutput, seen: TowerOutput, rng: np.random.Generator
    ) -> tuple[TowerOutput, TowerOutput]:
        """Put a drawn class's row into a part of each picture's map; returns the tower's map and the untouched one's.

        Photos show few of the classes; in such maps every class comes as often, among what photos have beside it.
        """
        count, places = output.tokens.shape[:2]
        drawn = torch.from_numpy(rng.integers(0, len(self.names), count)).to(self.device)
        strength = rng.uniform(*MIXED_STRENGTH, (count, 1)) * _boxes(count, places, output.grid, rng)
        share = torch.from_numpy(strength).to(self.device, output.tokens.dtype)[..., None]
        rows = self.prototypes[drawn][:, None]
        maps = []
        for tokens, grid in ((output.tokens.detach(), output.grid), (seen.tokens, seen.grid)):
            mixed = (1 - share) * tokens + share * rows * tokens.norm(dim=2).mean()
            maps.append(TowerOutput(mixed, mixed.mean(1), grid=grid))
        return maps[0], maps[1]

    @torch.no_grad()
    def _untouched(self, hidden: Tensor, output: TowerOutput) -> TowerOutput:
        """Return what the untouched tower reads; where nothing of the tower learns, it is `output`."""
        if self.frozen:
            return TowerOutput(output.tokens.detach(), output.pooled.detach(), grid=output.grid)
        return self.teacher.body(hidden)

    def _likeliest(self, target: Tensor) -> list[int]:
        if self.settings.names >= len(self.names):
            return list(range(len(self.names)))
        return sorted(target.sum(0).topk(self.settings.names).indices.tolist())

    def _target(self, pooled: Tensor, labels: np.ndarray) -> Tensor:
        """Return (n, 1000): how likely each class is, rows of sum 1."""
        with torch.autocast(self.device.type, enabled=False):
            seen = F.linear(pooled, self.weight, self.bias).softmax(1)
        known = np.flatnonzero(labels >= 0)
        if len(known):
            rows = torch.from_numpy(known).to(self.device)
            right = F.one_hot(torch.from_numpy(labels[known]).to(self.device), len(self.names))
            seen[rows] = (1 - LABEL_SHARE) * seen[rows] + LABEL_SHARE * right
        return seen


def _some(output: TowerOutput, rows: Tensor) -> TowerOutput:
    return TowerOutput(output.tokens[rows], output.pooled[rows], grid=output.grid)


def _boxes(count: int, places: int, grid: tuple[int, int] | None, rng: np.random.Generator) -> np.ndarray:
    """Draw a box of places for each of `count` maps; (count, places) of 0 and 1, all 1 where places form no map."""
    if grid is None:
        return np.ones((count, places))
    inside = []
    for side in grid:
        length = np.ceil(rng.uniform(*MIXED_SIDES, (count, 1)) * side)
        start = np.floor(rng.uniform(0, 1, (count, 1)) * (side - length + 1))
        inside.append((np.arange(side) >= start) & (np.arange(side) < start + length))
    down, across = inside
    return (down[:, :, None] & across[:, None, :]).reshape(count, places).astype(float)


def _soft_cross_entropy(scores: Tensor, target: Tensor) -> Tensor:
    return -(target * F.log_softmax(scores, dim=1)).sum(1).mean()

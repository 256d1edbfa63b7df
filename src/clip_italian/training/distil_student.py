"""The student and one step of it: batches drawn an epoch ahead, losses, optimiser, average, settled batch norms.

Public names: Lessons, EpochPlan, Student, LOSSES.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..data.seeded import generator
from ..errors import BadRecipe
from ..models.checkpoint import Checkpoint
from . import distil_losses
from .distil_recipe import DistilRecipe
from .distil_teacher import Taught
from .distil_texts import Pieces, TextPool, padded
from .distil_views import Squares, ViewSet, erased, normalised, recoloured
from .losses import contrastive
from .optimizers import align_gradients
from .recipe import Part
from .schedules import warmup_cosine
from .state import Average

LOSSES = ("image", "text", "rows", "contrastive", "classes")


@dataclass(frozen=True)
class Lessons:
    """All that a student learns from, on one device.

    captioned, others: numbers of pictures with captions, and not. labels: (n,) int64 on the device, a picture's class
    among the prototypes, −1 where it is not known; None when none is.
    """

    pixels: Squares
    views: ViewSet
    pool: TextPool
    pieces: Pieces
    taught: Taught
    captioned: np.ndarray
    others: np.ndarray
    labels: Tensor | None = None


@dataclass(frozen=True)
class EpochPlan:
    """What an epoch's steps read, on the device: views (steps, batch), texts (steps, texts); widths: pieces a step."""

    views: Tensor
    texts: Tensor
    widths: list[int]

    def __len__(self) -> int:
        return len(self.widths)


class Student:
    """Learns a step at a time; the order of steps and what is stored when are the run's.

    learning: the parameters of each part, as `setup.learnable` gives them. Raises BadRecipe when the captioned pictures
    do not fill a batch.
    """

    def __init__(
        self,
        recipe: DistilRecipe,
        checkpoint: Checkpoint,
        lessons: Lessons,
        learning: Mapping[Part, list[nn.Parameter]],
    ) -> None:
        self.recipe, self.checkpoint, self.lessons = recipe, checkpoint, lessons
        self.model, self.device = checkpoint.model, lessons.pixels.device
        self.captioned = round(recipe.batch * recipe.captioned) if len(lessons.others) else recipe.batch
        self.per_epoch = len(lessons.captioned) // max(1, self.captioned)
        if not self.per_epoch or not self.captioned:
            raise BadRecipe(
                f"batch: {self.captioned} captioned pictures in a step, but there are {len(lessons.captioned)}; "
                "make batch or captioned smaller"
            )
        self.optimizer = self._optimizer(learning)
        self.average = Average([p for part in learning.values() for p in part], recipe.average)
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.norms = [module for module in self.model.modules() if isinstance(module, _BatchNorm)]
        self.picture, self.boxes = (
            torch.from_numpy(values).to(self.device) for values in (lessons.views.picture, lessons.views.boxes)
        )
        self.owner = torch.arange(self.captioned, device=self.device).repeat_interleave(recipe.texts.per_photo)
        self.chance = torch.Generator(self.device)

    def plan(self, epoch: int) -> EpochPlan:
        """Draw an epoch: every captioned picture once, others beside them, texts of the first and any."""
        recipe, lessons, steps = self.recipe, self.lessons, self.per_epoch
        rng = generator(recipe.seed, epoch, recipe.name, "distillation")
        pictures = rng.permutation(lessons.captioned)[: steps * self.captioned].reshape(steps, -1)
        if beside := recipe.batch - self.captioned:
            rounds = -(-steps * beside // len(lessons.others))
            others = np.concatenate([rng.permutation(lessons.others) for _ in range(rounds)])
            pictures = np.concatenate([pictures, others[: steps * beside].reshape(steps, beside)], 1)
        first, count = lessons.views.first[pictures], lessons.views.count[pictures]
        views = first + (rng.random(pictures.shape) * count).astype(np.int64)
        texts = np.stack([self._texts(row, rng) for row in views])
        widths = [padded(lessons.pieces, row) for row in texts]
        return EpochPlan(torch.from_numpy(views).to(self.device), torch.from_numpy(texts).to(self.device), widths)

    def step(self, plan: EpochPlan, epoch: int, place: int, done: int, total: int) -> Tensor:
        """Learn from one batch; returns the parts of the loss, unweighted, as LOSSES names them, on the device.

        done, total: steps of the run already made and of all of it.
        """
        factor = warmup_cosine(done + 1, total + 1, min(self.recipe.warmup, total // 5))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        views, texts = plan.views[place], plan.texts[place]
        image, text = self._forward(plan, epoch, place)
        parts = self._losses(image, text, views, texts)
        loss = sum(
            (getattr(self.recipe.loss, name) * part for name, part in parts.items()), torch.zeros_like(image[0, 0])
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        align_gradients(self.parameters)
        if self.recipe.clipping:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clipping)
        self.optimizer.step()
        self.average.update()
        return torch.stack([parts[name].detach() if name in parts else image.new_zeros(()) for name in LOSSES])

    @contextlib.contextmanager
    def settled(self, plan: EpochPlan, epoch: int) -> Iterator[None]:
        """Put the average in place, with batch norms measured anew for it, and everything back when the block ends."""
        before = [{name: value.clone() for name, value in norm.named_buffers()} for norm in self.norms]
        with self.average.in_place():
            try:
                self._measure_norms(plan, epoch)
                self.model.eval()
                yield
            finally:
                for norm, buffers in zip(self.norms, before, strict=True):
                    for name, value in norm.named_buffers():
                        value.copy_(buffers[name])
                self.model.train()

    def stored(self) -> dict[str, Any]:
        """Return what `restore` reads, beside the model's weights."""
        return {"optimizer": self.optimizer.state_dict(), "average": self.average.state()}

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Go on from what `stored` gave."""
        self.optimizer.load_state_dict(stored["optimizer"])
        self.average.restore(stored["average"])

    def _texts(self, views: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        settings, pool, lessons = self.recipe.texts, self.lessons.pool, self.lessons
        captioned = views[: self.captioned]
        own = pool.draw_own(
            lessons.views.picture[captioned], lessons.views.mirrored[captioned], settings.per_photo, rng
        ).ravel()
        return np.concatenate([own, pool.draw_others(settings.batch - len(own), settings.shares, rng)])

    def _forward(self, plan: EpochPlan, epoch: int, place: int) -> tuple[Tensor, Tensor]:
        """Return the student's vectors of a step's pictures and texts, (batch, dim) and (texts, dim)."""
        recipe, lessons, views = self.recipe, self.lessons, plan.views[place]
        self.chance.manual_seed((recipe.seed * 1_000_003 + epoch) * 1_000_003 + place)
        with torch.no_grad():
            pixels = lessons.pixels.parts(self.picture[views], self.boxes[views], recipe.pictures.size)
            if recipe.views.colour:
                pixels = recoloured(pixels, recipe.views.colour, self.chance)
            if recipe.views.erase:
                pixels = erased(pixels, recipe.views.erase, self.chance)
            pixels = normalised(pixels, self.checkpoint.preprocess)
            ids, mask = lessons.pieces.batch(plan.texts[place], plan.widths[place])
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            return self.model.encode_images(pixels), self.model.encode_texts(ids, mask)

    def _losses(self, image: Tensor, text: Tensor, views: Tensor, texts: Tensor) -> dict[str, Tensor]:
        weights, taught = self.recipe.loss, self.lessons.taught
        wanted_image, wanted_text = taught.image[views].float(), taught.text[texts].float()
        parts = {
            "image": distil_losses.away(image, wanted_image),
            "text": distil_losses.away(text, wanted_text),
        }
        if weights.rows:
            parts["rows"] = distil_losses.rows(image, text, wanted_image, wanted_text, weights.rows_scale)
        if weights.contrastive:
            parts["contrastive"] = self._contrastive(image, text, texts)
        if weights.classes and taught.prototypes is not None and taught.places is not None:
            assert taught.chances is not None
            prototypes, chances = taught.prototypes.float(), taught.chances[views].float()
            places = taught.places[views].long()
            if self.lessons.labels is not None:
                labels = self.lessons.labels[self.picture[views]]
                places, chances = distil_losses.told(places, chances, labels, weights.labels)
            parts["classes"] = distil_losses.classes(image, prototypes, places, chances, weights.classes_scale)
        return parts

    def _contrastive(self, image: Tensor, text: Tensor, texts: Tensor) -> Tensor:
        """Tell the captioned pictures' own texts from the other pictures'; a text drawn twice belongs to both."""
        own, drawn = len(self.owner), texts[: len(self.owner)]
        mine = self.owner == torch.arange(self.captioned, device=self.device)[:, None]
        same = (drawn[:, None] == drawn).float()
        return contrastive(image[: self.captioned], text[:own], self.model.scale, positives=(mine.float() @ same) > 0)

    @torch.no_grad()
    def _measure_norms(self, plan: EpochPlan, epoch: int) -> None:
        """Let batch norms take the plain mean of the statistics of a few batches."""
        momentum = [norm.momentum for norm in self.norms]
        self.model.train()
        for norm in self.norms:
            norm.reset_running_stats()
            norm.momentum = None  # a plain mean over all batches since the reset
        for place in range(min(self.recipe.settle, len(plan))):
            self._forward(plan, epoch, place)
        for norm, value in zip(self.norms, momentum, strict=True):
            norm.momentum = value

    def _optimizer(self, learning: Mapping[Part, list[nn.Parameter]]) -> torch.optim.Optimizer:
        groups = []
        for part, parameters in learning.items():
            lr = self.recipe.learn[part]
            for decay, members in (
                (self.recipe.weight_decay, [parameter for parameter in parameters if parameter.ndim > 1]),
                (0.0, [parameter for parameter in parameters if parameter.ndim <= 1]),
            ):
                if members:
                    groups.append({"params": members, "lr": lr, "peak": lr, "weight_decay": decay})
        return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=self.device.type == "cuda" or None)

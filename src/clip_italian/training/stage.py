"""How one stage learns: its parts, what they read, its optimiser, one step, one validation.

Public names: Inputs, StageTraining, check_labelled, check_learning.
"""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..data.sample import Sample
from ..data.seeded import generator
from ..errors import BadRecipe
from ..models.checkpoint import Checkpoint
from ..models.dual import DualEncoder
from ..models.towers.base import FrozenImage, FrozenText, ImageTower, TextTower, TowerOutput
from ..preprocess import Preprocess
from .classes import ClassKnowledge, Labelled
from .feeds import ImageFeed, Report, TextFeed, Views, check_window, device_of
from .intake import learned_from
from .losses import contrastive, positive_pairs, sigmoid
from .optimizers import build_optimizer, unit_axes
from .recipe import Recipe, Stage
from .resident import Resident, ResidentFeed
from .schedules import SCHEDULES
from .setup import hold, learnable
from .state import Average
from .texts import draw_texts, possible_texts
from .validation import Validator, ValidSet, read_texts

LABELLED_SIDE = 96  # pixels kept of labelled pictures


@dataclass(frozen=True)
class Inputs:
    """What a stage works with. cache: the folder of kept features; report: hears of their making.

    labelled: pictures of known classes, for recipes with `classes`. residents: the pictures that lie decoded on a GPU,
    by the list of samples they belong to.
    """

    recipe: Recipe
    checkpoint: Checkpoint
    samples: Sequence[Sample]
    valid: Sequence[ValidSet]
    cache: Path
    report: Report
    labelled: Labelled | None = None
    residents: dict[int, Resident] = field(default_factory=dict)

    @property
    def bfloat16(self) -> bool:
        """Whether products are taken in bfloat16."""
        return self.recipe.precision == "bfloat16"


class StageTraining:
    """Trains the parts of one stage, a step at a time; the order of steps and what is stored when are the trainer's.

    number: of the stage, from 0. bias: the sigmoid loss's, which all stages share.
    """

    def __init__(self, inputs: Inputs, number: int, bias: nn.Parameter) -> None:
        self.stage, self.model = inputs.recipe.stages[number], inputs.checkpoint.model
        self.inputs, self.number, self.bias = inputs, number, bias
        self.device = device_of(self.model)
        self.parts = learnable(self.model, self.stage)
        self.image_part, self.text_part = _parts(self.model, self.stage)
        shown = Views(self.stage.augment, self.stage.views, inputs.recipe.seed, self.stage.window)
        self.images = self._image_feed(inputs.samples, shown, self._train_preprocess())
        self.classes = self._class_knowledge()
        self.labelled = self._labelled_feed(shown) if self.stage.labelled else None
        self.texts = self._text_feed()
        self.validators = [
            Validator(
                data,
                self._image_feed(data.samples, Views(), inputs.checkpoint.preprocess),
                self.texts,
                self.image_part,
                self.text_part,
            )
            for data in inputs.valid
        ]
        self.optimizer = self._optimizer()
        learning = [parameter for part in self.parts.values() for parameter in part]
        self.average = Average(learning, self.stage.average) if self.stage.average else None
        self.chosen = learned_from(inputs.samples, self.stage)
        self.per_epoch = len(self.chosen) // self.stage.batch
        self.steps = self.per_epoch * self.stage.epochs

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return the epoch's batches of sample numbers; what does not fill a last one is left out, each time others."""
        rng = np.random.default_rng([self.inputs.recipe.seed, self.number, epoch])
        order = rng.permutation(self.chosen)[: self.per_epoch * self.stage.batch]
        return list(order.reshape(self.per_epoch, self.stage.batch))

    def step(self, epoch: int, done: int, batch: np.ndarray, hidden: Tensor, mirrored: np.ndarray) -> float:
        """Learn from one batch; returns the loss before. done: the epoch's steps already made.

        hidden, mirrored: what `images` gave for the batch. Raises BadRecipe when the loss is no longer a number.
        """
        warmup = round(self.stage.warmup * self.steps)
        factor = SCHEDULES[self.stage.schedule](epoch * self.per_epoch + done, self.steps, warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor
        loss = self._loss(epoch, batch, hidden, mirrored)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise BadRecipe(
                f"stage {self.stage.name!r}, epoch {epoch + 1}, step {done + 1}: the loss became {value}; "
                "lower its learning rates"
            )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        if self.average:
            self.average.update()
        return value

    def validate(self) -> dict[str, dict[str, float]]:
        """Return the figures of every validation set, by name."""
        return {check.data.name: check(self.model, bfloat16=self.inputs.bfloat16) for check in self.validators}

    def averaged(self) -> contextlib.AbstractContextManager[None]:
        """Put the weights' average in their place for a while, where the stage has one."""
        return self.average.in_place() if self.average else contextlib.nullcontext()

    def stored(self) -> dict[str, Any]:
        """Return what `restore` reads, beside the model's weights."""
        average = {"average": self.average.state()} if self.average else {}
        return {"optimizer": self.optimizer.state_dict(), "bias": self.bias.detach(), **average}

    def restore(self, stored: Mapping[str, Any]) -> None:
        """Go on from what `stored` gave within this stage."""
        self.optimizer.load_state_dict(stored["optimizer"])
        if self.average:
            self.average.restore(stored["average"])

    def _loss(self, epoch: int, batch: np.ndarray, hidden: Tensor, mirrored: np.ndarray) -> Tensor:
        recipe, model = self.inputs.recipe, self.model
        samples = [self.inputs.samples[index] for index in batch]
        texts, owners = draw_texts(recipe.texts, samples, mirrored, seed=recipe.seed + self.number, epoch=epoch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.inputs.bfloat16):
            output = self.image_part.body(hidden)
            image = model.project_image(output)
            text = model.project_text(read_texts(self.text_part, self.texts, texts))
            known = self._class_loss(epoch, batch, hidden, output, image) if self.classes else 0.0
        positives = positive_pairs([sample.key for sample in samples], owners, captions=texts)
        loss = recipe.loss
        if loss.type == "sigmoid":
            return known + sigmoid(image, text, model.scale, self.bias, positives=positives)
        return known + contrastive(
            image, text, model.scale, positives=positives, smoothing=loss.smoothing, margin=loss.margin
        )

    def _class_loss(self, epoch: int, batch: np.ndarray, hidden: Tensor, output: TowerOutput, image: Tensor) -> Tensor:
        """Return what the classifier knows of the batch's pictures, and of labelled ones where there are any."""
        assert self.classes
        rng = generator(self.inputs.recipe.seed + self.number, epoch, self.inputs.samples[batch[0]].key, "classes")
        labels = np.full(len(batch), -1)
        if self.labelled:
            assert self.inputs.labelled
            drawn = rng.choice(len(self.inputs.labelled.samples), self.stage.labelled, replace=False)
            [(more, _)] = self.labelled.epoch([drawn], epoch)
            seen = self.image_part.body(more)
            hidden, labels = torch.cat([hidden, more]), np.concatenate([labels, self.inputs.labelled.classes[drawn]])
            tokens, pooled = torch.cat([output.tokens, seen.tokens]), torch.cat([output.pooled, seen.pooled])
            output = TowerOutput(tokens, pooled, grid=output.grid)
            image = torch.cat([image, self.model.project_image(seen)])
        return self.classes(self.model, hidden, output, image, labels, self._read, rng)

    def _read(self, texts: Sequence[str]) -> Tensor:
        return self.model.project_text(read_texts(self.text_part, self.texts, texts))

    def _train_preprocess(self) -> Preprocess:
        own = self.inputs.checkpoint.preprocess
        return replace(own, size=self.inputs.recipe.pictures.train_size or own.size)

    def _image_feed(self, samples: Sequence[Sample], views: Views, preprocess: Preprocess) -> ImageFeed | ResidentFeed:
        """Keep pictures on a GPU where there is one and they need nothing it cannot do; else read them as they come."""
        if self.device.type != "cpu" and self._fits_resident(views):
            resident = self._resident(samples, preprocess)
            augmented, bfloat16 = views.augment != "none", self.inputs.bfloat16
            return ResidentFeed(resident, self.image_part, augmented=augmented, seed=views.seed, bfloat16=bfloat16)
        return ImageFeed(
            samples,
            self.image_part,
            preprocess,
            views,
            folder=self.inputs.cache,
            workers=self.inputs.recipe.workers,
            bfloat16=self.inputs.bfloat16,
            report=self.inputs.report,
        )

    def _class_knowledge(self) -> ClassKnowledge | None:
        settings = self.inputs.recipe.classes
        return ClassKnowledge(settings, self.image_part, self.device) if settings else None

    def _labelled_feed(self, shown: Views) -> ImageFeed | ResidentFeed:
        """Keep labelled pictures in memory wherever the model is: they are many and may be small.

        Where views of the other pictures are kept, so is a view of these, the whole picture: they are many already.
        """
        assert self.inputs.labelled
        if self.image_part.has_stem and shown.kept:
            return self._image_feed(self.inputs.labelled.samples, Views(), self._train_preprocess())
        augmented = shown.augment != "none"
        resident = self._resident(self.inputs.labelled.samples, self._train_preprocess(), LABELLED_SIDE)
        seed, bfloat16 = self.inputs.recipe.seed, self.inputs.bfloat16
        return ResidentFeed(resident, self.image_part, augmented=augmented, seed=seed, bfloat16=bfloat16)

    def _fits_resident(self, views: Views) -> bool:
        squashed = self.inputs.checkpoint.preprocess.resize == "squash"
        return squashed and views.augment in ("none", "crop") and not views.kept and not views.window

    def _resident(self, samples: Sequence[Sample], preprocess: Preprocess, side: int | None = None) -> Resident:
        known = self.inputs.residents
        if id(samples) not in known:  # the lists live as long as the inputs
            known[id(samples)] = Resident(samples, preprocess, self.device, self.inputs.report, side=side)
        return known[id(samples)]

    def _text_feed(self) -> TextFeed:
        mirrored = self.stage.augment != "none" or self.stage.window is not None
        texts = possible_texts(self.inputs.recipe.texts, self.inputs.samples, mirrored=mirrored)
        texts |= {text for data in self.inputs.valid for text in data.texts}
        texts |= self.classes.texts() if self.classes else set()
        return TextFeed(
            list(texts),
            self.text_part,
            self.inputs.checkpoint.tokenizer,
            folder=self.inputs.cache,
            bfloat16=self.inputs.bfloat16,
            report=self.inputs.report,
        )

    def _optimizer(self) -> torch.optim.Optimizer:
        stage, groups = self.stage, []
        for part, parameters in self.parts.items():
            lr = stage.learn[part]
            # Biases, norms and the scale are not drawn towards zero, which for them is nothing simpler.
            for decay, members in (
                (stage.weight_decay, [parameter for parameter in parameters if parameter.ndim > 1]),
                (0.0, [parameter for parameter in parameters if parameter.ndim <= 1]),
            ):
                if members:
                    groups.append({"params": members, "lr": lr, "peak": lr, "weight_decay": decay})
        if self.inputs.recipe.loss.type == "sigmoid":
            lr = stage.learn.get("scale", max(stage.learn.values()))
            groups.append({"params": [self.bias], "lr": lr, "peak": lr, "weight_decay": 0.0})
        return build_optimizer(stage.optimizer, groups, clipping=stage.clipping, axes=unit_axes(self.model))


def check_labelled(recipe: Recipe, labelled: Labelled | None) -> None:
    """Raise BadRecipe when stages ask for labelled pictures that are not given, or none asks for those that are."""
    wanting = [stage for stage in recipe.stages if stage.labelled]
    if labelled and not wanting:
        raise BadRecipe("--labelled: no stage of this recipe learns from labelled pictures; set stages.0.labelled=128")
    for stage in wanting:
        if not labelled or not recipe.classes:
            raise BadRecipe(f"stage {stage.name!r}: labelled needs pictures (--labelled, --wnids) and [classes]")
        if stage.window:
            raise BadRecipe(
                f"stage {stage.name!r}: a step with a window has no room for labelled pictures; use one only"
            )
        if stage.labelled > (count := len(labelled.samples)):
            raise BadRecipe(
                f"stage {stage.name!r}: {stage.labelled} labelled pictures in a step, but there are {count}"
            )


def check_learning(model: DualEncoder, stage: Stage) -> None:
    """Raise BadRecipe when the stage cannot learn what and as it asks, long before its turn comes."""
    learnable(model, stage)
    check_window(_parts(model, stage)[0], Views(stage.augment, stage.views, window=stage.window))


def _parts(model: DualEncoder, stage: Stage) -> tuple[ImageTower, TextTower]:
    """Return what runs in each step: the towers, or, where one learns nothing, the whole of it as a stem."""
    image: ImageTower = model.image_tower
    text: TextTower = model.text_tower
    if stage.held:
        image = hold(model, stage.held)
    elif "image_tower" not in stage.learn:
        image = FrozenImage(image, bool(model.image_head.needs_tokens))
    if "text_tower" not in stage.learn:
        text = FrozenText(text, bool(model.text_head.needs_tokens))
    return image, text

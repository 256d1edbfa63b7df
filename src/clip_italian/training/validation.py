"""How good the model is now, on pictures it does not learn from.

Public names: ValidSet, Validator.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..data.sample import Sample
from ..errors import BadRecord
from ..evaluation.metrics import MRR_KS, mrr_at_k, ranks_from_vectors, recall_at_k
from ..models.dual import DualEncoder
from ..models.towers.base import ImageTower, TextTower, TowerOutput
from .feeds import ImageFeed, TextFeed
from .losses import contrastive
from .resident import ResidentFeed

LOSS_BATCH = 128  # the paper's batch, so that a loss means the same whatever the run's: ln 128 = 4.85 knows nothing


@dataclass(frozen=True)
class ValidSet:
    """A named set of pictures, each with its captions in the language that is measured."""

    name: str
    samples: Sequence[Sample]
    texts: Sequence[str]  # all captions
    owners: np.ndarray  # (texts,) which sample each caption belongs to

    @classmethod
    def of(cls, name: str, samples: Sequence[Sample], language: str) -> "ValidSet":
        """Gather the captions in `language`. Raises BadRecord when there is none."""
        pairs = [(text, owner) for owner, sample in enumerate(samples) for text in sample.texts(language)]
        if not pairs:
            raise BadRecord(f"{name}: no picture has a caption in {language!r} to validate with")
        return cls(name, samples, [text for text, _ in pairs], np.array([owner for _, owner in pairs]))


class Validator:
    """Scores one ValidSet with the parts that a stage trains."""

    def __init__(
        self,
        data: ValidSet,
        images: ImageFeed | ResidentFeed,
        texts: TextFeed,
        image_part: ImageTower,
        text_part: TextTower,
    ) -> None:
        self.data, self.images, self.texts = data, images, texts
        self.image_part, self.text_part = image_part, text_part

    @torch.inference_mode()
    def __call__(self, model: DualEncoder, *, bfloat16: bool) -> dict[str, float]:
        """Return loss, mrr@k and recall@k of text→image, ties pessimistic."""
        model.eval()
        with torch.autocast(model.log_scale.device.type, torch.bfloat16, enabled=bfloat16):
            image, text = self._image_vectors(model).cpu(), self._text_vectors(model)
        ranks = ranks_from_vectors(text.numpy(), image.numpy(), self.data.owners, np.arange(len(image)))
        figures = {"loss": self._loss(image, text, float(model.scale))}
        figures |= {f"mrr@{k}": mrr_at_k(ranks, k) for k in MRR_KS}
        return figures | {f"recall@{k}": recall_at_k(ranks, k) for k in (1, 5, 10)}

    def _image_vectors(self, model: DualEncoder) -> Tensor:
        batches = np.array_split(np.arange(len(self.data.samples)), -(-len(self.data.samples) // 64))
        rows = [model.project_image(self.image_part.body(hidden)) for hidden, _ in self.images.epoch(batches, 0)]
        return torch.cat(rows)

    def _text_vectors(self, model: DualEncoder) -> Tensor:
        texts = self.data.texts
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        rows = torch.empty(len(texts), model.dim)
        for start in range(0, len(order), 128):
            part = order[start : start + 128]
            output = read_texts(self.text_part, self.texts, [texts[i] for i in part])
            rows[part] = model.project_text(output).cpu()
        return rows

    def _loss(self, image: Tensor, text: Tensor, scale: float) -> float:
        _, first = np.unique(self.data.owners, return_index=True)
        owners = self.data.owners[first]
        losses, weights = [], []
        for start in range(0, len(first), LOSS_BATCH):
            rows = slice(start, start + LOSS_BATCH)
            losses.append(float(contrastive(image[owners[rows]], text[first[rows]], scale)))
            weights.append(len(first[rows]))
        return float(np.average(losses, weights=weights))


def read_texts(part: TextTower, feed: TextFeed, texts: Sequence[str]) -> TowerOutput:
    """Run texts through `part`, from where its feed's stem has carried them."""
    first, mask = feed.batch(texts)
    return part.body(first, mask) if part.has_stem else part(first, mask)

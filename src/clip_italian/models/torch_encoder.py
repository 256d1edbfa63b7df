"""Our dual encoder behind the Encoder protocol, run by torch.

Public name: TorchEncoder.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..encoder import ImageLike
from ..files import sha256_parts
from ..images import open_image
from ..preprocess import Preprocess
from .dual import DualEncoder
from .tokenizer import Tokenizer

Item = TypeVar("Item")
BATCH = 64


class TorchEncoder:
    """Encodes pictures and texts in batches of 64; `scale` is what cosines are multiplied by to make logits."""

    def __init__(
        self, model: DualEncoder, tokenizer: Tokenizer, preprocess: Preprocess, *, name: str, device: str = "cpu"
    ) -> None:
        self.model = model.eval().to(device)
        self.tokenizer, self.preprocess, self.name, self.device = tokenizer, preprocess, name, device
        self.dim = model.dim
        self.scale = float(model.scale)
        self.fingerprint = fingerprint(model, tokenizer, preprocess)

    def encode_images(self, images: Iterable[ImageLike]) -> np.ndarray:
        """Return (n, dim) float32 unit rows. Raises CorruptImage."""
        return self._encode(images, self._image_batch)

    def encode_texts(self, texts: Iterable[str]) -> np.ndarray:
        """Return (n, dim) float32 unit rows; texts past the model's length are cut."""
        return self._encode(texts, self._text_batch)

    def _encode(self, items: Iterable[Item], encode: Callable[[tuple[Item, ...]], Tensor]) -> np.ndarray:
        with torch.inference_mode():
            rows = [encode(batch).cpu().numpy() for batch in _batches(items)]
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)

    def _image_batch(self, images: tuple[ImageLike, ...]) -> Tensor:
        size = self.preprocess.size
        squares = [np.asarray(self.preprocess.square(open_image(image, min_side=size))) for image in images]
        pixels = torch.from_numpy(self.preprocess.normalise(np.stack(squares)))
        return self.model.encode_images(pixels.to(self.device))

    def _text_batch(self, texts: tuple[str, ...]) -> Tensor:
        ids, mask = self.tokenizer.encode(texts)
        return self.model.encode_texts(ids.to(self.device), mask.to(self.device))


def fingerprint(model: DualEncoder, tokenizer: Tokenizer, preprocess: Preprocess) -> str:
    """Hash all that decides a vector: weights, tokenizer, preprocessing."""
    weights = (tensor.detach().cpu().contiguous().numpy().tobytes() for _, tensor in sorted(model.state_dict().items()))
    settings = json.dumps(preprocess.to_json(), sort_keys=True)
    return sha256_parts([*weights, tokenizer.backend.to_str().encode(), settings.encode()])


def _batches(items: Iterable[Item]) -> Iterator[tuple[Item, ...]]:
    iterator = iter(items)
    while batch := tuple(islice(iterator, BATCH)):
        yield batch

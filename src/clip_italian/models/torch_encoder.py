"""Our dual encoder behind the Encoder protocol, run by torch.

Public names: TorchEncoder, fingerprint, patch_preprocess.
"""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..encoder import ImageLike
from ..errors import BadModel
from ..files import sha256_parts
from ..images import open_image
from ..preprocess import Preprocess
from .dual import DualEncoder
from .tokenizer import Tokenizer

Item = TypeVar("Item")
BATCH = 64
FINEST = 12  # places a side at which a map for patch vectors is fine enough


class TorchEncoder:
    """Encodes pictures and texts in batches of 64; `scale` is what cosines are multiplied by to make logits.

    Takes the model over: puts it on `device` and into evaluation mode. `encode_patches` is there when the image tower
    tells where its places are. Raises BadModel when there is no such device.
    """

    encode_patches: Callable[[ImageLike], np.ndarray]

    def __init__(
        self, model: DualEncoder, tokenizer: Tokenizer, preprocess: Preprocess, *, name: str, device: str = "cpu"
    ) -> None:
        try:
            self.model = model.eval().to(device)
        except (RuntimeError, AssertionError) as error:
            raise BadModel(f"device {device!r} cannot be used here ({error}); use cpu") from error
        self.tokenizer, self.preprocess, self.name, self.device = tokenizer, preprocess, name, device
        self.dim = model.dim
        self.scale = float(model.scale.detach())
        self.fingerprint = fingerprint(model, tokenizer, preprocess)
        self.patch_preprocess = patch_preprocess(self.model, preprocess)
        if self.patch_preprocess is not None:
            self.encode_patches = self._encode_patches

    def encode_images(self, images: Iterable[ImageLike]) -> np.ndarray:
        """Return (n, dim) float32 unit rows. Raises CorruptImage, and TypeError for a single picture."""
        if isinstance(images, str | bytes | Path):
            raise TypeError("encode_images takes several pictures: put a single one into a list")
        return self._encode(images, self._image_batch)

    def encode_texts(self, texts: Iterable[str]) -> np.ndarray:
        """Return (n, dim) float32 unit rows; texts past the model's length are cut.

        Raises TypeError for a single text.
        """
        if isinstance(texts, str):
            raise TypeError("encode_texts takes several texts: put a single one into a list")
        return self._encode(texts, self._text_batch)

    def _encode_patches(self, image: ImageLike) -> np.ndarray:
        """Return (grid_h, grid_w, dim) float32 unit vectors: the whole picture, its places in rows.

        Raises CorruptImage.
        """
        assert self.patch_preprocess is not None
        pixels = torch.from_numpy(_pixels(self.patch_preprocess, (image,)))
        with torch.inference_mode():
            return self.model.encode_patches(pixels.to(self.device))[0].cpu().numpy()

    def _encode(self, items: Iterable[Item], encode: Callable[[tuple[Item, ...]], Tensor]) -> np.ndarray:
        with torch.inference_mode():
            rows = [encode(batch).cpu().numpy() for batch in _batches(items)]
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)

    def _image_batch(self, images: tuple[ImageLike, ...]) -> Tensor:
        pixels = torch.from_numpy(_pixels(self.preprocess, images))
        return self.model.encode_images(pixels.to(self.device))

    def _text_batch(self, texts: tuple[str, ...]) -> Tensor:
        ids, mask = self.tokenizer.encode(texts)
        return self.model.encode_texts(ids.to(self.device), mask.to(self.device))


def fingerprint(model: DualEncoder, tokenizer: Tokenizer, preprocess: Preprocess) -> str:
    """Hash all that decides a vector: architecture, weights, tokenizer, preprocessing; returns 64 hex digits.

    The same for the same model in any directory, process and machine of this byte order.
    """
    weights = sorted(model.state_dict().items())
    settings = {
        "towers": [model.image_tower.spec, model.text_tower.spec],
        "heads": [model.image_head_spec, model.text_head_spec],
        "preprocess": preprocess.to_json(),
        "tensors": [[name, str(tensor.dtype), list(tensor.shape)] for name, tensor in weights],
    }
    described = [json.dumps(settings, sort_keys=True).encode(), tokenizer.backend.to_str().encode()]
    return sha256_parts(itertools.chain(described, (_bytes(tensor) for _, tensor in weights)))


def patch_preprocess(model: DualEncoder, preprocess: Preprocess) -> Preprocess | None:
    """Return how pictures are made ready for patch vectors: all of a picture, squashed; None when a tower has no grid.

    Where tower and head allow it the picture is larger than for its own vector, up to one and a half times: photos-it
    then finds a photo pasted into another in 80 % instead of 55 % of all cases.
    """
    step, size = model.image_tower.step, preprocess.size
    if step is None:
        return replace(preprocess, resize="squash") if _has_grid(model, size) else None
    if model.image_head.local and size % step == 0 and size < FINEST * step:
        size = min(-(-3 * size // (2 * step)), FINEST) * step
    return replace(preprocess, size=size, resize="squash")


def _has_grid(model: DualEncoder, size: int) -> bool:
    place = next(model.parameters()).device
    with torch.inference_mode():
        return model.image_tower(torch.zeros(1, 3, size, size, device=place)).grid is not None


def _pixels(preprocess: Preprocess, images: tuple[ImageLike, ...]) -> np.ndarray:
    """Return (n, 3, size, size) float32."""
    squares = [np.asarray(preprocess.square(open_image(image, min_side=preprocess.size))) for image in images]
    return preprocess.normalise(np.stack(squares))


def _bytes(tensor: Tensor) -> bytes:
    return tensor.detach().cpu().contiguous().numpy().tobytes()


def _batches(items: Iterable[Item]) -> Iterator[tuple[Item, ...]]:
    iterator = iter(items)
    while batch := tuple(itertools.islice(iterator, BATCH)):
        yield batch

"""Every dual encoder that transformers runs, as an Encoder: CLIP, Chinese-CLIP, AltCLIP, SigLIP, SigLIP 2, …

Public names: open_transformers, TransformersEncoder.
"""

import inspect
import itertools
import string
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
import transformers
from torch import Tensor
from transformers import VisionTextDualEncoderModel

from ..encoder import ImageLike
from ..errors import BadModel
from ..images import open_image
from . import hub
from .vision_text import is_vision_text, read_vision_text, text_length, trained_scale

T = TypeVar("T")

BATCH = 32
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class TextRules:
    """How a model's texts were prepared in its training.

    clean: "siglip" lower-cases and drops punctuation, "lower" only lower-cases, "none" leaves it to the tokenizer.
    padding: "max_length" for models that read the padding too. max_length: longer texts are cut.
    """

    clean: Literal["none", "lower", "siglip"]
    padding: Literal["longest", "max_length"]
    max_length: int

    def __call__(self, text: str) -> str:
        """Return the text as the tokenizer should see it."""
        if self.clean == "siglip":
            text = " ".join(text.translate(_NO_PUNCTUATION).split())
        return text if self.clean == "none" else text.lower()


class TransformersEncoder:
    """An Encoder over a transformers model with get_image_features and get_text_features.

    scale: what the model multiplies cosines by to get logits. Vectors are float32 whatever the file's precision.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        processor: Any,
        rules: TextRules,
        *,
        name: str,
        fingerprint: str,
        scale: float,
    ) -> None:
        self.model, self.tokenizer, self.processor, self.rules = model, tokenizer, processor, rules
        self.name, self.fingerprint, self.scale = name, fingerprint, scale
        self._image_inputs = set(inspect.signature(model.get_image_features).parameters)
        self._text_inputs = set(inspect.signature(model.get_text_features).parameters)
        self._side = _wanted_side(processor)
        self.dim = len(self._texts(["gatto"])[0])

    def encode_images(self, images: Iterable[ImageLike]) -> np.ndarray:
        """Return (n, dim) float32 unit rows. Raises CorruptImage."""
        return self._encode(images, self._images)

    def encode_texts(self, texts: Iterable[str]) -> np.ndarray:
        """Return (n, dim) float32 unit rows; texts past `rules.max_length` pieces are cut."""
        return self._encode(texts, self._texts)

    def _encode(self, items: Iterable[T], encode: Callable[[list[T]], np.ndarray]) -> np.ndarray:
        rows = [encode(batch) for batch in _batches(items, BATCH)]
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)

    def _images(self, images: list[ImageLike]) -> np.ndarray:
        # One at a time, so that a batch of large photos is never in memory at full size.
        ready = [self.processor(images=open_image(i, min_side=self._side), return_tensors="pt") for i in images]
        inputs = {name: torch.cat([one[name] for one in ready]) for name in ready[0] if name in self._image_inputs}
        return self._unit_rows(self.model.get_image_features, inputs)

    def _texts(self, texts: list[str]) -> np.ndarray:
        inputs = self.tokenizer(
            [self.rules(text) for text in texts],
            padding=self.rules.padding,
            truncation=True,
            max_length=self.rules.max_length,
            split_special_tokens=True,  # "<mask>" in a person's text is text
            return_tensors="pt",
        )
        kept = {name: value for name, value in inputs.items() if name in self._text_inputs}
        return self._unit_rows(self.model.get_text_features, kept)

    @torch.inference_mode()
    def _unit_rows(self, features: Callable[..., Any], inputs: dict[str, Tensor]) -> np.ndarray:
        output = features(**{name: value.to(self.model.device) for name, value in inputs.items()})
        rows = output if isinstance(output, Tensor) else output.pooler_output
        return torch.nn.functional.normalize(rows.float(), dim=-1).cpu().numpy()


def open_transformers(name: str, device: str) -> TransformersEncoder | None:
    """Open a directory, or a hub's `owner/name`, that holds a dual encoder with its tokenizer and image processor.

    Returns None when `name` is neither. Code that comes with a model is never run. Raises BadModel when the model
    cannot be fetched, is not whole, or its tokenizer and text tower disagree; MissingExtra when a library is missing.

    >>> encoder = open_transformers("google/siglip2-base-patch16-256", "cpu")       # doctest: +SKIP
    >>> encoder.encode_texts(["due gatti sul divano"]).shape                       # doctest: +SKIP
    (1, 768)
    """
    if not Path(name).is_dir() and not hub.HUB_ID.fullmatch(name):
        return None
    directory = hub.fetch(name)
    if not (directory / "config.json").is_file():
        raise BadModel(
            f"{name}: holds no model: neither model.json (one of ours) nor config.json (transformers') is there"
        )
    model = _read(directory)
    tokenizer, processor = hub.read_tokenizer(directory), hub.read_processor(directory)
    hub.check_vocabulary(directory, tokenizer, model.text_model.get_input_embeddings().num_embeddings)
    rules = _text_rules(directory, model, tokenizer)
    try:
        model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise BadModel(f"device {device!r} cannot be used here ({error}); use cpu") from error
    return TransformersEncoder(
        model,
        tokenizer,
        processor,
        rules,
        name=name,
        scale=_scale(model),
        fingerprint=hub.fingerprint(directory, str(rules)),
    )


def _read(directory: Path) -> Any:
    if is_vision_text(directory):
        return read_vision_text(directory)
    config = hub.read_config(directory)
    kind = transformers.MODEL_MAPPING.get(type(config), None)
    if not (hasattr(kind, "get_image_features") and hasattr(kind, "get_text_features")):
        raise BadModel(
            f"{directory}: a {config.model_type} model, which does not embed both pictures and texts; "
            "name a dual encoder (clip, siglip, siglip2, altclip, chinese_clip, vision-text-dual-encoder, …)"
        )
    return hub.read_model(directory)[0]


def _text_rules(directory: Path, model: Any, tokenizer: Any) -> TextRules:
    length = min(text_length(model), int(tokenizer.model_max_length))
    if model.config.model_type not in ("siglip", "siglip2"):
        return TextRules("none", "longest", length)
    # Both were trained on lower-cased texts padded to full length; only the first also dropped punctuation [Zhai 2023].
    return TextRules(
        "siglip" if hub.tokenizer_class(directory) in hub.SIGLIP_TOKENIZERS else "lower", "max_length", length
    )


def _scale(model: Any) -> float:
    if isinstance(model, VisionTextDualEncoderModel):
        return trained_scale(model)
    if hasattr(model, "logit_scale"):
        return float(model.logit_scale.detach().exp())
    return 1 / float(model.temperature.detach())  # ALIGN


def _wanted_side(processor: Any) -> int | None:
    size = getattr(processor, "size", None)
    sides = [size[key] for key in ("shortest_edge", "height", "width") if size.get(key)] if size else []
    return max(sides, default=None)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(itertools.islice(iterator, size)):
        yield batch

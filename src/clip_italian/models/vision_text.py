"""CLIP-Italian's published form, transformers' VisionTextDualEncoderModel: read as a DualEncoder, written from one.

Public names: from_vision_text, to_vision_text, read_vision_text, trained_scale, text_length.
"""

import math
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from transformers import (
    PreTrainedTokenizerFast,
    VisionTextDualEncoderConfig,
    VisionTextDualEncoderModel,
)

from ..errors import BadModel
from ..files import write_json
from ..preprocess import Preprocess
from . import hub
from .dual import DualEncoder
from .heads import LinearHead
from .hybrid_clip import constant_scale, read_hybrid_clip
from .tokenizer import Tokenizer
from .towers.huggingface import HFImageTower, HFTextTower

TRAINED_PIECES = 96  # the original trained and measured with texts cut there [PAPER.md §2]
_KINDS = ("vision-text-dual-encoder", "hybrid-clip")
# A setting that the original's trainer left in config.json; the published PyTorch conversion still has it.
_ORIGINAL = "freeze_backbones"
_BICUBIC = 3


def from_vision_text(source: str | Path) -> tuple[DualEncoder, Tokenizer, Preprocess]:
    """Read a VisionTextDualEncoderModel, or the original Flax layout, from a directory or hub id.

    Its embeddings of pixels and pieces are the model's own. The scale is the one it was trained with (`trained_scale`),
    texts are cut at `text_length` pieces, and pictures are resized with bicubic weights even where the model's
    processor uses bilinear ones. Raises BadModel, and MissingExtra for Flax weights without msgpack.

    >>> dual, tokenizer, preprocess = from_vision_text("clip-italian/clip-italian")     # doctest: +SKIP
    """
    directory = hub.fetch(str(source))
    model = read_vision_text(directory)
    reader = hub.read_tokenizer(directory)
    dual = _dual(model)
    hub.check_vocabulary(directory, reader, model.text_model.get_input_embeddings().num_embeddings)
    tokenizer = Tokenizer(reader.backend_tokenizer, min(text_length(model), int(reader.model_max_length)))
    return dual, tokenizer, _preprocess(hub.read_processor(directory), directory)


def to_vision_text(dual: DualEncoder, tokenizer: Tokenizer, preprocess: Preprocess, directory: Path | str) -> None:
    """Write a dual encoder as a directory that transformers' VisionTextDualEncoderModel and AutoProcessor open.

    Outputs are the same to 1e-5. Files already there are replaced one by one, config.json last. Raises BadModel for
    what that model cannot hold: towers not from transformers, a pooling that is not the model's own, heads that are
    not linear.
    """
    directory = Path(directory)
    image, text = dual.image_tower, dual.text_tower
    if not (isinstance(image, HFImageTower) and isinstance(text, HFTextTower)):
        raise BadModel("only towers from transformers can be written as a VisionTextDualEncoderModel")
    if not (isinstance(dual.image_head, LinearHead) and isinstance(dual.text_head, LinearHead)):
        raise BadModel("a VisionTextDualEncoderModel has linear heads only; train with heads of type linear")
    for tower in (image, text):
        if tower.pooling != "pooler":
            raise BadModel(
                f"a VisionTextDualEncoderModel cannot pool by {tower.pooling} ({type(tower.model).__name__})"
            )
        if getattr(tower.model.config, "hidden_size", None) != tower.dim:
            raise BadModel(
                f"a VisionTextDualEncoderModel cannot hold a {type(tower.model).__name__}: it has no hidden_size"
            )
    directory.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}."))
    try:
        with hub.quiet():
            _as_transformers(dual).save_pretrained(temporary)
            _fast_tokenizer(tokenizer).save_pretrained(temporary)
        write_json(temporary / "preprocessor_config.json", _processor(preprocess))
        directory.mkdir(exist_ok=True)
        for path in sorted(temporary.iterdir(), key=lambda path: path.name == "config.json"):
            path.replace(directory / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_vision_text(directory: Path) -> bool:
    """Tell whether `directory` holds a VisionTextDualEncoderModel or the original Flax layout. Raises BadModel."""
    return hub.read_json(directory / "config.json").get("model_type") in _KINDS


def read_vision_text(directory: Path) -> Any:
    """Read a VisionTextDualEncoderModel from its own layout or the original Flax one. Raises BadModel, MissingExtra."""
    kind = hub.read_json(directory / "config.json").get("model_type")
    if kind not in _KINDS:
        raise BadModel(f"{directory}: a {kind} model, not one of {', '.join(_KINDS)}")
    if kind == "hybrid-clip":
        return read_hybrid_clip(directory)
    model, _ = hub.read_model(directory)
    return model


def trained_scale(model: Any) -> float:
    """Return what cosines were multiplied by when the model was trained.

    That is the exponential of its logit_scale, but 20 for the published CLIP-Italian: its file says 1, of which
    transformers makes e, while its trainer multiplied by 20 [PAPER.md §6]. Embeddings are the same either way.
    """
    stored = float(model.logit_scale.detach())
    return constant_scale(stored) if getattr(model.config, _ORIGINAL, None) is not None else math.exp(stored)


def text_length(model: Any) -> int:
    """Return how many pieces of a text the model can read: its positions, and CLIP-Italian's 96."""
    config = model.config.text_config
    positions = int(config.max_position_embeddings)
    if any(hasattr(module, "create_position_ids_from_input_ids") for module in model.text_model.modules()):
        positions -= config.pad_token_id + 1  # RoBERTa counts its positions from there
    return min(positions, TRAINED_PIECES) if getattr(model.config, _ORIGINAL, None) is not None else positions


def _dual(model: Any) -> DualEncoder:
    image, text = HFImageTower(model.vision_model, "pooler"), HFTextTower(model.text_model, "pooler")
    dual = DualEncoder(image, text, dim=model.projection_dim, scale=trained_scale(model))
    dual.image_head.projection, dual.text_head.projection = model.visual_projection, model.text_projection
    return dual.eval()


def _as_transformers(dual: DualEncoder) -> Any:
    image: Any = dual.image_tower
    text: Any = dual.text_tower
    scale = float(dual.scale.detach())
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        image.model.config, text.model.config, projection_dim=dual.dim, logit_scale_init_value=math.log(scale)
    )
    with torch.device("meta"):  # a frame without weights, so that nothing is copied or drawn anew
        model: Any = VisionTextDualEncoderModel(config)
    model.vision_model, model.text_model = image.model, text.model
    heads: tuple[Any, Any] = (dual.image_head, dual.text_head)
    model.visual_projection, model.text_projection = (head.projection for head in heads)
    model.logit_scale = torch.nn.Parameter(torch.tensor(math.log(scale)))
    return model


def _fast_tokenizer(tokenizer: Tokenizer) -> PreTrainedTokenizerFast:
    padding = tokenizer.backend.padding
    assert padding is not None
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer.backend,
        pad_token=padding["pad_token"],
        model_max_length=tokenizer.max_length,
        model_input_names=["input_ids", "attention_mask"],
    )


def _processor(preprocess: Preprocess) -> dict[str, Any]:
    side = {"height": preprocess.size, "width": preprocess.size}
    common = {
        "do_convert_rgb": True, "do_resize": True, "resample": _BICUBIC, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": list(preprocess.mean), "image_std": list(preprocess.std),
        "processor_class": "VisionTextDualEncoderProcessor",
    }  # fmt: skip
    if preprocess.resize == "squash":
        return {"image_processor_type": "ViTImageProcessor", "size": side, **common}
    shortest = {"shortest_edge": preprocess.size}
    cropped = {"size": shortest, "do_center_crop": True, "crop_size": side}
    return {"image_processor_type": "CLIPImageProcessor", **cropped, **common}


def _preprocess(processor: Any, directory: Path) -> Preprocess:
    """Read an image processor's settings. Raises BadModel for one that does not make one square of a picture."""
    crops = bool(getattr(processor, "do_center_crop", None))
    size, crop = dict(processor.size or {}), dict(getattr(processor, "crop_size", None) or {})
    target = crop if crops else size
    side = target.get("height")
    if not side or side != target.get("width") or (crops and (size.get("shortest_edge") or size.get("height")) != side):
        raise BadModel(f"{directory}: its pictures are resized to {size} and cut to {crop}, not to one square")
    mean, std = (processor.image_mean, processor.image_std) if processor.do_normalize else ((0,) * 3, (1,) * 3)
    return Preprocess(int(side), "crop" if crops else "squash", mean=tuple(mean), std=tuple(std))

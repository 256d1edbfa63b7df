"""CLIP-Italian as it was trained in 2021: `hybrid-clip`, a Flax model of two towers and two projections.

Public names: read_hybrid_clip, read_flax, constant_scale. The file is read without flax, as data that may be hostile.
"""

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import VisionTextDualEncoderConfig, VisionTextDualEncoderModel

from ..errors import BadModel, MissingExtra
from . import hub

# The trainer multiplied cosines by this constant while its stored parameter stayed at 1 [modeling_hybrid_clip.py].
TRAINING_SCALE = 20.0
_NDARRAY, _SCALAR = 1, 3  # flax.serialization's msgpack extension codes; 2, complex numbers, is in no model
_DTYPES = {"float32", "float64", "float16", "bfloat16", "int8", "int16", "int32", "int64", "uint8", "bool"}
_CHUNKED = "__msgpack_chunked_array__"
_DEEPEST = 32
_LEAVES = {"kernel": "weight", "embedding": "weight", "scale": "weight"}


def read_hybrid_clip(directory: Path) -> VisionTextDualEncoderModel:
    """Read a `hybrid-clip` directory (config.json, flax_model.msgpack) as the model transformers has for it today.

    Its logit_scale is the logarithm of the scale it was trained with. Raises BadModel when a file is missing, altered,
    or does not fit the other, MissingExtra without msgpack.
    """
    values = hub.read_json(directory / "config.json")
    try:
        text, vision = dict(values["text_config"]), dict(values["vision_config"])
        width = int(values["projection_dim"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadModel(f"{directory}/config.json: not a hybrid-clip configuration ({error!r})") from error
    text_config, vision_config = hub.config_from(text, str(directory)), hub.config_from(vision, str(directory))
    if vision.get("model_type") == "clip":
        vision_config = vision_config.vision_config
    config = VisionTextDualEncoderConfig.from_vision_text_configs(
        vision_config, text_config, projection_dim=width, logit_scale_init_value=math.log(TRAINING_SCALE)
    )
    state = dict(_torch_tensors(read_flax(directory / "flax_model.msgpack")))
    config.freeze_backbones = bool(values.get("freeze_backbones"))  # by this key the original's texts are cut as it did
    stored = state.pop("logit_scale", None)
    if stored is not None and stored.numel() != 1:
        raise BadModel(f"{directory}/flax_model.msgpack: logit_scale is not one number but {stored.numel()}")
    state["logit_scale"] = torch.tensor(math.log(constant_scale(None if stored is None else stored.item())))
    return _fill(config, state, directory)


def constant_scale(stored: float | None) -> float:
    """Return what the original trainer multiplied cosines by, from the logit_scale it stored.

    Nothing stored, or a value that never moved from its start (1; for a day 20): the constant 20. Else it was learned,
    and its exponential was used. Source: the history of the original's modeling_hybrid_clip.py.
    """
    if stored is None or math.isclose(stored, 1, abs_tol=1e-6) or stored >= TRAINING_SCALE:
        return TRAINING_SCALE
    return math.exp(stored)


def read_flax(path: Path) -> dict[str, np.ndarray]:
    """Read a flax msgpack file of nested dictionaries of arrays; returns {"a.b.c": array}.

    Only plain arrays are accepted, and only when their bytes fit their shape. Raises BadModel, MissingExtra.
    """
    try:
        import msgpack
    except ImportError:
        raise MissingExtra(f"{path}: reading Flax weights needs msgpack: pip install msgpack") from None
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            tree = msgpack.unpackb(content, ext_hook=_array, raw=False)
    except FileNotFoundError:
        raise BadModel(f"{path.parent}: {path.name} is missing; fetch the model again") from None
    except (ValueError, TypeError, msgpack.exceptions.UnpackException, OSError) as error:
        raise BadModel(f"{path}: not whole Flax weights ({error}); fetch the file again") from error
    arrays: dict[str, np.ndarray] = {}
    try:
        _flatten(tree, (), arrays)
    except (ValueError, TypeError) as error:
        raise BadModel(f"{path}: not Flax weights ({error})") from error
    return arrays


def _array(code: int, data: bytes) -> np.ndarray:
    import msgpack

    if code not in (_NDARRAY, _SCALAR):
        raise ValueError(f"extension type {code} is no array")
    parts = msgpack.unpackb(data, raw=False)
    if not (isinstance(parts, list) and len(parts) == 3 and isinstance(parts[2], bytes)):
        raise ValueError("an array is not shape, type and bytes")
    shape, dtype, content = parts
    if dtype not in _DTYPES:
        raise ValueError(f"an array of type {dtype!r}")
    if dtype == "bfloat16":  # numpy has none: its bits are the upper half of a float32's
        return _shaped((np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32), shape)
    return _shaped(np.frombuffer(content, dtype), shape)


def _shaped(flat: np.ndarray, shape: Any) -> np.ndarray:
    if not (isinstance(shape, list) and all(type(side) is int and side >= 0 for side in shape)):
        raise ValueError(f"an array of shape {shape!r}")
    if math.prod(shape) != flat.size:
        raise ValueError(f"an array of shape {shape} holds {flat.size} numbers")
    return flat.reshape(shape)


def _flatten(tree: Any, place: tuple[str, ...], into: dict[str, np.ndarray]) -> None:
    """Put the arrays of nested dictionaries under dotted names; an array too large for one message comes in chunks."""
    if isinstance(tree, np.ndarray):
        into[".".join(place)] = tree
    elif not isinstance(tree, dict) or len(place) > _DEEPEST:
        raise ValueError(f"{'.'.join(place) or 'the file'} is {type(tree).__name__}, not a dictionary of arrays")
    elif _CHUNKED in tree:
        chunks = _in_order(tree.get("chunks"))
        if not chunks or not all(isinstance(chunk, np.ndarray) for chunk in chunks):
            raise ValueError(f"{'.'.join(place)} is in pieces that are no arrays")
        flat = np.concatenate([chunk.reshape(-1) for chunk in chunks])
        into[".".join(place)] = _shaped(flat, [int(side) for side in _in_order(tree.get("shape"))])
    else:
        for name, branch in tree.items():
            _flatten(branch, (*place, str(name)), into)


def _in_order(numbered: Any) -> list[Any]:
    if not isinstance(numbered, dict) or any(str(place) not in numbered for place in range(len(numbered))):
        raise ValueError("a list is not numbered from 0")
    return [numbered[str(place)] for place in range(len(numbered))]


def _torch_tensors(arrays: dict[str, np.ndarray]) -> Iterator[tuple[str, Tensor]]:
    """Take Flax arrays out one by one as torch's: Dense kernels (in, out), convolutions (h, w, in, out) are turned."""
    while arrays:
        name, array = arrays.popitem()
        *place, leaf = name.split(".")
        if leaf == "kernel":
            array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
        copy = np.array(array, dtype=np.float32 if array.dtype.kind == "f" else array.dtype, order="C")
        yield ".".join([*place, _LEAVES.get(leaf, leaf)]), torch.from_numpy(copy)


def _fill(config: VisionTextDualEncoderConfig, state: dict[str, Tensor], directory: Path) -> VisionTextDualEncoderModel:
    try:
        with hub.quiet():
            # from_pretrained knows the names that modules had in 2021 and what they are called now.
            read: Any = VisionTextDualEncoderModel.from_pretrained(
                None, config=config, state_dict=state, dtype=torch.float32, output_loading_info=True
            )
    except (RuntimeError, ValueError, KeyError, AttributeError) as error:
        raise BadModel(
            f"{directory}: weights and config.json disagree ({str(error).strip().splitlines()[0]})"
        ) from error
    model, info = read
    hub.check_missing(info["missing_keys"], (), directory)
    return model.eval()

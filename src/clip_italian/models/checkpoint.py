"""Our model directory: `model.json` to read, `model.safetensors` with what was learned, `tokenizer.json` where ours.

What a pretrained tower from pip holds fixed is not stored: it is read from the package again. A tower with a cut, or
with low-rank changes, holds what they leave alone; without either it holds nothing, and all of it is stored, even
where no stage let it learn.

Public names: Checkpoint, save_checkpoint, load_checkpoint, open_directory, learned_tensors, load_learned.
"""

import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import tokenizers
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ..errors import BadModel
from ..files import atomic_write, sha256_file, write_json
from ..preprocess import Preprocess
from .dual import DualEncoder
from .tokenizer import Tokenizer
from .torch_encoder import TorchEncoder
from .towers import build_image_tower, build_text_tower

FORMAT = 1
DESCRIPTION, WEIGHTS, TOKENIZER = "model.json", "model.safetensors", "tokenizer.json"
OTHER_DESCRIPTION = "config.json"  # of a transformers model, which another opener reads
# What building a model out of JSON values of the wrong kind or size raises.
_WRONG_VALUES = (TypeError, ValueError, AttributeError, OverflowError, RuntimeError)


@dataclass
class Checkpoint:
    """A model with everything that is needed to use it; notes are free JSON values, such as recipe and figures."""

    model: DualEncoder
    tokenizer: Tokenizer
    preprocess: Preprocess
    name: str
    notes: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(checkpoint: Checkpoint, directory: Path, *, half: bool = False) -> None:
    """Write a model directory; half: store weights as float16, for release.

    Whatever stops it, the directory holds the old model or the new one: the new files lie beside the old ones until
    `model.json`, which names their hashes, is replaced. Raises OSError (disk full).
    """
    model = checkpoint.model
    files = {WEIGHTS: save(_stored(learned_tensors(model), half))}
    if not _brings_tokenizer(model.text_tower.spec):
        files[TOKENIZER] = checkpoint.tokenizer.backend.to_str(pretty=True).encode("utf-8")
    for name, data in files.items():
        with atomic_write(_next(directory / name)) as stream:
            stream.write(data)
    write_json(
        directory / DESCRIPTION,
        {
            "format": FORMAT,
            "name": checkpoint.name,
            "dim": model.dim,
            "scale": float(model.scale.detach()),
            "image_tower": model.image_tower.spec,
            "text_tower": model.text_tower.spec,
            "image_head": model.image_head_spec,
            "text_head": model.text_head_spec,
            "preprocess": checkpoint.preprocess.to_json(),
            "max_length": checkpoint.tokenizer.max_length,
            "files": {name: sha256(data).hexdigest() for name, data in files.items()},
            "notes": checkpoint.notes,
        },
    )
    for name in files:
        _next(directory / name).replace(directory / name)


def load_checkpoint(directory: Path) -> Checkpoint:
    """Read a model directory after checking its files' hashes. Raises BadModel, MissingExtra."""
    directory = Path(directory)
    description = _read_description(directory)
    files = {name: _whole(directory / name, expected) for name, expected in description["files"].items()}
    try:
        model = DualEncoder(
            build_image_tower(description["image_tower"]),
            build_text_tower(description["text_tower"]),
            dim=description["dim"],
            image_head=description["image_head"],
            text_head=description["text_head"],
            scale=description["scale"],
        )
        preprocess = Preprocess.from_json(description["preprocess"])
        tokenizer = Tokenizer(_backend(directory, description["text_tower"], files), description["max_length"])
    except KeyError as error:
        raise BadModel(f"{directory / DESCRIPTION}: {error} is missing; fetch the model again") from error
    except _WRONG_VALUES as error:
        raise BadModel(f"{directory / DESCRIPTION}: describes no model ({error}); fetch the model again") from error
    load_learned(model, _read_weights(files[WEIGHTS]), str(directory / WEIGHTS))
    _check_agreement(directory, model, tokenizer)
    name, notes = description.get("name", directory.name), description.get("notes", {})
    return Checkpoint(model, tokenizer, preprocess, name, notes)


def open_directory(name: str, device: str) -> TorchEncoder | None:
    """Open a model directory of ours as an Encoder; None when `name` is not one.

    Raises BadModel, for a directory that holds no model at all too, and MissingExtra.
    """
    directory = Path(name)
    if not (directory / DESCRIPTION).is_file():
        if directory.is_dir() and not (directory / OTHER_DESCRIPTION).is_file():
            raise BadModel(
                f"{directory}: holds no model: neither {DESCRIPTION} (one of ours) nor {OTHER_DESCRIPTION} "
                "(transformers') is there; a training run writes the first when its first validation is done"
            )
        return None
    checkpoint = load_checkpoint(directory)
    return TorchEncoder(
        checkpoint.model, checkpoint.tokenizer, checkpoint.preprocess, name=checkpoint.name, device=device
    )


def learned_tensors(model: DualEncoder) -> dict[str, Tensor]:
    """Return every tensor of the model but those that the towers' pretrained sources hold fixed."""
    fixed = {f"image_tower.{name}" for name in model.image_tower.fixed}
    fixed |= {f"text_tower.{name}" for name in model.text_tower.fixed}
    return {name: tensor for name, tensor in model.state_dict().items() if name not in fixed}


def load_learned(model: DualEncoder, weights: dict[str, Tensor], where: str) -> None:
    """Copy stored tensors into the model, as its own type. Raises BadModel when names or shapes differ from its own."""
    own = learned_tensors(model)
    if strange := sorted(set(own) ^ set(weights)):
        raise BadModel(f"{where}: {len(strange)} tensors do not fit the description, such as {strange[0]}")
    for name, tensor in weights.items():
        if own[name].shape != tensor.shape:
            raise BadModel(f"{where}: {name} is {tuple(tensor.shape)}, expected {tuple(own[name].shape)}")
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(tensor)


def _stored(weights: dict[str, Tensor], half: bool) -> dict[str, Tensor]:
    """Make tensors ready for the file; whole numbers, such as counters, stay what they are in a half-precision file."""
    return {
        name: (tensor.half() if half and tensor.is_floating_point() else tensor).cpu().contiguous()
        for name, tensor in weights.items()
    }


def _next(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")


def _read_description(directory: Path) -> dict[str, Any]:
    path = directory / DESCRIPTION
    try:
        description = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadModel(f"{directory}: {DESCRIPTION} is missing, so this is not a model directory of ours") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadModel(f"{path}: cannot be read as a model's description ({error})") from error
    if not isinstance(description, dict) or not isinstance(description.get("files"), dict):
        raise BadModel(f"{path}: is not a model's description; fetch the model again")
    if (found := description.get("format")) != FORMAT:
        raise BadModel(f"{path}: format {found!r}, but this version reads {FORMAT}; update clip-italian")
    if WEIGHTS not in description["files"] or not set(description["files"]) <= {WEIGHTS, TOKENIZER}:
        raise BadModel(f"{path}: lists {', '.join(description['files'])} where {WEIGHTS} and {TOKENIZER} belong")
    return description


def _whole(path: Path, expected: str) -> Path:
    """Return the file of that hash: `path`, or its next one where a save was stopped right after its commit."""
    found = {candidate: sha256_file(candidate) for candidate in (path, _next(path)) if candidate.is_file()}
    for candidate, digest in found.items():
        if digest == expected:
            return candidate
    if path not in found:
        raise BadModel(f"{path}: is missing; fetch the model again")
    raise BadModel(f"{path}: was altered or cut short (SHA-256 {found[path][:12]}…, expected {str(expected)[:12]}…)")


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadModel(f"{path}: cannot be read as safetensors ({error}); fetch the model again") from error


def _brings_tokenizer(spec: dict[str, Any]) -> bool:
    return spec["type"] == "multilingual-e5-small"


def _backend(directory: Path, text_tower: dict[str, Any], files: dict[str, Path]) -> tokenizers.Tokenizer:
    if _brings_tokenizer(text_tower):
        from .towers import e5

        return e5.tokenizer(e5.kept_pieces())
    if TOKENIZER not in files:
        raise BadModel(f"{directory}: {TOKENIZER} is not among the model's files; fetch the model again")
    try:
        return tokenizers.Tokenizer.from_file(str(files[TOKENIZER]))
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise BadModel(f"{directory / TOKENIZER}: cannot be read as a tokenizer ({error})") from error


def _check_agreement(directory: Path, model: DualEncoder, tokenizer: Tokenizer) -> None:
    """Check that the text tower can read whatever the tokenizer gives."""
    tower = model.text_tower
    rows = getattr(tower, "vocabulary", tower.spec.get("vocabulary"))
    if rows is not None and tokenizer.size > rows:
        raise BadModel(
            f"{directory}: the tokenizer's largest piece id is {tokenizer.size - 1}, but its text tower has {rows} rows"
        )
    if tower.max_length is not None and tokenizer.max_length > tower.max_length:
        raise BadModel(
            f"{directory}: texts are cut at {tokenizer.max_length} pieces, but the text tower reads {tower.max_length}"
        )

"""Our model directory: `model.json` to read, `model.safetensors` with what was learned, `tokenizer.json` where it is ours.

What a pretrained tower from pip brings and training left alone is not stored: it is read from the package again, so that a
finished model holds changes and heads only. Public names: Checkpoint, save, load_checkpoint, open_directory.
"""

import json
from dataclasses import dataclass, field
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


@dataclass
class Checkpoint:
    """A model with everything that is needed to use it; notes are free JSON values (recipe, figures) stored beside it."""

    model: DualEncoder
    tokenizer: Tokenizer
    preprocess: Preprocess
    name: str
    notes: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(checkpoint: Checkpoint, directory: Path, *, half: bool = False) -> None:
    """Write a model directory; files appear whole, `model.json` last. half: store weights as float16, for release."""
    directory.mkdir(parents=True, exist_ok=True)
    model = checkpoint.model
    weights = learned_tensors(model)
    kind = torch.float16 if half else None
    with atomic_write(directory / WEIGHTS) as stream:
        stream.write(save({name: tensor.to(kind or tensor.dtype).contiguous() for name, tensor in weights.items()}))
    files = {WEIGHTS: sha256_file(directory / WEIGHTS)}
    if not _brings_tokenizer(model.text_tower.spec):
        with atomic_write(directory / TOKENIZER, "w") as stream:
            stream.write(checkpoint.tokenizer.backend.to_str(pretty=True))
        files[TOKENIZER] = sha256_file(directory / TOKENIZER)
    write_json(
        directory / DESCRIPTION,
        {
            "format": FORMAT,
            "name": checkpoint.name,
            "dim": model.dim,
            "scale": float(model.scale),
            "image_tower": model.image_tower.spec,
            "text_tower": model.text_tower.spec,
            "image_head": model.image_head_spec,
            "text_head": model.text_head_spec,
            "preprocess": checkpoint.preprocess.to_json(),
            "max_length": checkpoint.tokenizer.max_length,
            "files": files,
            "notes": checkpoint.notes,
        },
    )


def load_checkpoint(directory: Path) -> Checkpoint:
    """Read a model directory after checking its files' hashes. Raises BadModel, MissingExtra."""
    description = _read_description(directory)
    for name, expected in description["files"].items():
        _check(directory / name, expected)
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
        tokenizer = _tokenizer(directory, description)
    except (KeyError, TypeError) as error:
        raise BadModel(f"{directory / DESCRIPTION}: {error} is missing or wrong; fetch the model again") from error
    load_learned(model, _read_weights(directory / WEIGHTS), str(directory / WEIGHTS))
    _check_vocabulary(directory, model, tokenizer)
    return Checkpoint(model, tokenizer, preprocess, description["name"], description.get("notes", {}))


def open_directory(name: str, device: str) -> TorchEncoder | None:
    """Open a model directory of ours as an Encoder; None when `name` is not one. Raises BadModel, MissingExtra."""
    directory = Path(name)
    if not (directory / DESCRIPTION).is_file():
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
    """Copy stored tensors into the model. Raises BadModel when names or shapes differ from the model's."""
    own = learned_tensors(model)
    if missing := sorted(set(own) ^ set(weights)):
        raise BadModel(f"{where}: {len(missing)} tensors do not fit the description, such as {missing[0]}")
    with torch.no_grad():
        for name, tensor in weights.items():
            if own[name].shape != tensor.shape:
                raise BadModel(f"{where}: {name} is {tuple(tensor.shape)}, expected {tuple(own[name].shape)}")
            own[name].copy_(tensor)


def _read_description(directory: Path) -> dict[str, Any]:
    path = directory / DESCRIPTION
    try:
        description = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadModel(f"{path}: cannot be read as a model's description ({error})") from error
    if not isinstance(description, dict) or not isinstance(description.get("files"), dict):
        raise BadModel(f"{path}: is not a model's description; fetch the model again")
    if (found := description.get("format")) != FORMAT:
        raise BadModel(f"{path}: format {found!r}, but this version reads {FORMAT}; update clip-italian")
    return description


def _check(path: Path, expected: str) -> None:
    if path.name not in (WEIGHTS, TOKENIZER):
        raise BadModel(f"{path}: a model directory holds no file of that name")
    if not path.is_file():
        raise BadModel(f"{path}: is missing; fetch the model again")
    if (found := sha256_file(path)) != expected:
        raise BadModel(f"{path}: was altered or cut short (SHA-256 {found[:12]}…, expected {expected[:12]}…)")


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadModel(f"{path}: cannot be read as safetensors ({error}); fetch the model again") from error


def _brings_tokenizer(spec: dict[str, Any]) -> bool:
    return spec["type"] == "multilingual-e5-small"


def _tokenizer(directory: Path, description: dict[str, Any]) -> Tokenizer:
    if _brings_tokenizer(description["text_tower"]):
        from .towers import e5

        return Tokenizer(e5.tokenizer(e5.kept_pieces()), description["max_length"])
    try:
        backend = tokenizers.Tokenizer.from_file(str(directory / TOKENIZER))
    except Exception as error:  # noqa: BLE001 - the tokenizers library raises bare Exception
        raise BadModel(f"{directory / TOKENIZER}: cannot be read as a tokenizer ({error})") from error
    return Tokenizer(backend, description["max_length"])


def _check_vocabulary(directory: Path, model: DualEncoder, tokenizer: Tokenizer) -> None:
    rows = getattr(model.text_tower, "vocabulary", model.text_tower.spec.get("vocabulary"))
    if rows is not None and tokenizer.size > rows:
        raise BadModel(f"{directory}: the tokenizer has {tokenizer.size} pieces, but its text tower only {rows}")

"""A transformers model's files, from a directory or a hub: fetched, checked, read, hashed.

Public names: fetch, read_json, read_config, config_from, read_model, check_missing, module_weights, read_tokenizer,
tokenizer_class, check_vocabulary, read_processor, fingerprint, quiet.
"""

import contextlib
import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
)

from ..errors import BadModel, MissingExtra
from ..files import sha256_file, sha256_parts

# In the order in which one is taken where several are there: transformers' own order.
WEIGHTS = ("model*.safetensors", "pytorch_model*.bin", "flax_model.msgpack")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
SIGLIP_TOKENIZERS = ("SiglipTokenizer", "SiglipTokenizerFast")
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
_SMALL_FILES = ("*.json", "*.txt", "*.model")
# Of these, the ones that decide what a text or a picture becomes: a note or a log beside them changes no vector.
_DECIDING_FILES = (
    "config.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", "*.model",
)  # fmt: skip
# What weights, tokenizer and processor raise on files that are cut short, altered or not what they claim to be.
UNREADABLE = (
    OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError, pickle.UnpicklingError
)  # fmt: skip

# The second is the HTTP library's own error, whichever of its versions the hub's client uses.
_NO_HUB: tuple[type[Exception], ...] = (OSError, HfHubHTTPError.__bases__[0], ValueError)


def fetch(name: str) -> Path:
    """Return the directory `name` itself, or the local copy of the hub's model `owner/name`, downloaded where missing.

    Of several weight formats only one is downloaded. Raises BadModel when there is no such directory and the hub cannot
    be reached or does not have the model.
    """
    if Path(name).is_dir():
        return Path(name)
    if not HUB_ID.fullmatch(name):
        raise BadModel(f"{name}: no such directory, and not a hub id of the form owner/name")
    try:
        directory = Path(snapshot_download(name, allow_patterns=list(_SMALL_FILES)))
        for pattern in WEIGHTS:
            snapshot_download(name, allow_patterns=[pattern])
            if list(directory.glob(pattern)):
                break
    except _NO_HUB as error:
        raise BadModel(f"{name}: no such directory, and {_why_no_hub(error)}") from error
    return directory


def read_json(path: Path) -> dict[str, Any]:
    """Return a JSON file's object. Raises BadModel naming the file when it is missing or not a JSON object."""
    try:
        value = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadModel(f"{path.parent}: {path.name} is missing, so this is not a model directory") from None
    except (OSError, ValueError) as error:
        raise BadModel(f"{path}: cannot be read as JSON ({error}); fetch the model again") from error
    if not isinstance(value, dict):
        raise BadModel(f"{path}: holds no JSON object; fetch the model again")
    return value


def read_config(directory: Path) -> PreTrainedConfig:
    """Return the configuration of the model in `directory`. Raises BadModel."""
    values = read_json(directory / "config.json")
    if "model_type" not in values:
        raise BadModel(f"{directory}/config.json: has no model_type, so transformers cannot say which model this is")
    return config_from(values, str(directory))


def config_from(values: dict[str, Any], where: str) -> PreTrainedConfig:
    """Build a configuration from its JSON values. Raises BadModel for a model type that transformers does not know."""
    values = dict(values)
    kind = values.pop("model_type", None)
    # The published CLIP-Italian stores the integer 1, of which transformers makes an integer parameter and fails.
    if "logit_scale_init_value" in values:
        values["logit_scale_init_value"] = float(values["logit_scale_init_value"])
    try:
        return AutoConfig.for_model(kind, **values)
    except UNREADABLE as error:
        raise BadModel(f"{where}: transformers {transformers.__version__} has no model for it ({error})") from error


def read_model(directory: Path, *, may_miss: tuple[str, ...] = ("logit_scale",)) -> tuple[Any, frozenset[str]]:
    """Read the model in `directory` as float32 in evaluation mode; returns it and the weights it had to invent.

    may_miss: beginnings of the names of weights that the file need not hold. Raises BadModel when others are missing,
    when shapes disagree with the configuration, or when a file is cut short.
    """
    config = read_config(directory)
    if not any(list(directory.glob(pattern)) for pattern in WEIGHTS[:2]):
        raise BadModel(f"{directory}: model.safetensors (or pytorch_model.bin) is missing; fetch the model again")
    try:
        with quiet():
            model, info = AutoModel.from_pretrained(
                directory, config=config, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
    except UNREADABLE as error:
        raise BadModel(
            f"{directory}: the weights cannot be read ({_first_line(error)}); fetch the model again"
        ) from error
    except ImportError as error:
        raise MissingExtra(f"{directory}: this model needs another library: {_first_line(error)}") from error
    return model.eval(), check_missing(info["missing_keys"], may_miss, directory)


def check_missing(missing: set[str], may_miss: tuple[str, ...], directory: Path) -> frozenset[str]:
    """Return the missing weights' names when all may be missing. Raises BadModel: transformers would invent them."""
    lost = sorted(name for name in missing if not name.startswith(may_miss))
    if lost:
        raise BadModel(
            f"{directory}: the weights lack {len(lost)} tensors that config.json asks for, first {lost[0]}; "
            "the two do not belong together, or a part of the weights was not copied"
        )
    return frozenset(missing)


def module_weights(directory: Path, name: str) -> torch.Tensor | None:
    """Return one tensor of a checkpoint as float32 without reading the others; None where it has none of that name."""
    for path in _weight_files(directory):
        try:
            if path.suffix == ".safetensors":
                with safe_open(path, "pt") as tensors:
                    found = tensors.get_tensor(name) if name in tensors.keys() else None  # noqa: SIM118 - it has no `in`
            else:
                found = torch.load(path, "cpu", weights_only=True, mmap=True).get(name)
        except UNREADABLE as error:
            raise BadModel(f"{path}: cannot be read ({_first_line(error)}); fetch the model again") from error
        if found is not None:
            return found.float().clone()
    return None


def read_tokenizer(directory: Path) -> Any:
    """Return the transformers tokenizer in `directory`. Raises BadModel; MissingExtra when it needs sentencepiece."""
    # Without these files transformers would make a tokenizer that knows no words.
    if not any(list(directory.glob(pattern)) for pattern in _TOKENIZER_FILES):
        raise BadModel(f"{directory}: tokenizer.json (or vocab.txt) is missing; fetch the model again")
    converted = tokenizer_class(directory) in SIGLIP_TOKENIZERS and (directory / "tokenizer.json").is_file()
    # SigLIP's own class needs the sentencepiece library; the same pieces in tokenizer.json do not.
    kind = PreTrainedTokenizerFast if converted else AutoTokenizer
    try:
        with quiet():
            return kind.from_pretrained(directory, local_files_only=True)
    except ImportError as error:
        raise MissingExtra(
            f"{directory}: its tokenizer needs another library; run: pip install sentencepiece"
        ) from error
    except UNREADABLE as error:
        raise BadModel(
            f"{directory}: the tokenizer cannot be read ({_first_line(error)}); fetch the model again"
        ) from error


def tokenizer_class(directory: Path) -> str | None:
    """Return the class that tokenizer_config.json names, if any."""
    settings = directory / "tokenizer_config.json"
    return read_json(settings).get("tokenizer_class") if settings.is_file() else None


def check_vocabulary(directory: Path, tokenizer: Any, rows: int) -> None:
    """Raise BadModel when the tokenizer can give an id that the text tower has no embedding for.

    Special pieces that no text is given (transformers adds some to every tokenizer) do not count.
    """
    given = {tokenizer.pad_token_id, *tokenizer("un gatto")["input_ids"]}
    never = set(tokenizer.all_special_ids) - given
    largest = max(number for number in tokenizer.get_vocab().values() if number not in never)
    if largest >= rows:
        raise BadModel(
            f"{directory}: the tokenizer gives ids up to {largest}, but the text tower knows only {rows} "
            f"(0 to {rows - 1}); the two do not belong together: copy the tokenizer the model was trained with"
        )


def read_processor(directory: Path) -> Any:
    """Return the transformers image processor in `directory`, the one that works with Pillow. Raises BadModel."""
    if not any((directory / name).is_file() for name in ("preprocessor_config.json", "processor_config.json")):
        raise BadModel(f"{directory}: preprocessor_config.json is missing; fetch the model again")
    try:
        with quiet():
            return AutoImageProcessor.from_pretrained(directory, local_files_only=True, backend="pil")
    except (*UNREADABLE, ImportError) as error:
        raise BadModel(
            f"{directory}: the image processor cannot be read ({_first_line(error)}); fetch the model again"
        ) from error


def fingerprint(directory: Path, rules: str) -> str:
    """Hash what decides a model's vectors: configuration, weights, tokenizer and processor files, and our own `rules`.

    The names of the files count, the directory does not. Returns 64 hex digits.
    """
    small = sorted(path for pattern in _DECIDING_FILES for path in directory.glob(pattern))
    parts = [f"{path.name} {sha256_file(path)}".encode() for path in [*_weight_files(directory), *small]]
    return sha256_parts([rules.encode(), *parts])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and advice off the screen while the block runs; errors are raised as ever."""
    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()


def _weight_files(directory: Path) -> list[Path]:
    return next((found for pattern in WEIGHTS if (found := sorted(directory.glob(pattern)))), [])


def _why_no_hub(error: Exception) -> str:
    if isinstance(error, GatedRepoError):
        return "the hub asks for a login for this model: accept its terms there and set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no public model of this name: check the spelling"
    return (
        f"the hub could not give it ({_first_line(error)}): check the network, unset HF_HUB_OFFLINE, "
        "or copy the model's files to a directory and name that"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

"""From a model directory to a folder that the package may carry: what is ours alone (extras `train` and `export`).

A model whose text tower comes from a pip package becomes a folder for assembly.py: learned numbers as float16, and the
networks of the ordinary export as skeletons, their weights known by the names of the model's tensors. A model that is
all ours is shipped as it is exported, and needs none of this.

Public names: ship, LARGEST.
"""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ..encoder import Encoder
from ..errors import BadModel, CannotWrite
from ..files import atomic_write, sha256_file, whole_folder, write_json
from . import assembly, cache, onnx_export
from .assembly import ALIGNMENT, LEARNED, NETWORKS, PACKAGE_TOWER, Tensor
from .checkpoint import Checkpoint, learned_tensors, load_checkpoint, save_checkpoint
from .onnx_encoder import DESCRIPTION, OnnxEncoder
from .onnx_export import Check
from .torch_encoder import TorchEncoder
from .towers import e5_file, e5_source

LARGEST = 16_000_000  # bytes of a folder
CARD = "README.md"
PROBES = ("gatto", "un cane corre sulla spiaggia")
# Numbers of an exported network that are constants of the computation rather than weights.
MOST_CONSTANT = 16
# Of an export's description, what does not hold for a folder whose parts are elsewhere.
_OF_THE_EXPORT = ("files", "fingerprint", "check", "gate")


def ship(directory: Path, out: Path, *, name: str | None = None, check: Check | None = None) -> OnnxEncoder:
    """Write the model of `directory` to `out`, which must not hold anything yet, and return it opened from there.

    name: what the model is called, the folder's name by default. Its vectors, put together without torch, must have a
    cosine of 0.999 or more to the model's own. check: a further condition, given the model in torch and what a user
    would open, such as the gate, which `clip-italian ship` always gives. `out` comes into being whole and last: when
    anything is refused or fails, nothing is left there. Raises BadModel: weights of a package other than the text
    tower's would have to be stored, or the folder is larger than LARGEST; MissingExtra, CannotWrite, and what `check`
    raises.
    """
    directory, out = Path(directory), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise CannotWrite(f"{out}: already there; name a new folder, nothing is overwritten")
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        before = load_checkpoint(directory)
        checkpoint = _halved(before, work / "half")
        _check_origin(checkpoint)
        onnx_export.export_model(work / "half", work / "exported")
        try:
            with whole_folder(out) as draft:
                shutil.copyfile(work / "half" / LEARNED, draft / LEARNED)
                _describe(draft, checkpoint, work / "exported", name or out.name)
                _check_size(draft)
                with _cache_in(work / "cache"):
                    report = _judged(draft, _torch_encoder(before), check)
                _card(draft / CARD, directory / CARD, name or out.name, report)
                _check_size(draft)
        except OSError as error:
            raise CannotWrite(f"{out}: cannot be written ({error.strerror or error}); nothing is left there") from error
    return assembly.open_assembled(out)


def _halved(checkpoint: Checkpoint, folder: Path) -> Checkpoint:
    """Return the checkpoint as it is once its numbers are float16."""
    folder.mkdir()
    save_checkpoint(checkpoint, folder, half=True)
    return load_checkpoint(folder)


def _check_origin(checkpoint: Checkpoint) -> None:
    """Refuse a model whose weights come from elsewhere than from training and the text tower's package."""
    foreign = set(checkpoint.model.state_dict()) - set(learned_tensors(checkpoint.model))
    if not foreign:
        raise BadModel(f"{checkpoint.name}: all of it was learned: ship it as `clip-italian export` writes it")
    if strange := sorted(key for key in foreign if not key.startswith(PACKAGE_TOWER)):
        raise BadModel(
            f"{checkpoint.name}: {len(strange)} tensors come from a package and would have to be stored, such as "
            f"{strange[0]}; train the model with a tower that is stored whole (no cut)"
        )
    if (kind := checkpoint.model.text_tower.spec["type"]) != "multilingual-e5-small":
        raise BadModel(f"{checkpoint.name}: only multilingual-e5-small is put together from its package, not {kind}")


def _describe(draft: Path, checkpoint: Checkpoint, exported: Path, name: str) -> None:
    """Write the skeletons and model.json."""
    model = checkpoint.model
    tensors = {key: value.numpy() for key, value in onnx_export.exportable(model).state_dict().items()}
    description = _exported_description(exported)
    networks = {file: _skeleton(exported / file, draft / file, tensors) for file in NETWORKS}
    description |= {
        "format": assembly.FORMAT,
        "name": name,
        "networks": networks,
        "files": {file: sha256_file(draft / file) for file in (*NETWORKS, LEARNED)},
        "package": {
            "name": e5_file.PACKAGE,
            "version": e5_file.PACKAGE_VERSION,
            "sha256": e5_file.SHA256,
            "pieces": e5_source.pieces_hash(),
        },
        "probe": _probe(checkpoint),
    }
    write_json(draft / DESCRIPTION, description | {"fingerprint": assembly.fingerprint(description)})


def _exported_description(exported: Path) -> dict[str, Any]:
    """Return an export's description without what holds for the export alone."""
    description = json.loads((exported / DESCRIPTION).read_text("utf-8"))
    return {key: value for key, value in description.items() if key not in _OF_THE_EXPORT}


def _skeleton(source: Path, target: Path, tensors: dict[str, np.ndarray]) -> dict[str, Any]:
    """Write a network without its weights; returns the name and size of the file they will be in, and their order."""
    import onnx

    proto = onnx.load(source)
    weights, order, offset = f"{target.stem}.weights", [], 0
    known = _by_bytes(tensors)
    for initializer in proto.graph.initializer:
        value = onnx.numpy_helper.to_array(initializer)
        if value.size <= MOST_CONSTANT or value.dtype.kind in "ib":
            continue
        tensor = _named(initializer.name, value, tensors, known)
        if tensor is None:
            raise BadModel(
                f"{source.name}: {initializer.name} holds {value.size} numbers that are no tensor of the model; "
                "they may be a package's, and cannot be shipped"
            )
        order.append(tensor)
        length = value.nbytes
        onnx.external_data_helper.set_external_data(initializer, weights, offset, length)
        initializer.ClearField("raw_data")
        offset += length + -length % ALIGNMENT
    proto.graph.ClearField("value_info")  # the runtime finds the shapes between by itself
    with atomic_write(target) as stream:
        stream.write(proto.SerializeToString(deterministic=True))
    return {"weights": weights, "size": offset, "tensors": [str(tensor) for tensor in order]}


def _named(name: str, value: np.ndarray, tensors: dict[str, np.ndarray], known: dict[str, Tensor]) -> Tensor | None:
    own = name.removeprefix("model.")
    if own in tensors and value.dtype == np.float32 and tensors[own].tobytes() == value.tobytes():
        return Tensor(own, turned=False)
    return known.get(_digest(value)) if value.dtype == np.float32 else None


def _by_bytes(tensors: dict[str, np.ndarray]) -> dict[str, Tensor]:
    """Know every tensor, and every matrix turned, by the hash of its bytes."""
    known: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if value.dtype == np.float32:
            if value.ndim == 2:
                known.setdefault(_digest(value.T), Tensor(name, turned=True))
            known[_digest(value)] = Tensor(name, turned=False)
    return known


def _digest(value: np.ndarray) -> str:
    return sha256(str(value.size).encode() + np.ascontiguousarray(value).tobytes()).hexdigest()


def _probe(checkpoint: Checkpoint) -> dict[str, Any]:
    vectors = assembly.probe_vectors(_torch_encoder(checkpoint), PROBES)
    return {"texts": list(PROBES), "vectors": assembly.pack_vectors(vectors)}


def _torch_encoder(checkpoint: Checkpoint) -> TorchEncoder:
    return TorchEncoder(checkpoint.model, checkpoint.tokenizer, checkpoint.preprocess, name=checkpoint.name)


def _card(card: Path, source: Path, name: str, report: str) -> None:
    """Take the model's card over, or say that there is none, and add the check's report."""
    told = source.read_bytes() if source.is_file() else f"# {name}\n\nThe model came without a card.\n".encode()
    with atomic_write(card) as stream:
        stream.write(told)
        if report:
            stream.write(f"\n{onnx_export.REPORTED}\n\n{report}".encode())


def _check_size(draft: Path) -> None:
    size = sum(path.stat().st_size for path in draft.iterdir())
    if size > LARGEST:
        raise BadModel(f"the folder would have {size:,} bytes, more than the {LARGEST:,} that a shipped model may have")


def _judged(draft: Path, before: Encoder, check: Check | None) -> str:
    """Put the draft together, note in its description how it compares; returns the check's report. Raises to refuse."""
    after = assembly.open_assembled(draft)
    cosines = onnx_export._compare(before, after)
    if not min(cosines.values()) >= assembly.LEAST_COSINE:
        raise BadModel(
            f"{before.name}: put together it gives other vectors (cosines from {min(cosines.values()):.4f}, at "
            f"least {assembly.LEAST_COSINE} is asked for); nothing was written"
        )
    found, report = check(before, after) if check else ({}, "")
    description = json.loads((draft / DESCRIPTION).read_text("utf-8")) | {"check": cosines}
    write_json(draft / DESCRIPTION, description | ({"gate": found} if found else {}))
    return report


@contextlib.contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Have weights put together in `folder` meanwhile: a draft may be refused, and is none of the user's models yet."""
    named = os.environ.get(cache.VARIABLE)
    os.environ[cache.VARIABLE] = str(folder)
    try:
        yield
    finally:
        if named is None:
            del os.environ[cache.VARIABLE]
        else:
            os.environ[cache.VARIABLE] = named

"""An exported model directory as an Encoder: onnxruntime, tokenizers, numpy and Pillow, no torch.

`model.json` describes the model and names the SHA-256 of `image.onnx` (pixels (n, 3, h, w) float32, normalised →
vectors (n, dim) unit rows and, mostly, patches (n, grid_h, grid_w, dim) unit vectors), `text.onnx` (ids (n, t) int64,
mask (n, t) bool → vectors (n, dim) unit rows) and `tokenizer.json`. docs/export.md tells how it is made.

Public names: OnnxEncoder, open_directory, open_exported, read_description, fingerprint, is_exported, FORMAT; and for
assembly.py checked_description, KINDS, Kind, is_digest.
"""

import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..encoder import ImageLike
from ..errors import BadModel, MissingExtra, shortened
from ..files import sha256_file, sha256_parts
from ..images import open_image
from ..preprocess import Preprocess
from .pieces import PieceTokenizer

Item = TypeVar("Item")
Kind = tuple[Callable[[Any], bool], str]  # whether a value will do, and what it has to be

FORMAT = "onnx 2"
DESCRIPTION, IMAGE, TEXT, TOKENIZER = "model.json", "image.onnx", "text.onnx", "tokenizer.json"
FILES = (IMAGE, TEXT, TOKENIZER)
VECTORS, PATCHES = "vectors", "patches"  # what networks give
# What decides a vector beside the files themselves; the fingerprint covers it.
SETTINGS = ("format", "dim", "scale", "preprocess", "patch_size", "max_length")
BATCH = 4  # larger ones are no faster on CPUs and hold more maps at once
OTHER_DESCRIPTION = "config.json"  # of a transformers model
_ALONE = "a network alone is no model, as nothing says how its pictures and texts are made ready"
_WRONG_VALUES = (TypeError, ValueError, AttributeError)


def is_digest(value: Any) -> bool:
    """Tell whether a value is a SHA-256 as 64 hex digits."""
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _is_preprocess(value: Any) -> bool:
    return Preprocess.from_json(value) is not None and all(map(_is_number, (*value["mean"], *value["std"])))


# What every description of networks holds. All but the name is hashed by the fingerprint, which can be made anew.
KINDS: dict[str, Kind] = {
    "name": (lambda value: isinstance(value, str) and value.strip() != "" and value.isprintable(), "one line of text"),
    "dim": (_is_count, "a whole number above 0"),
    "scale": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "preprocess": (_is_preprocess, "how pictures are made ready"),
    "patch_size": (lambda value: value is None or _is_count(value), "a whole number above 0, or null"),
    "max_length": (_is_count, "a whole number above 0"),
    "fingerprint": (is_digest, "a SHA-256"),
}
_KINDS: dict[str, Kind] = KINDS | {
    "files": (
        lambda value: set(value) == set(FILES) and all(map(is_digest, value.values())),
        f"the SHA-256 of exactly {', '.join(FILES)}",
    ),
}


class OnnxEncoder:
    """Encodes pictures and texts on the CPU; `scale` is what cosines are multiplied by to make logits.

    Each network is opened when it is first used: a search needs only the text's. Threads: as many as OMP_NUM_THREADS
    says and there are cores, else one a core. `encode_patches` is there when the model can tell where things are.
    """

    encode_patches: Callable[[ImageLike], np.ndarray]

    def __init__(
        self, image: "_Network", text: "_Network", tokenizer: PieceTokenizer, description: Mapping[str, Any]
    ) -> None:
        self.name, self.dim, self.scale = description["name"], description["dim"], float(description["scale"])
        self.fingerprint = fingerprint(description)
        self.preprocess = Preprocess.from_json(description["preprocess"])
        self.tokenizer = tokenizer
        self._image, self._text = image, text
        self._patch_preprocess = self.preprocess
        if description["patch_size"] is not None:
            self._patch_preprocess = replace(self.preprocess, size=description["patch_size"], resize="squash")
            self.encode_patches = self._encode_patches

    def encode_images(self, images: Iterable[ImageLike]) -> np.ndarray:
        """Return (n, dim) float32 unit rows. Raises CorruptImage, BadModel, and TypeError for a single picture."""
        if isinstance(images, str | bytes | Path):
            raise TypeError("encode_images takes several pictures: put a single one into a list")
        return self._encode(images, self._image_batch)

    def encode_texts(self, texts: Iterable[str]) -> np.ndarray:
        """Return (n, dim) float32 unit rows; texts past the model's length are cut.

        Raises TypeError for a single text, BadModel.
        """
        if isinstance(texts, str):
            raise TypeError("encode_texts takes several texts: put a single one into a list")
        return self._encode(texts, self._text_batch)

    def _encode_patches(self, image: ImageLike) -> np.ndarray:
        """Return (grid_h, grid_w, dim) float32 unit vectors: the whole picture, its places in rows.

        Raises CorruptImage, BadModel.
        """
        return self._image.run(PATCHES, pixels=_pixels(self._patch_preprocess, (image,)))[0]

    def _encode(self, items: Iterable[Item], encode: Callable[[tuple[Item, ...]], np.ndarray]) -> np.ndarray:
        iterator = iter(items)
        rows = []
        while batch := tuple(itertools.islice(iterator, BATCH)):
            rows.append(encode(batch))
        return np.concatenate(rows) if rows else np.zeros((0, self.dim), np.float32)

    def _image_batch(self, images: tuple[ImageLike, ...]) -> np.ndarray:
        return self._image.run(pixels=_pixels(self.preprocess, images))

    def _text_batch(self, texts: tuple[str, ...]) -> np.ndarray:
        ids, mask = self.tokenizer.arrays(texts)
        return self._text.run(ids=ids, mask=mask)


class _Network:
    """One ONNX file of known hash, opened when it is first used.

    inputs: name → (onnxruntime's type, number of axes). dim: length of the rows that come out.
    """

    def __init__(self, path: Path, digest: str, inputs: Mapping[str, tuple[str, int]], dim: int) -> None:
        self._path, self._digest, self._inputs, self._dim = path, digest, inputs, dim
        self._session: Any = None

    def run(self, output: str = VECTORS, /, **arrays: np.ndarray) -> np.ndarray:
        """Return (n, …, dim) float32. Raises BadModel: the file is not what it was, or gives something else."""
        if self._session is None:
            self._session = self._open()
        if output not in {one.name for one in self._session.get_outputs()}:
            raise BadModel(f"{self._path}: gives no {output}, but its description says so; export the model again")
        (rows,) = self._session.run([output], arrays)
        if rows.ndim < 2 or rows.shape[-1] != self._dim or not np.isfinite(rows).all():
            raise BadModel(f"{self._path}: gives {output} {rows.shape} that are none; export the model again")
        return rows

    def _open(self) -> Any:
        runtime = _onnxruntime()
        data = _whole(self._path, self._digest)
        options = runtime.SessionOptions()
        options.intra_op_num_threads = _threads()
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._prepare(options)
        try:
            session = runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's errors have no narrower common class
            raise BadModel(f"{self._path}: onnxruntime cannot open it ({error}); export the model again") from error
        found = {one.name: (one.type, len(one.shape)) for one in session.get_inputs()}
        made = {one.name: (one.type, len(one.shape)) for one in session.get_outputs()}
        if found != dict(self._inputs) or made.get(VECTORS) != ("tensor(float)", 2):
            raise BadModel(
                f"{self._path}: takes {found} and gives {made}, expected {dict(self._inputs)} and rows of vectors; "
                "it was not written by `clip-italian export`"
            )
        return session

    def _prepare(self, options: Any) -> None:
        """Add to the session's options; nothing here, weights that lie beside the network in assembly.py."""


def _pixels(preprocess: Preprocess, images: tuple[ImageLike, ...]) -> np.ndarray:
    """Return (n, 3, size, size) float32."""
    squares = [np.asarray(preprocess.square(open_image(image, min_side=preprocess.size))) for image in images]
    return preprocess.normalise(np.stack(squares))


def open_directory(name: str, device: str) -> OnnxEncoder | None:
    """Open an exported model directory as an Encoder; None when `name` is not one.

    Raises BadModel: a file that is missing, cut short or altered, by name and hash; another format; a device other than
    the CPU; networks from elsewhere, which nothing describes. MissingExtra without onnxruntime.
    """
    directory = Path(name)
    if directory.suffix == ".onnx" and directory.is_file():
        raise BadModel(f"{directory}: {_ALONE}; give the directory that `clip-italian export` wrote")
    if not is_exported(directory):
        _refuse_networks_alone(directory)
        return None
    if device != "cpu":
        raise BadModel(f"{directory}: exported models run on the CPU, not on {device!r}; leave the device out")
    return open_exported(directory)


def _refuse_networks_alone(directory: Path) -> None:
    if any((directory / name).exists() for name in (DESCRIPTION, OTHER_DESCRIPTION)):
        return  # another opener's
    try:
        networks = sorted(path.name for path in directory.glob("*.onnx"))
    except OSError:
        return
    if networks:
        raise BadModel(
            f"{directory}: holds {networks[0]}, but no {DESCRIPTION}: {_ALONE}; only what `clip-italian export` wrote "
            "can be opened"
        )


def is_exported(directory: Path) -> bool:
    """Tell whether a directory is an exported model's, a damaged one too."""
    try:
        description = json.loads((directory / DESCRIPTION).read_text("utf-8"))
    except FileNotFoundError:
        return (directory / IMAGE).is_file() and (directory / TEXT).is_file()
    except (OSError, ValueError, RecursionError):
        return (directory / IMAGE).is_file()
    return isinstance(description, dict) and str(description.get("format")).startswith("onnx")


def open_exported(directory: Path, *, name: str | None = None) -> OnnxEncoder:
    """Open an exported model; every file's hash is checked before anything is read out of it. Raises as above.

    name: what the model has to be called.
    """
    _onnxruntime()
    description = read_description(directory, name=name)
    files = description["files"]
    for file in FILES:
        _check(directory / file, files[file])
    try:
        dim = description["dim"]
        image = _Network(directory / IMAGE, files[IMAGE], {"pixels": ("tensor(float)", 4)}, dim)
        inputs = {"ids": ("tensor(int64)", 2), "mask": ("tensor(bool)", 2)}
        text = _Network(directory / TEXT, files[TEXT], inputs, dim)
        tokenizer = PieceTokenizer(_backend(directory / TOKENIZER, files[TOKENIZER]), description["max_length"])
        return OnnxEncoder(image, text, tokenizer, description)
    except _WRONG_VALUES as error:
        raise BadModel(f"{directory / DESCRIPTION}: describes no model ({error}); fetch the model again") from error


def fingerprint(description: Mapping[str, Any]) -> str:
    """Hash all that decides a vector: the files' hashes and the settings; returns 64 hex digits."""
    settings = {key: description[key] for key in SETTINGS}
    files = sorted(description["files"].items())
    return sha256_parts([json.dumps([settings, files], sort_keys=True).encode()])


def read_description(directory: Path, *, name: str | None = None) -> dict[str, Any]:
    """Read and check an exported model's model.json; name: what the model has to be called. Raises BadModel."""
    path = directory / DESCRIPTION
    return checked_description(path, FORMAT, _KINDS, fingerprint, name=name, mend="fetch or export the model again")


def checked_description(
    path: Path,
    form: str,
    kinds: Mapping[str, Kind],
    hashed: Callable[[Mapping[str, Any]], str],
    *,
    name: str | None,
    mend: str,
) -> dict[str, Any]:
    """Read a model.json whose format is `form`, with each key of `kinds` of its kind, and the fingerprint of `hashed`.

    name: what the model has to be called, if anything. mend: what to do about a damaged one. Raises BadModel, which
    names the file and the key.
    """
    try:
        description = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadModel(f"{path}: is missing; {mend}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadModel(f"{path}: cannot be read as a model's description ({error}); {mend}") from error
    found = description.get("format") if isinstance(description, dict) else description
    if not isinstance(description, dict) or found != form:
        raise BadModel(
            f"{path}: format {shortened(repr(found))}, but this version reads {form!r}; update clip-italian, or {mend}"
        )
    for key, (fits, what) in kinds.items():
        if key not in description:
            raise BadModel(f"{path}: describes no model: {key!r} is missing; {mend}")
        if not _holds(fits, description[key]):
            raise BadModel(
                f"{path}: describes no model: {key!r} has to be {what}, not {shortened(repr(description[key]))}; {mend}"
            )
    if (made := hashed(description)) != description["fingerprint"]:
        raise BadModel(
            f"{path}: was altered: its settings have the fingerprint {made[:12]}…, "
            f"not {description['fingerprint'][:12]}…; {mend}"
        )
    if name is not None and description["name"] != name:
        raise BadModel(f"{path}: 'name' has to be {name!r}, not {shortened(repr(description['name']))}; {mend}")
    return description


def _holds(fits: Callable[[Any], bool], value: Any) -> bool:
    """Tell whether a value will do; one that breaks the question will not."""
    try:
        return fits(value)
    except (*_WRONG_VALUES, LookupError, OverflowError):
        return False


def _check(path: Path, expected: str) -> None:
    try:
        found = sha256_file(path)
    except OSError as error:
        raise _unreadable(path, expected, error) from error
    if found != expected:
        raise _altered(path, found, expected)


def _whole(path: Path, expected: str) -> bytes:
    """Read a file and check the very bytes that are used."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _unreadable(path, expected, error) from error
    if (found := sha256(data).hexdigest()) != expected:
        raise _altered(path, found, expected)
    return data


def _unreadable(path: Path, expected: str, error: OSError) -> BadModel:
    what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error.strerror})"
    return BadModel(f"{path}: {what} (SHA-256 {str(expected)[:12]}…); fetch the model again")


def _altered(path: Path, found: str, expected: str) -> BadModel:
    return BadModel(
        f"{path}: was altered or cut short (SHA-256 {found[:12]}…, expected {str(expected)[:12]}…); "
        "fetch the model again"
    )


def _backend(path: Path, digest: str) -> Any:
    import tokenizers

    data = _whole(path, digest)
    try:
        return tokenizers.Tokenizer.from_buffer(data)
    except Exception as error:  # the tokenizers library raises nothing narrower
        raise BadModel(f"{path}: cannot be read as a tokenizer ({error}); fetch the model again") from error


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingExtra(
            "exported models need onnxruntime, which is not installed; run: pip install onnxruntime"
        ) from error
    return onnxruntime


def _threads() -> int:
    """Return how many threads a network may use, by OMP_NUM_THREADS; 0 lets onnxruntime take one a core.

    Of a list, a number for each level of nested loops, the first counts; what is no number above 0 counts as not set.
    """
    try:
        wanted = int(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0])
    except ValueError:
        return 0
    return min(max(wanted, 0), os.cpu_count() or 1)

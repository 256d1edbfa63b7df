"""A shipped model whose weights are put together on first use, without torch: our learned numbers and a pip package's.

Its folder holds what is ours alone: `model.json`, `model.safetensors` with all that was learned (float16), and two
skeletons, `image.onnx` and `text.onnx`: the networks as `clip-italian export` writes them, but with the names of
weights in place of weights. ship.py makes such a folder. The weights, and the tokenizer over the package's pieces, are
made in the user's cache (cache.py), where they are checked whenever they are read and made again when they are not what
they were. The fingerprint is made of hashes of ingredients, never of what came out: the last bits of a matrix product
differ from machine to machine, and vectors of both are the same to five digits.

Public names: open_assembled, is_assembled, read_description, fingerprint, size_made, is_made, Tensor, FORMAT.
"""

import base64
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from ..errors import BadModel
from ..files import sha256_parts
from ..preprocess import Preprocess
from .cache import cache_folder, provide
from .onnx_encoder import (
    DESCRIPTION,
    IMAGE,
    KINDS,
    SETTINGS,
    TEXT,
    TOKENIZER,
    Kind,
    OnnxEncoder,
    _check,
    _Network,
    _whole,
    checked_description,
    is_digest,
)
from .pieces import PieceTokenizer

FORMAT = "assembled 2"  # the last number counts the ways of putting weights together
LEARNED, STAMP = "model.safetensors", "stamp.json"
NETWORKS = (IMAGE, TEXT)
PACKAGE_TOWER = "text_tower."  # whose tensors come from the package where they are not among the learned ones
ALIGNMENT = 64  # bytes at whose multiples every tensor begins
LEAST_COSINE = 0.999
_INPUTS: dict[str, dict[str, tuple[str, int]]] = {
    IMAGE: {"pixels": ("tensor(float)", 4)},
    TEXT: {"ids": ("tensor(int64)", 2), "mask": ("tensor(bool)", 2)},
}
_WRONG_VALUES = (TypeError, ValueError, AttributeError, KeyError)


def _is_network(value: Any) -> bool:
    # A name, not a path: the file is written into the cache.
    return (
        re.fullmatch(r"\w[\w.-]*", value["weights"]) is not None
        and type(value["size"]) is int
        and all(isinstance(tensor, str) for tensor in value["tensors"])
    )


def _are_networks(value: Any) -> bool:
    names = {network["weights"] for network in value.values()} | {TOKENIZER, STAMP}
    return set(value) == set(NETWORKS) and all(map(_is_network, value.values())) and len(names) == len(NETWORKS) + 2


_KINDS: dict[str, Kind] = KINDS | {
    "networks": (_are_networks, f"the weights, size and tensors of {' and '.join(NETWORKS)}"),
    "files": (
        lambda value: set(value) == {*NETWORKS, LEARNED} and all(map(is_digest, value.values())),
        f"the SHA-256 of exactly {', '.join((*NETWORKS, LEARNED))}",
    ),
    "package": (
        lambda value: all(isinstance(value[key], str) for key in ("name", "version", "sha256", "pieces")),
        "the package's name, version, sha256 and pieces",
    ),
    "probe": (
        lambda value: (
            bool(value["texts"])
            and all(isinstance(text, str) for text in value["texts"])
            and isinstance(value["vectors"], str)
        ),
        "texts, and vectors as a string",
    ),
}
_MEND = "install clip-italian again"

Read = Callable[[str], bytes]  # a made file's bytes by its name, checked


class Tensor(NamedTuple):
    """A weight of a network: the model's tensor of this name, turned (transposed) where the network wants it so."""

    name: str
    turned: bool

    def __str__(self) -> str:
        return f"{self.name} turned" if self.turned else self.name

    @classmethod
    def parse(cls, text: str) -> "Tensor":
        """Read what str() wrote."""
        name, _, turned = text.partition(" ")
        return cls(name, turned == "turned")


def is_assembled(directory: Path) -> bool:
    """Tell whether a folder is one of these, a later format's too; a damaged description's is not."""
    try:
        return str(json.loads((directory / DESCRIPTION).read_text("utf-8"))["format"]).startswith("assembled")
    except (OSError, ValueError, RecursionError, *_WRONG_VALUES):
        return False


def open_assembled(directory: Path, *, name: str | None = None) -> OnnxEncoder:
    """Open a shipped folder as an Encoder, and put its weights together where the cache does not have them.

    name: what the model has to be called. The hashes of the folder's files are checked; those of the made files when a
    network is first used, and what is damaged or gone by then is made again. Raises BadModel: a file missing, cut short
    or altered, by name and hash; MissingExtra without the package, its version or onnxruntime; CannotWrite.
    """
    description = read_description(directory, name=name)
    for file, digest in description["files"].items():
        _check(directory / file, digest)
    made = _Made(directory, description)
    made.provide()
    return _encoder(directory, description, made.read)


def read_description(directory: Path, *, name: str | None = None) -> dict[str, Any]:
    """Read and check a shipped folder's model.json; name: what the model has to be called. Raises BadModel."""
    path = directory / DESCRIPTION
    description = checked_description(path, FORMAT, _KINDS, fingerprint, name=name, mend=_MEND)
    try:
        _noted_vectors(description)
    except ValueError as error:
        raise BadModel(
            f"{path}: describes no model: 'probe' has no vectors to compare with ({error}); {_MEND}"
        ) from error
    return description


def fingerprint(description: Mapping[str, Any]) -> str:
    """Hash all that decides a vector: settings, our files, the package's file, how they are put together; 64 digits."""
    deciding = {key: description[key] for key in (*SETTINGS, "networks", "files", "package")}
    return sha256_parts([json.dumps(deciding, sort_keys=True).encode()])


def size_made(description: Mapping[str, Any]) -> int:
    """Return how many bytes the weights take in the cache."""
    return sum(network["size"] for network in description["networks"].values())


def is_made(directory: Path) -> bool:
    """Tell whether the weights of a shipped folder are in the cache, by names and sizes. Raises BadModel."""
    made = _Made(directory, read_description(directory))
    return made.is_complete(cache_folder() / made.name)


class _Made:
    """What the cache holds of a shipped folder: weights for each network, the tokenizer, a stamp of hashes."""

    def __init__(self, directory: Path, description: Mapping[str, Any]) -> None:
        self._directory, self._description = directory, description
        plain = re.sub(r"[^\w.-]", "-", description["name"], flags=re.ASCII)[:80]  # a file's name has 255 bytes at most
        self.name = f"{plain}-{description['fingerprint'][:16]}"
        self.files = [*(network["weights"] for network in description["networks"].values()), TOKENIZER]

    def provide(self, *, wholly: bool = False) -> Path:
        """Return the folder, made if need be; wholly: check hashes, not sizes alone."""
        whole = self._is_whole if wholly else self.is_complete
        return provide(self.name, self._build, whole, size=size_made(self._description))

    def read(self, name: str) -> bytes:
        """Read a file and check the very bytes that are used; make all again when they are not what was made."""
        folder = self.provide()
        try:
            return _whole(folder / name, self._stamp(folder)[name]["sha256"])
        except BadModel:
            folder = self.provide(wholly=True)
        return _whole(folder / name, self._stamp(folder)[name]["sha256"])

    def is_complete(self, folder: Path) -> bool:
        """Tell whether all files are there and of the right size."""
        try:
            stamp = self._stamp(folder)
            return all((folder / name).stat().st_size == stamp[name]["size"] for name in self.files)
        except (OSError, BadModel, *_WRONG_VALUES):
            return False

    def _is_whole(self, folder: Path) -> bool:
        try:
            stamp = self._stamp(folder)
            for name in self.files:
                _check(folder / name, stamp[name]["sha256"])
        except (BadModel, *_WRONG_VALUES):
            return False
        return True

    def _stamp(self, folder: Path) -> dict[str, Any]:
        """Return name → size and SHA-256 of what was made. Raises BadModel."""
        path = folder / STAMP
        try:
            stamp = json.loads(path.read_text("utf-8"))
            if stamp["fingerprint"] != self._description["fingerprint"]:
                raise ValueError("it belongs to another model")
            return stamp["files"]
        except (OSError, RecursionError, *_WRONG_VALUES) as error:
            raise BadModel(f"{path}: cannot be read ({error}); delete {folder}, it is made again") from error

    def _build(self, draft: Path) -> None:
        description, stamp = self._description, {}
        source = _Ingredients(self._directory, description)
        for network in description["networks"].values():
            tensors = [Tensor.parse(text) for text in network["tensors"]]
            try:
                stamp[network["weights"]] = _write(draft / network["weights"], _bytes(source, tensors))
                if stamp[network["weights"]]["size"] != network["size"]:
                    raise ValueError("they have another size")
            except (KeyError, ValueError) as error:
                raise BadModel(f"{self._directory}: its weights do not fit its networks ({error}); {_MEND}") from error
        stamp[TOKENIZER] = _write(draft / TOKENIZER, [source.tokenizer().encode("utf-8")])
        _write(draft / STAMP, [json.dumps({"fingerprint": description["fingerprint"], "files": stamp}).encode()])

        def read(name: str) -> bytes:
            return _whole(draft / name, stamp[name]["sha256"])

        _check_probe(_encoder(self._directory, description, read), description, self._directory)


class _Ingredients:
    """The model's tensors by name, from the learned ones and the package's."""

    def __init__(self, directory: Path, description: Mapping[str, Any]) -> None:
        import safetensors
        import safetensors.numpy

        data = _whole(directory / LEARNED, description["files"][LEARNED])
        try:
            self._learned = safetensors.numpy.load(data)
        except safetensors.SafetensorError as error:
            raise BadModel(f"{directory / LEARNED}: cannot be read ({error}); {_MEND}") from error
        self._package = _package(directory, description["package"])

    def tensor(self, name: str) -> np.ndarray:
        """Return a tensor of the model, float32, low-rank changes added. Raises KeyError."""
        if name in self._learned:
            value = self._learned[name].astype(np.float32)
        elif name.startswith(PACKAGE_TOWER):
            value = self._package.tensor(name.removeprefix(PACKAGE_TOWER))
        else:
            raise KeyError(name)
        place = name.removesuffix(".weight")
        if f"{place}.up" in self._learned:
            up, down = (self._learned[f"{place}.{part}"].astype(np.float32) for part in ("up", "down"))
            value = value + up @ down
        return value

    def tokenizer(self) -> str:
        """Return the tokenizer over the package's kept pieces, as JSON."""
        from .towers import e5_source

        return e5_source.tokenizer(e5_source.kept_pieces()).to_str()


def _package(directory: Path, package: Mapping[str, Any]) -> Any:
    from .towers import e5_file, e5_source

    ours = {"sha256": e5_file.SHA256, "pieces": e5_source.pieces_hash()}
    for key, value in ours.items():
        if package[key] != value:
            raise BadModel(
                f"{directory}: was made with the {key} {package[key]}, but this version of clip-italian reads {value}; "
                f"{_MEND}"
            )
    return e5_source.pretrained(e5_source.kept_pieces())


def _bytes(source: _Ingredients, tensors: Sequence[Tensor]) -> Iterator[bytes]:
    """Yield the tensors one after another, each padded to ALIGNMENT, little-endian."""
    for tensor in tensors:
        value = source.tensor(tensor.name)
        data = np.ascontiguousarray(value.T if tensor.turned else value, "<f4").tobytes()
        yield data + bytes(-len(data) % ALIGNMENT)


def _write(path: Path, parts: Iterator[bytes] | Sequence[bytes]) -> dict[str, Any]:
    """Write a file of a draft; returns its size and SHA-256.

    Not forced to the disk: what a loss of power spoils is found by its hash and made again.
    """
    digest, size = sha256(), 0
    with path.open("wb") as stream:
        for part in parts:
            stream.write(part)
            digest.update(part)
            size += len(part)
    return {"size": size, "sha256": digest.hexdigest()}


class _AssembledNetwork(_Network):
    """A skeleton whose weights come from a file of their own."""

    def __init__(self, path: Path, digest: str, dim: int, weights: str, read: Read) -> None:
        super().__init__(path, digest, _INPUTS[path.name], dim)
        self._weights, self._read = weights, read
        self._data = b""

    def _open(self) -> Any:
        try:
            return super()._open()
        finally:
            self._data = b""  # the runtime has copied what it needs

    def _prepare(self, options: Any) -> None:
        self._data = self._read(self._weights)
        options.add_external_initializers_from_files_in_memory([self._weights], [self._data], [len(self._data)])


def _encoder(directory: Path, description: Mapping[str, Any], read: Read) -> OnnxEncoder:
    import tokenizers

    try:
        image, text = (
            _AssembledNetwork(
                directory / file, description["files"][file], description["dim"],
                description["networks"][file]["weights"], read,
            )
            for file in NETWORKS
        )  # fmt: skip
        tokenizer = PieceTokenizer(tokenizers.Tokenizer.from_buffer(read(TOKENIZER)), description["max_length"])
        encoder = OnnxEncoder(image, text, tokenizer, description)
    except _WRONG_VALUES as error:
        raise BadModel(f"{directory / DESCRIPTION}: describes no model ({error!r}); {_MEND}") from error
    encoder.fingerprint = description["fingerprint"]
    return encoder


def probe_picture(preprocess: Preprocess) -> Image.Image:
    """Draw the picture whose vector is noted when a model is shipped: two slopes of light and a disc."""
    size = preprocess.size
    down, along = np.mgrid[0:size, 0:size] / size
    disc = (down - 0.6) ** 2 + (along - 0.4) ** 2 < 0.04
    return Image.fromarray(np.uint8(np.round(np.stack([along, down, disc * 0.8 + 0.1], -1) * 255)))


def pack_vectors(vectors: np.ndarray) -> str:
    """Put (n, dim) rows into a string, as float16."""
    return base64.b64encode(vectors.astype("<f2").tobytes()).decode("ascii")


def probe_vectors(encoder: Any, texts: Sequence[str]) -> np.ndarray:
    """Return (1 + n, dim): the probe picture's row, then the texts'."""
    return np.concatenate([encoder.encode_images([probe_picture(encoder.preprocess)]), encoder.encode_texts(texts)])


def _noted_vectors(description: Mapping[str, Any]) -> np.ndarray:
    """Return what `probe_vectors` gave when the model was shipped. Raises ValueError where that is no unit rows."""
    probe, dim = description["probe"], description["dim"]
    data = base64.b64decode(probe["vectors"], validate=True)
    rows = np.frombuffer(data, "<f2").astype(np.float32).reshape(1 + len(probe["texts"]), dim)
    if not (abs((rows**2).sum(1) - 1) < 0.01).all():
        raise ValueError("they are not of length 1")
    return rows


def _check_probe(encoder: OnnxEncoder, description: Mapping[str, Any], directory: Path) -> None:
    """Refuse weights that give other vectors than the model had when it was shipped."""
    found = probe_vectors(encoder, description["probe"]["texts"])
    lowest = float((found * _noted_vectors(description)).sum(1).min())
    if not lowest >= LEAST_COSINE:
        raise BadModel(
            f"{directory}: put together on this machine it gives other vectors than it should (cosine {lowest:.4f}); "
            f"{_MEND}, and if that does not help, please report the versions of numpy, onnxruntime and tokenizers"
        )

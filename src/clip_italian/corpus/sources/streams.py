"""Lines of plain and compressed files of any size, in bounded memory.

Public names: blocks, line_blocks, split_lines, lines, Damaged.
"""

import bz2
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import BadRecord, MissingExtra
from ..record import OnSkip
from .source import MAX_LINE

# Small enough for blocks to stay in the processor's cache, which makes reading a third faster than with megabytes.
_READ = 1 << 15
_MOST = 1 << 20  # decompressed bytes at a time, however well a file is compressed


class Damaged(BadRecord):
    """Compressed data is broken or ends early; what came before it was given out."""


def line_blocks(path: Path) -> Iterator[list[bytes]]:
    """Yield a file's lines without their newlines, some hundred at a time; *.gz and *.bz2 are decompressed.

    Of a line longer than MAX_LINE only the first MAX_LINE + 1 bytes are given, which tells it. Raises BadRecord when
    the file cannot be opened or read, Damaged after the last whole line of a broken file, MissingExtra without isal.
    """
    tail = b""
    for block in blocks(path):
        found, tail = split_lines(tail, block)
        if found:
            yield found
    if tail:
        yield [tail]


def split_lines(tail: bytes, block: bytes) -> tuple[list[bytes], bytes]:
    """Return the lines that end in a block, and what is left; `tail` is what the block before left.

    A line is cut after MAX_LINE + 1 bytes.
    """
    found = block.split(b"\n")
    if len(tail) > MAX_LINE:  # in a line that is cut already
        found[0] = b""
    found[0] = (tail + found[0])[: MAX_LINE + 1]
    return found, found.pop()


def lines(path: Path, on_skip: OnSkip) -> Iterator[tuple[int, bytes]]:
    """Yield number (from 1) and content of each line that is not blank.

    Too long lines and a broken end go to `on_skip`. Raises BadRecord, MissingExtra as `line_blocks` does.
    """
    number = 0
    try:
        for block in line_blocks(path):
            for line in block:
                number += 1
                if len(line) > MAX_LINE:
                    on_skip(f"{path}:{number}: a line of more than {MAX_LINE} bytes was passed over; mend or remove it")
                elif line and not line.isspace():
                    yield number, line
    except Damaged as error:
        on_skip(f"{error} ({number} lines before that were read)")


def blocks(path: Path) -> Iterator[bytes]:
    """Yield a file's content, decompressed, in blocks of at most a megabyte. Raises as `line_blocks` does."""
    name = path.name.lower()
    try:
        with path.open("rb", buffering=0) as stream:
            if name.endswith(".gz"):
                yield from _gzip_blocks(path, stream)
            elif name.endswith(".bz2"):
                yield from _bz2_blocks(path, stream)
            else:
                while block := stream.read(4 * _READ):
                    yield block
    except OSError as error:
        raise BadRecord(f"{path}: cannot be read ({error.strerror or error}); check name and rights") from error


def _gzip_blocks(path: Path, stream: Any) -> Iterator[bytes]:
    try:
        from isal import isal_zlib
    except ImportError as error:
        raise MissingExtra(
            "Reading gzip files needs isal, which is not installed; run: pip install 'clip-italian[corpus]'"
        ) from error
    broken: Any = isal_zlib.error
    unpacker: Any = None  # of the member at hand; a file may hold several
    while data := stream.read(_READ):
        while data:
            if unpacker is None:
                data = data.lstrip(b"\0")  # blocks on tapes and some tools pad with zeros
                if not data:
                    break
                unpacker = isal_zlib.decompressobj(wbits=31)
            try:
                block = unpacker.decompress(data, _MOST)
            except broken as error:
                raise _damage(path, stream, str(error)) from error
            if block:
                yield block
            data = unpacker.unconsumed_tail
            if unpacker.eof:
                data, unpacker = unpacker.unused_data, None
    if unpacker is not None:
        raise _damage(path, stream, "it ends early")


def _bz2_blocks(path: Path, stream: Any) -> Iterator[bytes]:
    unpacker: bz2.BZ2Decompressor | None = None
    while data := stream.read(_READ):
        while data:
            unpacker = unpacker or bz2.BZ2Decompressor()
            try:
                block = unpacker.decompress(data, _MOST)
                while block:
                    yield block
                    block = b"" if unpacker.eof or unpacker.needs_input else unpacker.decompress(b"", _MOST)
            except OSError as error:
                raise _damage(path, stream, str(error)) from error
            data = unpacker.unused_data
            if unpacker.eof:
                unpacker = None
            else:
                break
    if unpacker is not None:
        raise _damage(path, stream, "it ends early")


def _damage(path: Path, stream: Any, what: str) -> Damaged:
    return Damaged(f"{path}: the compressed file is damaged near byte {stream.tell()} ({what}); fetch it again")

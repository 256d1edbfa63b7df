"""Where each member of a tar lies, from one walk over the headers; nothing is ever unpacked to disk.

Public names: index, is_tar.
"""

import gzip
import io
import tarfile
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ...errors import BadRecord
from ..sample import ImageRef
from .records import OnSkip, refuse


class _Member(NamedTuple):
    name: str
    offset: int
    size: int


def is_tar(path: Path) -> bool:
    """Tell a tar, plain or compressed, by its name."""
    return path.name.lower().endswith((".tar", ".tar.gz", ".tgz"))


def index(path: Path, *, on_skip: OnSkip | None = None) -> dict[str, ImageRef]:
    """Return the plain files of a tar by name, in its order; of two with one name the later counts, as when unpacking.

    Members of a compressed tar are held in memory, as they cannot be read by position: for many gigabytes use plain
    tars. A tar that ends early or is damaged is refused as BadRecord; where `on_skip` lets reading go on, the members
    before the damage are returned.
    """
    if path.name.lower().endswith(".tar"):
        with path.open("rb") as stream:
            members, flaw = _walk(stream, path.stat().st_size)
        found = {m.name: ImageRef(path, m.name, m.offset, m.size) for m in members}
    else:
        content, packing_flaw = _unpack(path)
        members, flaw = _walk(io.BytesIO(content), len(content))
        flaw = packing_flaw or flaw
        found = {
            m.name: ImageRef(path, m.name, m.offset, m.size, content[m.offset : m.offset + m.size]) for m in members
        }
    if flaw:
        refuse(BadRecord(f"{path}{flaw}; fetch it again ({len(found)} members before that are whole)"), on_skip)
    return found


def _walk(stream: BinaryIO, length: int) -> tuple[list[_Member], str | None]:
    """Return the members up to the end or the first flaw, and the flaw in words that follow the tar's name."""
    found: list[_Member] = []
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                have = length - member.offset_data
                if member.size < 0:
                    return found, f"#{member.name}: the size in its header is negative"
                if member.size > have:
                    return found, f"#{member.name}: the tar ends after {max(have, 0)} of its {member.size} bytes"
                if member.isreg() and not member.issparse():
                    found.append(_Member(member.name, member.offset_data, member.size))
            end = tar.offset
    except (tarfile.TarError, ValueError, OverflowError) as error:
        return found, f": not a tar, or damaged after {len(found)} members ({error})"
    return found, _flaw_at_end(stream, end)


def _flaw_at_end(stream: BinaryIO, end: int) -> str | None:
    """Look at the block where the walk stopped: tarfile takes a cut or broken header for the end without a word."""
    stream.seek(end)
    block = stream.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE:
        return f": the tar ends early, without its closing block, at byte {end + len(block)}"
    return None if not any(block) else f": the header at byte {end} is damaged"


def _unpack(path: Path) -> tuple[bytes, str | None]:
    """Return the decompressed bytes up to the end or the first flaw, and the flaw."""
    content = io.BytesIO()
    try:
        with gzip.open(path, "rb") as stream:
            while chunk := stream.read1(1 << 16):
                content.write(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        return content.getvalue(), f": the compressed data is damaged or ends early ({error})"
    return content.getvalue(), None

"""Files that are whole or absent: atomic writes, hashes, locks.

Public names: atomic_write, write_json, whole_folder, sha256_file, sha256_parts, lock.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from .errors import Busy


@contextlib.contextmanager
def atomic_write(path: Path | str, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success fsync it and rename it over `path`, on failure remove it.

    Readers see the old file or the new one, never half of one. Raises OSError (disk full, no permission) and leaves
    the old file as it was.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    encoding = None if "b" in mode else "utf-8"
    try:
        with os.fdopen(handle, mode, encoding=encoding) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o666 & ~_umask())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented UTF-8 JSON, atomically."""
    with atomic_write(path, "w") as stream:
        json.dump(value, stream, ensure_ascii=False, indent=2)
        stream.write("\n")


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder` that becomes it when the block succeeds, and is removed when it does not.

    `folder` may be there, if empty. A process killed inside the block leaves `.NAME.….part`. Raises OSError.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".part", dir=folder.parent))
    try:
        yield draft
        draft.chmod(0o777 & ~_umask())
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def sha256_file(path: Path | str) -> str:
    """Hash a file's bytes; returns 64 hex digits."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sha256_parts(parts: Iterable[bytes]) -> str:
    """Hash a sequence of byte strings so that moving a boundary changes the result; returns 64 hex digits."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


@contextlib.contextmanager
def lock(path: Path | str, purpose: str, *, wait: bool = False) -> Iterator[None]:
    """Hold an exclusive lock on `path` (made if absent) while the block runs.

    While another process has it: raises Busy, or with `wait` waits. The kernel drops the lock when the process ends,
    however it ends.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"{path}: another process is {purpose} there; wait for it or stop it first") from None
        yield


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

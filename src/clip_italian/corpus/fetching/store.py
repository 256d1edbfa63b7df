"""Pictures by the hash of their bytes: whole or absent, each once.

Public names: Store.
"""

import fcntl
import hashlib
import os
import re
import secrets
from pathlib import Path

from ...errors import CannotWrite, ClipItalianError

_HASH = re.compile(r"[0-9a-f]{64}")


class Store:
    """A folder of JPEGs, ROOT/ab/abcd….jpg, each named by the SHA-256 of its bytes.

    Any number of threads and processes may write to it at once. A process killed while it writes leaves at most files
    in ROOT/.part, which the next `tidy` removes. After a loss of power, pictures of the last seconds may be missing,
    but none is half there.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._part = self.root / ".part"

    def path(self, sha256: str) -> Path:
        """Return where a picture lies, whether it is there or not. Raises ClipItalianError if that is no hash."""
        if not _HASH.fullmatch(sha256):
            raise ClipItalianError(f"{sha256[:80]!r}: not a SHA-256 of 64 hexadecimal digits; name a stored picture")
        return self.root / sha256[:2] / f"{sha256}.jpg"

    def put(self, data: bytes) -> str:
        """Store bytes unless they are there, and return their SHA-256. Raises CannotWrite."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self.path(sha256)
        try:
            if not (path.exists() and path.stat().st_size == len(data)):
                self._write(data, path)
        except OSError as error:
            raise CannotWrite(
                f"{path}: cannot be written ({error.strerror or error}); free space or mend permissions, and run "
                "again: what was fetched so far stays"
            ) from error
        return sha256

    def remove(self, sha256: str) -> bool:
        """Remove a picture; returns whether it was there. Raises CannotWrite."""
        path = self.path(sha256)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise CannotWrite(
                f"{path}: cannot be removed ({error.strerror}); check the folder's permissions"
            ) from error
        return True

    def tidy(self) -> int:
        """Remove what killed processes left half written, and nothing that one still writes; returns how many."""
        removed = 0
        for path in self._part.glob("*") if self._part.is_dir() else ():
            try:
                with path.open("rb") as stream:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                    removed += 1
            except (BlockingIOError, FileNotFoundError):
                continue  # its writer lives, or has just finished
        return removed

    def _write(self, data: bytes, path: Path) -> None:
        """Write to a file in ROOT/.part that is locked meanwhile, make it last, then give it its name."""
        while True:
            self._part.mkdir(parents=True, exist_ok=True)
            path.parent.mkdir(exist_ok=True)
            part = self._part / secrets.token_hex(12)
            try:
                with part.open("xb", buffering=0) as stream:
                    fcntl.flock(stream, fcntl.LOCK_EX)
                    view = memoryview(data)
                    while view:
                        view = view[stream.write(view) :]
                    os.fsync(stream.fileno())
                    part.replace(path)
                return
            except FileNotFoundError:
                if part.exists():
                    raise
                # Another process tidied between the file's making and its lock: write it again.
            except BaseException:
                part.unlink(missing_ok=True)
                raise

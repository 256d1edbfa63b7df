"""A captioned picture, wherever its bytes lie.

Public names: Caption, ImageRef, Sample, corpora.
"""

import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import BadRecord


@dataclass(frozen=True)
class Caption:
    """One sentence and its language ("it", "en", …)."""

    text: str
    language: str = "it"


@dataclass(frozen=True)
class ImageRef:
    """Where a picture's bytes lie: a file, `size` bytes at `offset` of a tar, or `data` for a compressed tar's member.

    A member without size was looked for in its tar and not found.
    """

    path: Path
    member: str | None = None
    offset: int = 0
    size: int | None = None
    data: bytes | None = field(default=None, repr=False, compare=False)

    def read(self) -> bytes:
        """Return the encoded picture's bytes. Raises BadRecord when the file is gone or ends early.

        Safe from many threads and after a fork: tars are read by position, without a shared file offset.
        """
        if self.data is not None:
            return self.data
        try:
            if self.member is None:
                return self.path.read_bytes()
            if self.size is None:
                raise BadRecord(f"{self}: no such member in the tar; fetch the tar again or leave the picture out")
            data = os.pread(_descriptor(self.path, os.getpid()), self.size, self.offset)
        except OSError as error:
            raise BadRecord(f"{self}: cannot be read ({error.strerror}); check that the file is there") from error
        if len(data) < self.size:
            raise BadRecord(f"{self}: the tar ends after {len(data)} of {self.size} bytes; fetch it again")
        return data

    def __str__(self) -> str:
        return f"{self.path}#{self.member}" if self.member else str(self.path)


@dataclass(frozen=True)
class Sample:
    """A picture with what is said about it.

    key: stable name of the sample within its data set; label: class index for classification sets.
    """

    key: str
    image: ImageRef
    captions: tuple[Caption, ...] = ()
    queries: tuple[str, ...] = ()
    label: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether every object is told, as of drawn scenes: of a changed part, number or place would be false."""
        return bool(self.extra.get("objects"))

    def texts(self, language: str) -> tuple[str, ...]:
        """Return the captions in one language, in file order."""
        return tuple(c.text for c in self.captions if c.language == language)


def corpora(samples: Iterable[Sample]) -> list[str]:
    """Return the names of the corpora that samples say they are of, as the shards of `clip-italian corpus` do."""
    return sorted({name for sample in samples if isinstance(name := sample.extra.get("corpus"), str)})


_lock = threading.Lock()


@lru_cache(maxsize=64)
def _open(path: Path, process: int) -> int:
    return os.open(path, os.O_RDONLY)


def _descriptor(path: Path, process: int) -> int:
    with _lock:
        return _open(path, process)

"""Fetch the pictures, or take them in from files; what is stored passed all checks, upright and small.

Public names: run.
"""

import itertools
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from ...data.readers.tars import index, is_tar
from ...data.sample import ImageRef
from ...errors import BadRecord, CorruptImage
from ...images import printable
from ..corpus import Corpus, Report
from ..fetching.fetch import fetch
from ..fetching.outcome import Job, Outcome
from ..fetching.pictures import BadPicture, take_in
from ..leaving import Gone
from ..ledger import Picture

_EVERY_S, _MANY = 1.0, 500  # outcomes are written after so long or so many
_MEMBER = re.compile(r"(.+?\.(?:tar|tar\.gz|tgz))#(.+)", re.IGNORECASE | re.DOTALL)


def run(corpus: Corpus, report: Report) -> None:
    """Fetch each address once, and refuse the samples whose picture cannot be had, with the reason.

    Local files come first. What has left the corpus is not stored again. Raises CannotWrite when the disk is full.
    """
    writing = _Writing(corpus, report)
    try:
        for picture in _local(corpus, corpus.ledger.wanted()):
            writing.take(picture)
        remote = (image for image in corpus.ledger.wanted() if _is_remote(image))
        fetch((Job(image, image) for image in remote), corpus.store, corpus.plan.fetching, writing.take_outcome)
    finally:
        writing.flush()
    corpus.ledger.settle_fetched()


class _Writing:
    """Outcomes on their way to the ledger."""

    def __init__(self, corpus: Corpus, report: Report) -> None:
        self.corpus, self.report = corpus, report
        self.gone = Gone(corpus.ledger)
        self.total = corpus.ledger.count_wanted()
        self.done, self.waiting, self.since = 0, list[Picture](), time.monotonic()

    def take_outcome(self, outcome: Outcome) -> None:
        """Take what became of an address."""
        self.take(Picture(outcome.id, **{k: v for k, v in outcome.to_json().items() if k not in ("id", "url")}))

    def take(self, picture: Picture) -> None:
        """Keep it for the next transaction; a picture that has left is thrown away."""
        if picture.sha256 in self.gone.pictures or self.gone.covers_place(picture.final_url):
            if picture.sha256 and not self.corpus.ledger.is_used(picture.sha256):
                self.corpus.store.remove(picture.sha256)
            picture = Picture(picture.image, "left", picture.http_status, fetched_at=picture.fetched_at)
        self.waiting.append(picture)
        self.done += 1
        if len(self.waiting) >= _MANY or time.monotonic() - self.since > _EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self.waiting:
            with self.corpus.ledger.transaction():
                self.corpus.ledger.write_pictures(self.waiting)
            self.waiting = []
        self.since = time.monotonic()
        self.report.work("fetching", self.done, self.total)


def _is_remote(image: str) -> bool:
    return image.lower().startswith(("http://", "https://"))


def _local(corpus: Corpus, images: Iterable[str]) -> Iterator[Picture]:
    """Take in the pictures that lie in files and tars, in a few threads."""
    find = _Files(corpus.root, corpus.plan.fetching.max_bytes)
    local = (image for image in images if not _is_remote(image))
    with ThreadPoolExecutor(corpus.plan.fetching.threads) as pool:
        while some := list(itertools.islice(local, 256)):
            yield from pool.map(lambda image: _taken_in(corpus, image, find), some)


def _taken_in(corpus: Corpus, image: str, find: Callable[[str], ImageRef]) -> Picture:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    try:
        stored = take_in(find(image).read(), corpus.store, corpus.plan.fetching)
    except BadPicture as fault:
        return Picture(image, fault.status, fetched_at=now, error=str(fault))
    except CorruptImage as fault:
        return Picture(image, "damaged", fetched_at=now, error=str(fault))
    except BadRecord as fault:
        return Picture(image, "missing", fetched_at=now, error=str(fault))
    return Picture(
        image, "ok", sha256=stored.sha256, width=stored.width, height=stored.height, size=stored.size, fetched_at=now
    )


class _Files:
    """Finds local pictures; each tar is read through once."""

    def __init__(self, root: Path, most: int) -> None:
        self.root, self.most = root, most
        self.tars: dict[str, dict[str, ImageRef]] = {}

    def __call__(self, image: str) -> ImageRef:
        """Return where a picture lies. Raises BadRecord when it does not."""
        match = _MEMBER.fullmatch(image)
        path = self._inside(match[1] if match else image)
        if match is None:
            return ImageRef(path)
        if match[1] not in self.tars:
            self.tars[match[1]] = index(path)
        found = self.tars[match[1]].get(match[2])
        if found is None:
            raise BadRecord(f"{self.root / match[1]}: has no member {match[2]}; mend the source")
        return found

    def _inside(self, name: str) -> Path:
        """Return a plain file in the plan's folder: data must not name any file of this machine. Raises BadRecord."""
        path = Path(os.path.normpath(self.root / name))
        if not path.is_relative_to(self.root):
            raise BadRecord(
                f"{printable(path)}: lies outside the plan's folder; put it, or a link to its folder, there"
            )
        if not path.is_file():
            raise BadRecord(f"{printable(path)}: there is no such file; put it there or mend the source")
        if not is_tar(path) and path.stat().st_size > self.most:
            raise BadRecord(f"{printable(path)}: has more than max_bytes; make it smaller")
        return path

"""Evaluation pictures must not be trained on: recognise them by id, by bytes, by hash and by vector.

Public names: EvaluationSet, TestPictures, read_test_set.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from ...data.readers import read
from ...data.sample import ImageRef
from ...encoder import Encoder
from ...errors import BadRecord, CorruptImage
from ...images import open_image
from ..record import OnSkip, Record
from .addresses import Identity, identify
from .combine import bits_between
from .ids import EvaluationIds, read_names, shipped_ids
from .perceptual import phash
from .plan import DuplicatePlan, Likeness

_ROWS = 256  # pictures compared with a whole test set at once
_BATCH = 64  # pictures encoded at once
_MIN_SIDE = 224  # pixels of the shorter side that a picture is decoded to, at least twice over, for hash and vector


@dataclass(frozen=True)
class TestPictures:
    """The pictures of one test set.

    name: of the set. keys: of its pictures. sha256: hex digest of each file's bytes. hashes: (t,) uint64. vectors:
    (t, dim) float32 unit rows, or None. ids: what the pictures' names tell.
    """

    __test__ = False  # pytest takes a class of this name for tests

    name: str
    keys: tuple[str, ...]
    sha256: tuple[str, ...]
    hashes: np.ndarray
    vectors: np.ndarray | None = None
    ids: EvaluationIds = field(default_factory=lambda: EvaluationIds(""))


def read_test_set(path: Path, *, encoder: Encoder | None = None, on_skip: OnSkip | None = None) -> TestPictures:
    """Read a folder of pictures, JSON lines or a tar (`data.readers.read`), hash it, and, given an encoder, encode it.

    A JSON-lines file may name pictures that are not there: they still count by their ids. Raises BadRecord, also for
    pictures that cannot be opened, unless on_skip takes the message.
    """
    keys, digests, hashes, vectors, names = [], [], [], [], []
    waiting: list[Any] = []
    for sample in read(path, missing="keep", on_skip=on_skip):
        names.append(_identity(sample.key, sample.extra))
        if _absent(sample.image):
            continue
        try:
            data = sample.image.read()
            image = open_image(data, min_side=_MIN_SIDE)
        except (BadRecord, CorruptImage) as error:
            message = f"{path}, {sample.key}: cannot be compared with the corpus ({error})"
            if on_skip is None:
                raise BadRecord(message) from error
            on_skip(message)
            continue
        keys.append(sample.key)
        digests.append(hashlib.sha256(data).hexdigest())
        hashes.append(phash(image))
        if encoder is not None:
            waiting.append(image)
            if len(waiting) == _BATCH:
                vectors.append(encoder.encode_images(waiting))
                waiting = []
    if encoder is not None and waiting:
        vectors.append(encoder.encode_images(waiting))
    stacked = np.concatenate(vectors) if vectors else None
    ids = EvaluationIds.of(path.name, names)
    return TestPictures(path.name, tuple(keys), tuple(digests), np.array(hashes, np.uint64), stacked, ids)


class EvaluationSet:
    """Everything that evaluations use; `matches` says of records and pictures which of it they are.

    ids: sets known by id. tests: sets whose pictures are at hand. likeness: how near a picture must be to one of these.
    """

    def __init__(
        self, ids: Sequence[EvaluationIds] = (), tests: Sequence[TestPictures] = (), likeness: Likeness | None = None
    ) -> None:
        self.ids = (*ids, *(test.ids for test in tests))
        self.tests = tuple(tests)
        self.likeness = likeness or DuplicatePlan().evaluation
        self._bytes = {
            digest: f"{test.name}: same bytes as {key}"
            for test in tests
            for key, digest in zip(test.keys, test.sha256, strict=True)
            if digest  # "" is not known, on either side
        }

    @classmethod
    def open(
        cls, plan: DuplicatePlan, root: Path, *, encoder: Encoder | None = None, on_skip: OnSkip | None = None
    ) -> Self:
        """Gather what the plan names; relative paths are under `root`. Raises BadRecord.

        encoder: for the vectors of the test pictures, the same one whose vectors `matches` is given.
        """
        ids = [shipped_ids(name) for name in plan.sets] + [read_names(root / name) for name in plan.id_files]
        tests = [read_test_set(root / name, encoder=encoder, on_skip=on_skip) for name in plan.test_sets]
        return cls(ids, tests, plan.evaluation)

    def matches(
        self,
        records: Sequence[Record] = (),
        *,
        sha256: Sequence[str] = (),
        hashes: np.ndarray | None = None,
        vectors: np.ndarray | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Return for each picture which evaluation picture it is and by what, "" when it is none.

        records, sha256, hashes (n,), vectors (n, dim): what is known of n pictures, in one order; each may be left out.
        The first reason counts, in this order: id, bytes, hash, hash with vector. progress: called with pictures done
        and all. Time: n × test pictures, some 20 ns each with vectors of 512 numbers. Raises ValueError when the
        lengths differ, or when vectors are given and a test set has none or of another length.
        """
        given = [values for values in (records, sha256, hashes, vectors) if values is not None and len(values)]
        n = len(given[0]) if given else 0
        if any(len(values) != n for values in given):
            raise ValueError(f"the pictures' columns have different lengths: {[len(values) for values in given]}")
        reasons = [self.match_record(record) for record in records] or [""] * n
        reasons = [
            reason or self._bytes.get(digest, "") for reason, digest in zip(reasons, sha256 or [""] * n, strict=True)
        ]
        if hashes is not None:
            for start in range(0, n, _ROWS):
                part = slice(start, start + _ROWS)
                near = self._near(np.asarray(hashes[part], np.uint64), None if vectors is None else vectors[part])
                reasons[part] = [reason or other for reason, other in zip(reasons[part], near, strict=True)]
                if progress:
                    progress(min(start + _ROWS, n), n)
        return reasons

    def match_record(self, record: Record) -> str:
        """Return which evaluation picture a record is by its ids, "" when it is none. Needs no picture."""
        for text in (record.image, record.page, record.key):
            known = _identity(text, record.extra)
            for ids in self.ids if known else ():
                if reason := ids.match(known):
                    return reason
        return ""

    def _near(self, hashes: np.ndarray, vectors: np.ndarray | None) -> list[str]:
        reasons = [""] * len(hashes)
        for test in self.tests:
            bits = bits_between(hashes[:, None], test.hashes[None], self.likeness)
            cosines = _cosines(vectors, test)
            rows, columns = np.nonzero(bits <= (self.likeness.bits if cosines is None else self.likeness.reach))
            near = bits[rows, columns]
            alike = self.likeness.alike(near, None if cosines is None else cosines[rows, columns])
            rows, columns, near = rows[alike], columns[alike], near[alike]
            for place in np.argsort(near, kind="stable"):
                row, column = rows[place], columns[place]
                if not reasons[row]:
                    by = f"{near[place]} bits"
                    by += "" if cosines is None else f", cosine {cosines[row, column]:.2f}"
                    reasons[row] = f"{test.name}: near {test.keys[column]} ({by})"
        return reasons


def _absent(image: ImageRef) -> bool:
    if image.data is not None:
        return False
    return not image.path.exists() if image.member is None else image.size is None


def _cosines(vectors: np.ndarray | None, test: TestPictures) -> np.ndarray | None:
    if vectors is None:
        return None
    if test.vectors is None or test.vectors.shape[1] != vectors.shape[1]:
        raise ValueError(f"the pictures have vectors, and {test.name} has none of the same encoder; encode both")
    return np.asarray(vectors, np.float32) @ test.vectors.T


def _identity(text: str, extra: Mapping[str, Any]) -> Identity:
    """Read ids from a name or address, and from what a record says of itself, which goes first."""
    known = identify(text)
    stated = {name: _number(extra.get(name)) for name in ("coco_id", "flickr_id")}
    return Identity(
        known.coco if stated["coco_id"] is None else stated["coco_id"],
        known.flickr if stated["flickr_id"] is None else stated["flickr_id"],
        known.open_images,
    )


def _number(value: Any) -> int | None:
    return int(value) if isinstance(value, int) or (isinstance(value, str) and value.isdecimal()) else None

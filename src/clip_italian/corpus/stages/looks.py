"""How pictures look: a perceptual hash of each, and a vector where the plan names a model.

Public names: run, vector_array.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...encoder import Encoder
from ...errors import CorruptImage
from ..corpus import Corpus, Report
from ..duplicates.perceptual import phash_file
from ..parallel import map_batches

_HASHED, _ENCODED = 256, 128  # pictures in a batch


def run(corpus: Corpus, report: Report, encoder: Encoder | None) -> int:
    """Hash, and with an encoder encode, the pictures that were not before. Vectors of another model are forgotten.

    Returns how many pictures are lost or damaged since they were stored: they are forgotten, to be fetched again.
    """
    lost = _hash(corpus, report)
    if encoder is None:
        return lost
    if corpus.ledger.note("vectors by") not in ("", encoder.fingerprint):
        corpus.ledger.forget_vectors()
    with corpus.ledger.transaction():
        corpus.ledger.write_note("vectors by", encoder.fingerprint)
    done = 0
    for hashes in corpus.ledger.unseen("vector", _ENCODED):
        vectors = encoder.encode_images([corpus.store.path(sha256) for sha256 in hashes]).astype("<f2")
        corpus.ledger.write_looks(
            "vector", [(sha256, vector.tobytes()) for sha256, vector in zip(hashes, vectors, strict=True)]
        )
        done += len(hashes)
        report.work("encoding pictures", done, None)
    return lost


def vector_array(blobs: list[bytes]) -> np.ndarray:
    """Return (n, dim) float32 unit rows of vectors as the ledger keeps them."""
    rows = np.stack([np.frombuffer(blob, "<f2") for blob in blobs]).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def _hash(corpus: Corpus, report: Report) -> int:
    done, lost, run = 0, 0, corpus.plan.run
    for paths, hashes in map_batches(_hashed, _paths(corpus), jobs=run.workers, where=run.where):
        found = {path.stem: value for path, value in zip(paths, hashes, strict=True)}
        corpus.ledger.write_looks("phash", [(sha256, value) for sha256, value in found.items() if value is not None])
        for sha256 in (sha256 for sha256, value in found.items() if value is None):
            corpus.store.remove(sha256)
            corpus.ledger.forget_stored(sha256)
            lost += 1
        done += len(paths)
        report.work("hashing pictures", done, None)
    return lost


def _paths(corpus: Corpus) -> Iterator[list[Path]]:
    for hashes in corpus.ledger.unseen("phash", _HASHED):
        yield [corpus.store.path(sha256) for sha256 in hashes]


def _hashed(paths: list[Path]) -> list[int | None]:
    return [_phash(path) for path in paths]


def _phash(path: Path) -> int | None:
    try:
        return phash_file(path)
    except CorruptImage:
        return None  # lost or damaged since it was stored, as after a loss of power

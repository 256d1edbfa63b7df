"""Pictures and texts of a data set to vectors, batch by batch; what cannot be read is counted, not fatal.

Public names: Pictures, Skip, Progress, encode_pictures, encode_texts.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..data.sample import Sample
from ..encoder import Encoder
from ..errors import BadModel, BadRecord, CorruptImage
from ..images import printable

Progress = Callable[[str, int, int], None]  # what is encoded ("pictures", "texts"), how many are done, of how many


@dataclass(frozen=True)
class Skip:
    """A picture or query left out of a measurement, and why; both printable, whatever bytes a file's name holds."""

    key: str
    reason: str


@dataclass(frozen=True)
class Pictures:
    """The pictures that could be encoded, in file order.

    samples: n of them. vectors: (n, dim) float32. hashes: (n,) SHA-256 of each picture's bytes, as hex digits.
    """

    samples: tuple[Sample, ...]
    vectors: np.ndarray
    hashes: np.ndarray
    skipped: tuple[Skip, ...]


def encode_pictures(
    encoder: Encoder, samples: Sequence[Sample], *, batch: int = 64, progress: Progress | None = None
) -> Pictures:
    """Read and encode every sample's picture; those that are missing, cut short or no pictures are listed in `skipped`.

    Raises BadRecord when not a single one is left, BadModel when the encoder breaks its contract.
    """
    kept: list[Sample] = []
    vectors: list[np.ndarray] = []
    hashes: list[str] = []
    skipped: list[Skip] = []
    for start in range(0, len(samples), batch):
        some = samples[start : start + batch]
        files = [_read_or_explain(sample) for sample in some]
        rows = iter(_encode_or_explain(encoder, [data for data in files if isinstance(data, bytes)]))
        for sample, data in zip(some, files, strict=True):
            row = data if isinstance(data, BadRecord) else next(rows)
            if isinstance(row, np.ndarray) and isinstance(data, bytes):
                kept.append(sample)
                vectors.append(row)
                hashes.append(hashlib.sha256(data).hexdigest())
            else:
                skipped.append(Skip(printable(sample.key), printable(str(row))))
        if progress:
            progress("pictures", min(start + batch, len(samples)), len(samples))
    if not kept:
        why = f"; the first: {skipped[0].key}: {skipped[0].reason}" if skipped else ""
        raise BadRecord(f"none of the {len(samples)} pictures could be read{why}")
    return Pictures(tuple(kept), np.stack(vectors), np.array(hashes), tuple(skipped))


def encode_texts(
    encoder: Encoder, texts: Sequence[str], *, batch: int = 256, progress: Progress | None = None
) -> np.ndarray:
    """Encode every text; returns (n, dim) float32. Raises BadModel when the encoder breaks its contract.

    A repeated text is encoded once, so that its copies have the same vector to the last bit and tie.
    """
    distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    pending = list(distinct)
    blocks = [np.empty((0, encoder.dim), np.float32)]
    for start in range(0, len(pending), batch):
        block = pending[start : start + batch]
        blocks.append(_checked(encoder, encoder.encode_texts(block), len(block)))
        if progress:
            progress("texts", start + len(block), len(pending))
    return np.concatenate(blocks)[[distinct[text] for text in texts]]


def _read_or_explain(sample: Sample) -> bytes | BadRecord:
    try:
        return sample.image.read()
    except BadRecord as error:
        return error


def _encode_or_explain(encoder: Encoder, pictures: list[bytes]) -> list[np.ndarray | CorruptImage]:
    """Return a vector or the error for each picture; a batch with a bad one is halved until it stands alone."""
    if not pictures:
        return []
    try:
        return list(_checked(encoder, encoder.encode_images(pictures), len(pictures)))
    except CorruptImage as error:
        if len(pictures) == 1:
            return [error]
        half = len(pictures) // 2
        return _encode_or_explain(encoder, pictures[:half]) + _encode_or_explain(encoder, pictures[half:])


def _checked(encoder: Encoder, vectors: np.ndarray, n: int) -> np.ndarray:
    if vectors.shape != (n, encoder.dim):
        raise BadModel(f"{encoder.name}: {vectors.shape} vectors where {(n, encoder.dim)} were due")
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
    wrong = ~(np.abs(lengths - 1) < 0.01)  # written so that NaN is wrong too; half precision stays within
    if wrong.any():
        raise BadModel(
            f"{encoder.name}: {wrong.sum()} of {n} vectors are not of length 1 (one: {lengths[wrong.argmax()]:.4g}); "
            "its weights or its precision are broken"
        )
    return vectors.astype(np.float32, copy=False)

"""Of all samples that show one picture keep one, and none that an evaluation uses or that has left.

Public names: run.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...encoder import Encoder
from ..corpus import Corpus, Report
from ..duplicates.combine import Pictures, find_duplicates
from ..duplicates.evaluation import EvaluationSet
from ..leaving import Gone
from ..ledger import FETCHED, UNIQUE, Look

_AT_ONCE = 20_000  # pictures compared with the evaluation's at a time


def run(corpus: Corpus, report: Report, encoder: Encoder | None) -> None:
    """Settle all samples whose pictures are there. Memory: about 2 KB a sample with vectors of 512 numbers."""
    samples, vectors = _samples(corpus, encoder)
    if not samples:
        return
    reasons = _left(corpus, samples)
    reasons = _evaluated(corpus, report, samples, vectors, reasons, encoder)
    stays = [i for i, reason in enumerate(reasons) if not reason]
    refused = [(samples[i].id, reason, "") for i, reason in enumerate(reasons) if reason]
    if stays:
        refused += _duplicates(corpus, report, [samples[i] for i in stays], None if vectors is None else vectors[stays])
    corpus.ledger.refuse(UNIQUE, refused)


def _samples(corpus: Corpus, encoder: Encoder | None) -> tuple[list[Look], np.ndarray | None]:
    """Return the samples, and their vectors as (n, dim) float16, which is how they are kept."""
    if encoder is None:
        return list(corpus.ledger.looks()), None
    vectors = np.empty((corpus.ledger.standing(FETCHED), encoder.dim), np.float16)
    samples = []
    for i, sample in enumerate(corpus.ledger.looks()):
        vectors[i] = np.frombuffer(sample.vector, "<f2")
        samples.append(replace(sample, vector=b""))
    return samples, vectors[: len(samples)]


def _left(corpus: Corpus, samples: Sequence[Look]) -> list[str]:
    """Refuse what looks like a picture that has left: it may have come back at another size or address."""
    hashes = np.array([sample.phash for sample in samples], np.uint64)
    near = Gone(corpus.ledger).near(hashes, corpus.plan.duplicates.same.bits)
    return ["left: its picture has left the corpus" if one else "" for one in near]


def _evaluated(
    corpus: Corpus, report: Report, samples: Sequence[Look], vectors: np.ndarray | None, reasons: list[str],
    encoder: Encoder | None,
) -> list[str]:  # fmt: skip
    evaluation = EvaluationSet.open(corpus.plan.duplicates, corpus.root, encoder=encoder, on_skip=report.say)
    found = []
    for start in range(0, len(samples), _AT_ONCE):
        some = samples[start : start + _AT_ONCE]
        entries = corpus.ledger.entries([sample.id for sample in some])
        found += evaluation.matches(
            [entry.record for entry in entries], sha256=[sample.sha256 for sample in some],
            hashes=np.array([sample.phash for sample in some], np.uint64),
            vectors=None if vectors is None else vectors[start : start + _AT_ONCE].astype(np.float32),
        )  # fmt: skip
        report.work("comparing with evaluations", start + len(some), len(samples))
    return [reason or (f"evaluation: {match}" if match else "") for reason, match in zip(reasons, found, strict=True)]


def _duplicates(
    corpus: Corpus, report: Report, samples: Sequence[Look], vectors: np.ndarray | None
) -> list[tuple[str, str, str]]:
    """Return (id, reason, the one that stays) of the samples that go."""
    ids = [sample.id for sample in samples]
    pictures = Pictures(
        ids, [sample.image for sample in samples], [sample.sha256 for sample in samples],
        np.array([sample.phash for sample in samples], np.uint64), np.array([sample.pixels for sample in samples]),
        np.array([sample.captions for sample in samples]), vectors,
    )  # fmt: skip
    found = find_duplicates(
        pictures, corpus.plan.duplicates, lambda what: report.work(f"duplicates by {what}", 0, None)
    )
    return [
        (ids[i], f"duplicate: {found.reason(i, ids)}", ids[keeper])
        for i, keeper in enumerate(found.keeper.tolist())
        if keeper != i
    ]

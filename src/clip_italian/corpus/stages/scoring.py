"""Judge the captions once more, as they are trained on: translations by rules and signals, all by their pictures.

Public names: run.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ...encoder import Encoder
from ..corpus import Corpus, Report
from ..filters.check import Filters
from ..ledger import SCORED, TRANSLATED, Entry, Told
from ..quality.plan import QualityPlan
from ..quality.signals import alarms, signals
from .looks import vector_array

_BATCH = 256


def run(corpus: Corpus, report: Report, encoder: Encoder | None) -> None:
    """Measure, then drop captions by the plan's limits; a sample of which none is left is refused."""
    filters, plan = Filters(corpus.plan.filters), corpus.plan
    total, done = corpus.ledger.standing(TRANSLATED), 0
    for entries in corpus.ledger.batches(TRANSLATED, _BATCH):
        if encoder is not None:
            entries = _compared(corpus, entries, encoder)
        corpus.ledger.settle([_judged(entry, filters, plan.quality, plan.similarity.at_least) for entry in entries])
        done += len(entries)
        report.work("scoring", done, total)
    if encoder is not None and plan.similarity.best < 1:
        corpus.ledger.keep_best(plan.similarity.best)


def _compared(corpus: Corpus, entries: Sequence[Entry], encoder: Encoder) -> list[Entry]:
    """Return the samples with each caption's cosine to its picture."""
    pictures = corpus.ledger.pictures_of([entry.record.image for entry in entries])
    hashes = [pictures[entry.record.image].sha256 for entry in entries]
    vectors = corpus.ledger.vectors(sorted(set(hashes)))
    images = vector_array([vectors[sha256] for sha256 in hashes])
    texts = encoder.encode_texts([one.caption.text for entry in entries for one in entry.italian])
    owners = np.repeat(np.arange(len(entries)), [len(entry.italian) for entry in entries])
    cosines = iter((images[owners] * texts).sum(axis=1).round(6).tolist())
    return [
        replace(entry, italian=tuple(replace(one, similarity=next(cosines)) for one in entry.italian))
        for entry in entries
    ]


def _judged(entry: Entry, filters: Filters, quality: QualityPlan, at_least: float) -> Entry:
    translated = [one.caption for one in entry.italian if one.caption.origin == "translated"]
    verdicts = iter(filters.check([caption.text for caption in translated], "it"))
    found = iter(signals([(caption.original, caption.text) for caption in translated if caption.original]))
    italian = list[Told]()
    for one in entry.italian:
        reason, caption = "", one.caption
        if caption.origin == "translated":
            verdict = next(verdicts)
            caption, reason = replace(caption, text=verdict.text), verdict.reason
            if caption.original:
                raised = alarms(next(found), quality)
                reason = reason or (f"translation: {raised[0]}" if raised else "")
        if not reason and one.similarity is not None and one.similarity < at_least:
            reason = "unlike its picture"
        italian.append(Told(caption, reason, one.similarity))
    left = [one for one in italian if not one.dropped]
    refused = "" if left else f"scores: {italian[0].dropped}"
    return replace(entry, stage=SCORED, refused=refused, italian=tuple(italian))

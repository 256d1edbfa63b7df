"""Clean captions and refuse those that no model should learn from.

Public names: run.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ..corpus import Corpus, Report
from ..duplicates.evaluation import EvaluationSet
from ..filters.check import Filters
from ..filters.plan import FilterPlan
from ..ledger import FILTERED, READ, Entry, Told
from ..parallel import map_batches
from ..record import SourceCaption


@dataclass(frozen=True)
class _Batch:
    plan: str  # JSON, so that a worker knows whether it is the one it has
    entries: tuple[Entry, ...]
    translated: bool


def run(corpus: Corpus, report: Report) -> None:
    """Ask every rule about every caption; a sample of which none is left is refused with the first one's reason.

    Samples that an evaluation uses are refused before anything is fetched for them. English captions count where the
    plan has them translated.
    """
    plan, total = corpus.plan, corpus.ledger.standing(READ)
    evaluation = EvaluationSet.open(plan.duplicates.model_copy(update={"test_sets": ()}), corpus.root)
    batches = _batches(corpus, plan.filters.model_dump_json(), plan.translation is not None)
    done = 0
    for _, entries in map_batches(_filtered, batches, jobs=plan.run.workers, where=plan.run.where):
        reasons = evaluation.matches([entry.record for entry in entries])
        corpus.ledger.settle(
            replace(entry, refused=f"evaluation: {reason}") if reason else entry
            for entry, reason in zip(entries, reasons, strict=True)
        )
        done += len(entries)
        report.work("filtering", done, total)


def _batches(corpus: Corpus, plan: str, translated: bool) -> Iterator[_Batch]:
    for entries in corpus.ledger.batches(READ, corpus.plan.run.batch):
        yield _Batch(plan, tuple(entries), translated)


@lru_cache(maxsize=2)
def _filters(plan: str) -> Filters:
    return Filters(FilterPlan.model_validate_json(plan))


def _filtered(batch: _Batch) -> list[Entry]:
    filters = _filters(batch.plan)
    told = {language: iter(_checked(filters, batch.entries, language)) for language in ("it", "en")}
    return [_settled(entry, told, batch.translated) for entry in batch.entries]


def _checked(filters: Filters, entries: Iterable[Entry], language: str) -> list[Told]:
    """Return the captions of one language, in order, cleaned and judged."""
    captions = [caption for entry in entries for caption in entry.record.captions if caption.language == language]
    verdicts = filters.check([caption.text for caption in captions], language)
    return [
        Told(replace(caption, text=verdict.text), verdict.reason)
        for caption, verdict in zip(captions, verdicts, strict=True)
    ]


def _settled(entry: Entry, told: dict[str, Iterator[Told]], translated: bool) -> Entry:
    captions = [
        next(told[caption.language]) if caption.language in told else Told(caption, "another language")
        for caption in entry.record.captions
    ]
    captions = _without_repeats(captions)
    if not translated:
        captions = [
            replace(one, dropped=one.dropped or "not Italian") if one.caption.language != "it" else one
            for one in captions
        ]
    left = [one for one in captions if not one.dropped]
    reason = captions[0].dropped if captions else "no caption"
    return replace(entry, stage=FILTERED, captions=tuple(captions), refused="" if left else f"filters: {reason}")


def _without_repeats(captions: Sequence[Told]) -> list[Told]:
    seen = set[tuple[str, str]]()
    kept = list[Told]()
    for one in captions:
        caption: SourceCaption = one.caption
        name = (caption.language, caption.text)
        kept.append(replace(one, dropped="repeated in its sample") if not one.dropped and name in seen else one)
        seen.add(name)
    return kept

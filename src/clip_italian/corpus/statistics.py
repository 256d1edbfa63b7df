"""What a corpus is made of and what was refused, as numbers: of the ledger, of the shards.

Public names: Statistics, Funnel, statistics, explained, translated_pairs.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from ..encoder import Encoder
from .corpus import Corpus
from .fetching.outcome import STATUSES
from .ledger import FETCHED, FILTERED, READ, SCORED, TRANSLATED, UNIQUE
from .quality.sample import Translation, translation
from .stages.reading import reader_of, skips

LENGTHS = (95, 96)  # pieces that the paper names, and its code reads
STAGES = {READ: "read", FILTERED: "filters", FETCHED: "fetching", UNIQUE: "duplicates", TRANSLATED: "translation",
          SCORED: "scores"}  # fmt: skip


@dataclass(frozen=True)
class Funnel:
    """How many samples of a source came how far. read: all; kept: in the shards; lost: stage and reason → how many."""

    source: str
    read: int
    kept: int
    under_way: int
    lost: Mapping[str, int]
    dropped: Mapping[str, int]  # captions by reason
    skipped_rows: int = 0
    skipped_examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class Statistics:
    """All that the card shows. origins, licences, hosts: samples or captions by name, most first."""

    name: str
    samples: Mapping[str, int]  # by split
    captions: int
    words: Mapping[int, int]  # words of a caption → how many captions
    origins: Mapping[str, int]
    licences: Mapping[str, int]
    hosts: Mapping[str, int]
    funnels: tuple[Funnel, ...]
    pictures: Mapping[str, int]  # fetching's statuses → addresses
    similarity: tuple[float, ...] = ()  # deciles of the captions' cosines
    covered: Mapping[int, float] = field(default_factory=dict)  # pieces → share of captions that fit
    pieces_by: str = ""
    gone: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def statistics(corpus: Corpus, encoder: Encoder | None = None) -> Statistics:
    """Count. encoder: its tokenizer tells how many captions fit into 95 and 96 pieces; without one nothing does."""
    words, origins, licences, hosts = Counter[int](), Counter[str](), Counter[str](), Counter[str]()
    samples, lengths, cosines, captions = Counter[str](), list[int](), list[float](), 0
    tokenizer = getattr(getattr(encoder, "tokenizer", None), "backend", None)
    from .shards import place_of

    for batch in corpus.ledger.batches(SCORED, 2000):
        kept = [[one for one in entry.italian if not one.dropped] for entry in batch]
        texts = [one.caption.text for told in kept for one in told]
        captions += len(texts)
        words.update(len(text.split()) for text in texts)
        if tokenizer is not None:
            lengths += _lengths(tokenizer, texts)
        for entry, told in zip(batch, kept, strict=True):
            samples[place_of(entry.id, corpus.plan.shards.valid)[0]] += 1
            licences[entry.record.licence or "not stated"] += 1
            hosts[urlsplit(entry.record.image).hostname or "a file"] += 1
            origins.update(_origin(one.caption.origin, one.caption.engine) for one in told)
            cosines += [one.similarity for one in told if one.similarity is not None]
    covered = {n: sum(length <= n for length in lengths) / len(lengths) for n in LENGTHS} if lengths else {}
    return Statistics(
        corpus.plan.name, dict(sorted(samples.items())), captions, dict(sorted(words.items())), _most(origins),
        _most(licences), _most(hosts), _funnels(corpus), dict(corpus.ledger.statuses()), _deciles(cosines), covered,
        encoder.name if encoder is not None and lengths else "", corpus.ledger.count_gone(),
    )  # fmt: skip


def translated_pairs(corpus: Corpus) -> Iterator[Translation]:
    """Yield the translated captions that are kept, with their English text."""
    for batch in corpus.ledger.batches(SCORED, 2000):
        for entry in batch:
            for one in entry.italian:
                caption = one.caption
                if not one.dropped and caption.origin == "translated" and caption.original:
                    yield translation(caption.original, caption.text, source=entry.record.source, engine=caption.engine)


def explained(status: str) -> str:
    """Say what a status of fetching means."""
    return STATUSES.get(status, "a local file that is not there" if status == "missing" else "has left the corpus")


def _lengths(tokenizer: Any, texts: list[str]) -> list[int]:
    """Count pieces, marks around the text included, however many there are."""
    import tokenizers

    whole = tokenizers.Tokenizer.from_str(tokenizer.to_str())
    whole.no_truncation()
    whole.no_padding()
    return [len(encoding.ids) for encoding in whole.encode_batch(texts)]


def _origin(origin: str, engine: str) -> str:
    return f"translated by {engine}" if origin == "translated" else "written in Italian"


def _most(counter: Counter[str]) -> dict[str, int]:
    return dict(sorted(counter.items(), key=lambda item: (-item[1], item[0])))


def _deciles(values: list[float]) -> tuple[float, ...]:
    ordered = sorted(values)
    return tuple(ordered[round(i * (len(ordered) - 1) / 10)] for i in range(11)) if ordered else ()


def _funnels(corpus: Corpus) -> tuple[Funnel, ...]:
    read, kept, way = Counter[str](), Counter[str](), Counter[str]()
    lost: dict[str, Counter[str]] = {}
    for source, stage, refused, count in corpus.ledger.counts():
        read[source] += count
        if refused:
            lost.setdefault(source, Counter())[refused] += count
        elif stage == SCORED:
            kept[source] += count
        else:
            way[source] += count
    dropped: dict[str, Counter[str]] = {}
    for column in ("captions", "italian"):
        for source, reason, count in corpus.ledger.dropped(column):
            dropped.setdefault(source, Counter())[reason] += count
    skipped, examples = Counter[str](), dict[str, list[str]]()
    for settings in corpus.plan.sources:
        count, messages = skips(corpus, reader_of(settings, corpus.root))
        skipped[settings.kind] += count
        examples.setdefault(settings.kind, []).extend(messages[:5])
    return tuple(
        Funnel(source, read[source], kept[source], way[source], _most(_short(lost.get(source, Counter()))),
               _most(dropped.get(source, Counter())), skipped[source], tuple(examples.get(source, ())))
        for source in sorted(read.keys() | skipped.keys())
    )  # fmt: skip


def _short(reasons: Counter[str]) -> Counter[str]:
    """Join reasons that name single pictures: "duplicate: near hash as 1f…" counts as "duplicate: near hash"."""
    joined = Counter[str]()
    for reason, count in reasons.items():
        stage, _, rest = reason.partition(": ")
        rest = rest.partition(" as ")[0] if stage == "duplicate" else rest
        rest = rest.partition(": ")[0] if stage == "evaluation" else rest
        joined[f"{stage}: {rest}"] += count
    return joined

"""Build a corpus: all stages in order, each from where it was stopped, each anew when its settings have changed.

Public names: build, retry, Built, STAGES.
"""

import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ..encoder import Encoder, load
from ..errors import ClipItalianError
from ..files import atomic_write, sha256_parts
from .card import write_card
from .corpus import SILENT, Corpus, Report, open_corpus
from .fetching.outcome import STATUSES, TRANSIENT
from .leaving import bury_file, sweep, write_stones
from .ledger import FETCHED, READ, TRANSLATED, UNIQUE
from .plan import CorpusPlan
from .shards import Shards, write_shards
from .stages import filtering, looks, pictures, reading, scoring, translating, unique
from .statistics import statistics
from .translation.translator import Translator, open_translator

STAGES = ("reading", "filtering", "fetching", "duplicates", "translation", "scoring", "shards")


@dataclass(frozen=True)
class Built:
    """What a build did: the shards, None when it was to end before them, and the seconds that each stage took."""

    shards: Shards | None
    seconds: dict[str, float]


def build(plan: CorpusPlan, root: Path, folder: Path, *, text: str = "", until: str = "", report: Report = SILENT,
          load: Callable[[str], Encoder] = load) -> Built:  # fmt: skip
    """Build the corpus of a plan in a folder, or go on with it.

    root: where the plan's paths begin. text: the plan as it was written, kept beside the corpus. until: one of STAGES,
    which is not begun any more. load: opens the model that the plan names. Whatever ends a run, the same call goes on
    and comes to the same shards, byte for byte. Raises Busy while another process works there, BadRecord,
    QuotaExceeded, CannotWrite, ClipItalianError when nothing stays.
    """
    with open_corpus(plan, root, folder) as corpus, ExitStack() as stack:
        encoder = load(plan.model) if plan.model else None
        translator = _translator(corpus)
        if translator is not None:
            stack.callback(translator.close)
        with atomic_write(folder / "plan.toml", "w") as stream:
            stream.write(text)
        for name in plan.gone:
            bury_file(corpus.ledger, root / name)
        _go_back(corpus, encoder, translator)
        steps: dict[str, Callable[[], object]] = {
            "reading": lambda: reading.run(corpus, report),
            "filtering": lambda: filtering.run(corpus, report),
            "fetching": lambda: _fetch_and_look(corpus, report, encoder),
            "duplicates": lambda: _compare(corpus, report, encoder),
            "translation": lambda: translating.run(corpus, report, translator),
            "scoring": lambda: scoring.run(corpus, report, encoder),
        }
        seconds, shards = {}, None
        for name, step in steps.items():
            if name == until:
                break
            begun = time.monotonic()
            step()
            seconds[name] = time.monotonic() - begun
        else:
            if until != "shards":
                begun = time.monotonic()
                shards = finish(corpus, report, encoder)
                seconds["shards"] = time.monotonic() - begun
        if shards is not None and not shards.shards:
            raise ClipItalianError(
                f"{folder}: no sample came through all stages; `clip-italian corpus stats` says where they were lost"
            )
        return Built(shards, seconds)


def finish(corpus: Corpus, report: Report, encoder: Encoder | None) -> Shards:
    """Write shards and card: what a build ends with, and a sample's leaving, too."""
    sweep(corpus)
    shards = write_shards(corpus, report)
    write_card(corpus, shards, statistics(corpus, encoder))
    write_stones(corpus)
    return shards


def retry(corpus: Corpus, statuses: tuple[str, ...]) -> int:
    """Forget how the addresses of some statuses ended, so that the next build asks for them, and for no other.

    statuses: of `fetching.outcome.STATUSES`; "failed" stands for those that may pass. Returns how many addresses.
    Raises ClipItalianError for another word.
    """
    wanted: set[str] = set()
    for status in statuses:
        if status != "failed" and (status not in (*STATUSES, "missing") or status == "ok"):
            known = ", ".join(sorted((STATUSES.keys() | {"missing"}) - {"ok"}))
            raise ClipItalianError(f"{status}: not how an address can end; there are failed, {known}")
        wanted |= TRANSIENT if status == "failed" else {status}
    return corpus.ledger.forget_status(sorted(wanted))


def _translator(corpus: Corpus) -> Translator | None:
    plan = corpus.plan.translation
    return None if plan is None else open_translator(plan, corpus.translations, corpus.root)


def _fetch_and_look(corpus: Corpus, report: Report, encoder: Encoder | None) -> None:
    """Fetch and look at all pictures; those that were lost since they were stored are fetched once more."""
    pictures.run(corpus, report)
    if looks.run(corpus, report, encoder):
        pictures.run(corpus, report)
        looks.run(corpus, report, encoder)


def _compare(corpus: Corpus, report: Report, encoder: Encoder | None) -> None:
    """Compare all pictures with each other whenever some have come or gone since they were."""
    if corpus.ledger.standing(FETCHED) or corpus.ledger.note("compare"):
        corpus.ledger.back_to(FETCHED)
        unique.run(corpus, report, encoder)


def _go_back(corpus: Corpus, encoder: Encoder | None, translator: Translator | None) -> None:
    """Take the samples back to before the first stage whose settings have changed since it ran."""
    plan, duplicates = corpus.plan, corpus.plan.duplicates
    model = encoder.fingerprint if encoder else ""
    settings = {
        READ: [plan.filters.model_dump_json(), str(translator is not None), str(duplicates.sets),
               *_states(corpus.root, duplicates.id_files)],
        # What was fetched is kept: other limits count for what is fetched from now on.
        FETCHED: [duplicates.model_dump_json(), model, *_states(corpus.root, duplicates.test_sets)],
        UNIQUE: ["" if translator is None else translator.engine],
        TRANSLATED: [plan.filters.model_dump_json(), plan.quality.model_dump_json(), plan.similarity.model_dump_json(),
                     model],
    }  # fmt: skip
    before = {stage: corpus.ledger.note(f"settings {stage}") for stage in settings}
    now = {stage: sha256_parts(part.encode("utf-8", "replace") for part in parts) for stage, parts in settings.items()}
    changed = [stage for stage in settings if before[stage] not in ("", now[stage])]
    if changed:
        corpus.ledger.back_to(min(changed))
    with corpus.ledger.transaction():
        for stage, mark in now.items():
            corpus.ledger.write_note(f"settings {stage}", mark)


def _states(root: Path, names: Iterable[str]) -> list[str]:
    """Return what tells whether files, or the files of folders, have changed."""
    paths = [root / name for name in names]
    found = [p for path in paths for p in (sorted(path.rglob("*")) if path.is_dir() else [path]) if p.is_file()]
    return [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in found]

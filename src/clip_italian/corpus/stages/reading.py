"""Read the sources: every record becomes a sample of the ledger, once.

Public names: run, reader_of, skips.
"""

import itertools
import json
from pathlib import Path

from pydantic import BaseModel

from ...files import sha256_parts
from ...images import printable
from ..corpus import Corpus, Report
from ..leaving import Gone
from ..record import Record
from ..sources.source import find_files

_BATCH = 2000
_SHOWN = 20  # messages about broken rows that are kept of each source


def run(corpus: Corpus, report: Report) -> None:
    """Read what the plan names and has not been read; forget the samples of sources that it names no longer.

    A source counts as another when its settings or its files' sizes or dates have changed. Broken rows are passed over,
    counted, and the first ones noted. Raises BadRecord when a file is missing.
    """
    wanted = {reader_of(source, corpus.root): source for source in corpus.plan.sources}
    for reader in corpus.ledger.readers():
        if reader not in wanted:
            corpus.ledger.forget_reader(reader)
    for reader, source in wanted.items():
        # A crawler goes on from its own state, and has more to tell every day.
        if corpus.ledger.note(f"read {reader}") != "done" or not _has_files(source):
            _read(corpus, report, reader, source)


def reader_of(source: BaseModel, root: Path) -> str:
    """Name a source by its settings and the state of the files it reads. Raises BadRecord when one is missing."""
    paths = find_files(root, getattr(source, "files", ()))
    for name in ("folder", "images", "only"):
        place = root / value if isinstance(value := getattr(source, name, None), str) else None
        if place is not None and place.is_dir():
            paths += sorted(path for path in place.rglob("*") if path.is_file())
        elif place is not None and place.exists():
            paths.append(place)
    states = [f"{path} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in paths]
    return sha256_parts([source.model_dump_json().encode(), *(state.encode("utf-8", "replace") for state in states)])[
        :16
    ]


def skips(corpus: Corpus, reader: str) -> tuple[int, list[str]]:
    """Return how many rows of a source were passed over, and what was wrong with the first ones."""
    noted = corpus.ledger.note(f"skips {reader}")
    count, messages = json.loads(noted) if noted else (0, [])
    return count, messages


def _has_files(source: BaseModel) -> bool:
    return hasattr(source, "files") or hasattr(source, "folder")


def _read(corpus: Corpus, report: Report, reader: str, source: BaseModel) -> None:
    gone, ledger = Gone(corpus.ledger), corpus.ledger
    count, messages = 0, list[str]()

    def skipped(message: str) -> None:
        nonlocal count
        count += 1
        if len(messages) < _SHOWN:
            messages.append(message)

    kind = str(getattr(source, "kind", ""))
    records = source.records(corpus.root, skipped)  # type: ignore[attr-defined]
    seen = 0
    while some := list(itertools.islice(records, _BATCH)):
        kept = list[Record]()
        for record in some:
            if fault := ledger.fault(record):
                skipped(f"{kind}, {printable(record.key)[:200]}: {fault}")
            elif not gone.covers(record):
                kept.append(record)
        with ledger.transaction():
            ledger.add(kept, reader)
        seen += len(some)
        report.work(f"reading {kind}", seen, None)
    with ledger.transaction():
        ledger.write_note(f"skips {reader}", json.dumps([count, messages], ensure_ascii=False))
        ledger.write_note(f"read {reader}", "done")

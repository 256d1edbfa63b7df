"""The ledger: one SQLite file that knows of every sample where it comes from and how far it has come.

Public names: Ledger, Entry, Told, Picture, Look, READ, FILTERED, FETCHED, UNIQUE, TRANSLATED, SCORED.

A stage takes the samples that came through the one before, and writes what it finds in batches, each of which is whole
or absent; whatever ends a run, the next one goes on from there. Deleted rows are written over (secure_delete).
"""

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..errors import BadLedger, Busy, CannotWrite
from ..images import printable
from .record import Record, SourceCaption

SCHEMA = 1
_APPLICATION = 0x434C494C  # "CLIL"
_WAIT_S = 30.0
# How far a sample has come: through reading, filters, fetching, duplicates, translation, scores.
READ, FILTERED, FETCHED, UNIQUE, TRANSLATED, SCORED = range(6)
FAR = "not among the nearest"
_MANY = 500  # values in one query

_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE samples (
    id TEXT PRIMARY KEY, source TEXT NOT NULL, reader TEXT NOT NULL, image TEXT NOT NULL, record TEXT NOT NULL,
    stage INTEGER NOT NULL, refused TEXT NOT NULL, captions TEXT NOT NULL, italian TEXT NOT NULL, keeper TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX samples_stage ON samples (stage, refused, id);
CREATE INDEX samples_image ON samples (image);
CREATE INDEX samples_keeper ON samples (keeper) WHERE keeper <> '';
CREATE TABLE pictures (
    image TEXT PRIMARY KEY, status TEXT NOT NULL, http_status INTEGER, final_url TEXT NOT NULL, sha256 TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, size INTEGER NOT NULL, fetched_at TEXT NOT NULL,
    opt_out TEXT NOT NULL, error TEXT NOT NULL, attempts INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX pictures_sha256 ON pictures (sha256);
CREATE TABLE looks (sha256 TEXT PRIMARY KEY, phash INTEGER, vector BLOB) WITHOUT ROWID;
CREATE TABLE gone (kind TEXT NOT NULL, value TEXT NOT NULL, at TEXT NOT NULL, PRIMARY KEY (kind, value)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Told:
    """A caption as it stands, why it was dropped ("" while it is kept), and its similarity to the picture."""

    caption: SourceCaption
    dropped: str = ""
    similarity: float | None = None


@dataclass(frozen=True)
class Entry:
    """A sample. refused: the stage and reason it is out for, "" while it is in. captions: the record's, cleaned, from
    the filters on. italian: what is trained on, from translation on. keeper: the sample it is a copy of.
    """

    id: str
    record: Record
    stage: int
    refused: str = ""
    captions: tuple[Told, ...] = ()
    italian: tuple[Told, ...] = ()
    keeper: str = ""


@dataclass(frozen=True)
class Picture:
    """What is known of an address after fetching; `status` and the fields are those of `fetching.outcome.Outcome`."""

    image: str
    status: str
    http_status: int | None = None
    final_url: str = ""
    sha256: str = ""
    width: int = 0
    height: int = 0
    size: int = 0
    fetched_at: str = ""
    opt_out: str = ""
    error: str = ""
    attempts: int = 0


@dataclass(frozen=True)
class Look:
    """How a sample looks. phash: 64 bits; captions: how many are kept; vector: float16 bytes, empty without a model."""

    id: str
    image: str
    sha256: str
    pixels: int
    phash: int
    captions: int
    vector: bytes


class Ledger:
    """An open ledger, a context manager; one process writes to it at a time (build.py holds the lock)."""

    def __init__(self, path: Path, connection: sqlite3.Connection):
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path | str, *, make: bool = False) -> Self:
        """Open a ledger. make: begin one where there is none. Raises BadLedger: missing, no ledger, damaged, newer."""
        path = Path(path)
        if not path.exists() and not make:
            raise BadLedger(f"{printable(path)}: there is no ledger; build the corpus first")
        with _faults(path):
            connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None)
        try:
            with _faults(path):
                connection.execute("PRAGMA secure_delete = ON")
                connection.execute("PRAGMA synchronous = FULL")
                if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                    connection.executescript(
                        f"BEGIN; {_TABLES} PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {SCHEMA};"
                        "COMMIT;"
                    )
                _check_header(path, connection)
                return cls(path, connection)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all that is written in the block whole or absent. Raises CannotWrite when the disk is full."""
        with _faults(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def note(self, key: str) -> str:
        """Return a note about the corpus, "" when there is none."""
        row = self._one("SELECT value FROM meta WHERE key = ?", key)
        return "" if row is None else str(row[0])

    def write_note(self, key: str, value: str) -> None:
        """Write a note; call it within a transaction."""
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    # Samples

    @staticmethod
    def fault(record: Record) -> str:
        """Say why a record cannot be kept, "" when it can: halves of characters, numbers that are none."""
        try:
            _dump(record.to_json()).encode()
        except UnicodeEncodeError:
            return "holds bytes that are no text (is a file's name not UTF-8?); rename it, or mend the row"
        except (ValueError, TypeError) as error:
            return f"holds what JSON cannot ({error}); mend or remove the row"
        return ""

    def add(self, records: Iterable[Record], reader: str) -> int:
        """Add records that are not known yet; returns how many were new. reader: what `forget_reader` removes.

        Call it within a transaction.
        """
        before = self._connection.total_changes
        self._connection.executemany(
            "INSERT OR IGNORE INTO samples VALUES (?, ?, ?, ?, ?, ?, '', '', '', '')",
            ((r.id, r.source, reader, r.image, _dump(r.to_json()), READ) for r in records),
        )
        return self._connection.total_changes - before

    def readers(self) -> list[str]:
        """Return the readers whose samples are here."""
        return [row[0] for row in self._all("SELECT DISTINCT reader FROM samples ORDER BY reader")]

    def forget_reader(self, reader: str) -> int:
        """Remove the samples of a source that is no longer in the plan; returns how many.

        Another source may have the same samples, and copies may have lost the one that stayed: all sources are to be
        read again, and all samples to be compared anew, which is noted.
        """
        with self.transaction():
            self._connection.execute("UPDATE meta SET value = '' WHERE key GLOB 'read *'")
            self.write_note("compare", "anew")
            return self._connection.execute("DELETE FROM samples WHERE reader = ?", (reader,)).rowcount

    def batches(self, stage: int, size: int) -> Iterator[list[Entry]]:
        """Yield the samples that stand at `stage` and are not refused, by id, at most `size` at a time.

        Samples may be settled between two batches.
        """
        last = ""
        while rows := self._all(
            f"SELECT {_ENTRY} FROM samples s "
            "WHERE stage = ? AND refused = '' AND id > ? ORDER BY id LIMIT ?",
            stage, last, size,
        ):  # fmt: skip
            yield [_entry(row) for row in rows]
            last = rows[-1][0]

    def settle(self, entries: Iterable[Entry]) -> None:
        """Write how far samples came, all of them or none."""
        with self.transaction():
            self._connection.executemany(
                "UPDATE samples SET stage = ?, refused = ?, captions = ?, italian = ?, keeper = ? WHERE id = ?",
                ((e.stage, e.refused, _dump_told(e.captions), _dump_told(e.italian), e.keeper, e.id) for e in entries),
            )

    def standing(self, stage: int) -> int:
        """Return how many samples stand at a stage and are not refused."""
        row = self._one("SELECT count(*) FROM samples WHERE stage = ? AND refused = ''", stage)
        return int(row[0]) if row else 0

    def refuse(self, stage: int, reasons: Iterable[tuple[str, str, str]]) -> None:
        """Move all samples that stand just before `stage` to it, and refuse those of (id, reason, keeper).

        keeper: the sample it is a copy of, "" when it is none.
        """
        with self.transaction():
            self._connection.execute(
                "UPDATE samples SET stage = ? WHERE stage = ? AND refused = ''", (stage, stage - 1)
            )
            self._connection.executemany(
                "UPDATE samples SET refused = ?, keeper = ? WHERE id = ?",
                ((reason, keeper, identity) for identity, reason, keeper in reasons),
            )
            self.write_note("compare", "")

    def same_picture(self, entry: Entry) -> list[Entry]:
        """Return the samples that were refused as copies of one and have the very same picture."""
        return self.select(
            "s.keeper = ? AND s.keeper <> '' AND p.sha256 = (SELECT sha256 FROM pictures WHERE image = ?)",
            entry.id, entry.record.image,
        )  # fmt: skip

    def relatives(self, entry: Entry) -> list[Entry]:
        """Return the samples that have a sample's address or picture, are copies of it, or that it is a copy of."""
        found = self.select("s.keeper = ? AND s.keeper <> ''", entry.id)
        found += self.select("s.id = ?", entry.keeper) if entry.keeper else []
        found += self.select(
            "s.image IN (SELECT ?1 UNION SELECT image FROM pictures WHERE sha256 <> '' AND sha256 = "
            "(SELECT sha256 FROM pictures WHERE image = ?1))",
            entry.record.image,
        )
        return found

    def back_to(self, stage: int) -> None:
        """Take all samples that came further than `stage`, or were refused after it, back to it."""
        columns = ", ".join(
            name if stage >= first else f"'' AS {name}"
            for name, first in (("captions", FILTERED), ("italian", TRANSLATED), ("keeper", UNIQUE))
        )
        with self.transaction():
            self._connection.execute(
                f"UPDATE samples SET (stage, refused, captions, italian, keeper) = (SELECT ?, '', {columns}) "
                "WHERE stage > ?",
                (stage, stage),
            )

    def entry(self, identity: str) -> Entry | None:
        """Return one sample."""
        row = self._one(f"SELECT {_ENTRY} FROM samples s WHERE id = ?", identity)
        return None if row is None else _entry(row)

    def entries(self, ids: Sequence[str]) -> list[Entry]:
        """Return samples by id, in the order that is asked for; those that are not here are left out."""
        found: dict[str, Entry] = {}
        for start in range(0, len(ids), _MANY):
            some = ids[start : start + _MANY]
            rows = self._all(f"SELECT {_ENTRY} FROM samples s WHERE s.id IN ({', '.join('?' * len(some))})", *some)
            found |= {row[0]: _entry(row) for row in rows}
        return [found[identity] for identity in ids if identity in found]

    def ids(self, stage: int) -> list[str]:
        """Return the ids of the samples that stand at a stage and are not refused, sorted."""
        return [
            row[0] for row in self._all("SELECT id FROM samples WHERE stage = ? AND refused = '' ORDER BY 1", stage)
        ]

    def sources(self) -> dict[str, str]:
        """Return id → source of all samples that are not refused."""
        return dict(self._all("SELECT id, source FROM samples WHERE refused = ''"))

    def counts(self) -> list[tuple[str, int, str, int]]:
        """Return (source, stage, refused, how many) of all samples."""
        return self._all(
            "SELECT source, stage, refused, count(*) FROM samples GROUP BY source, stage, refused ORDER BY 1, 2, 3"
        )

    def dropped(self, column: str) -> list[tuple[str, str, int]]:
        """Return (source, reason, how many) of the captions dropped from "captions" or "italian"."""
        return self._all(
            f"SELECT s.source, t.value ->> 'dropped' AS reason, count(*) FROM samples s, json_each(s.{column}) t "
            f"WHERE s.{column} <> '' AND reason <> '' GROUP BY 1, 2 ORDER BY 1, 3 DESC, 2"
        )

    # Pictures

    def wanted(self) -> Iterator[str]:
        """Yield the addresses that samples at FILTERED need and that were not asked for yet, each once.

        In the order of their samples' ids, which scatters hosts. Addresses may be written meanwhile.
        """
        last = ""
        while rows := self._all(
            "SELECT s.id, s.image FROM samples s LEFT JOIN pictures p USING (image) "
            "WHERE s.stage = ?1 AND s.refused = '' AND s.id > ?2 AND p.image IS NULL AND NOT EXISTS (SELECT 1 "
            "FROM samples o WHERE o.image = s.image AND o.stage = ?1 AND o.refused = '' AND o.id < s.id) "
            "ORDER BY s.id LIMIT 10000",
            FILTERED, last,
        ):  # fmt: skip
            yield from (row[1] for row in rows)
            last = rows[-1][0]

    def count_wanted(self) -> int:
        """Return how many addresses `wanted` yields."""
        row = self._one(
            "SELECT count(DISTINCT s.image) FROM samples s LEFT JOIN pictures p USING (image) "
            "WHERE s.stage = ? AND s.refused = '' AND p.image IS NULL",
            FILTERED,
        )
        return int(row[0]) if row else 0

    def settle_fetched(self) -> None:
        """Move the samples at FILTERED whose address was asked for on, and refuse those whose picture was not had."""
        with self.transaction():
            self._connection.execute(
                "UPDATE samples SET stage = ?, refused = (SELECT CASE status WHEN 'ok' THEN '' ELSE 'fetching: ' || "
                "status END FROM pictures WHERE pictures.image = samples.image) "
                "WHERE stage = ? AND refused = '' AND image IN (SELECT image FROM pictures)",
                (FETCHED, FILTERED),
            )

    def write_pictures(self, pictures: Iterable[Picture]) -> None:
        """Write what became of addresses; call it within a transaction."""
        self._connection.executemany(
            "INSERT OR REPLACE INTO pictures VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (tuple(vars(picture).values()) for picture in pictures),
        )

    def picture(self, image: str) -> Picture | None:
        """Return what is known of an address."""
        row = self._one("SELECT * FROM pictures WHERE image = ?", image)
        return None if row is None else Picture(*row)

    def pictures_of(self, images: Sequence[str]) -> dict[str, Picture]:
        """Return address → what is known of it."""
        found: dict[str, Picture] = {}
        for start in range(0, len(images), 500):
            some = images[start : start + 500]
            rows = self._all(f"SELECT * FROM pictures WHERE image IN ({', '.join('?' * len(some))})", *some)
            found |= {row[0]: Picture(*row) for row in rows}
        return found

    def forget_picture(self, image: str) -> None:
        """Forget what became of an address, and bring its samples back to before fetching."""
        with self.transaction():
            self._connection.execute("DELETE FROM pictures WHERE image = ?", (image,))
            self._connection.execute(
                "UPDATE samples SET stage = ?, refused = '', italian = '', keeper = '' WHERE image = ? AND stage >= ?",
                (FILTERED, image, FETCHED),
            )

    def forget_stored(self, sha256: str) -> None:
        """Forget a picture that is lost or damaged, so that its addresses are asked for again."""
        for image in [row[0] for row in self._all("SELECT image FROM pictures WHERE sha256 = ?", sha256)]:
            self.forget_picture(image)

    def orphans(self) -> list[tuple[str, str]]:
        """Return (address, SHA-256) of the pictures of which there is no sample any more."""
        return self._all(
            "SELECT image, sha256 FROM pictures p WHERE NOT EXISTS (SELECT 1 FROM samples s WHERE s.image = p.image)"
        )

    def remove_pictures(self, images: Sequence[str]) -> list[str]:
        """Forget addresses; returns the hashes of pictures that nothing needs now. Call it within a transaction."""
        hashes = {picture.sha256 for picture in self.pictures_of(images).values() if picture.sha256}
        self._connection.executemany("DELETE FROM pictures WHERE image = ?", [(image,) for image in images])
        unused = [h for h in sorted(hashes) if self._one("SELECT 1 FROM pictures WHERE sha256 = ?", h) is None]
        self._connection.executemany("DELETE FROM looks WHERE sha256 = ?", [(sha256,) for sha256 in unused])
        return unused

    def statuses(self) -> list[tuple[str, int]]:
        """Return (status, how many addresses)."""
        return self._all("SELECT status, count(*) FROM pictures GROUP BY status ORDER BY 2 DESC, 1")

    def forget_status(self, statuses: Sequence[str]) -> int:
        """Forget how addresses ended, so that they are fetched again, and bring their samples back.

        Statuses: of `fetching.outcome.STATUSES`.
        """
        marks = ", ".join("?" * len(statuses))
        with self.transaction():
            self._connection.execute(
                "UPDATE samples SET stage = ?, refused = '' WHERE stage = ? AND refused LIKE 'fetching: %' AND image "
                f"IN (SELECT image FROM pictures WHERE status IN ({marks}))",
                (FILTERED, FETCHED, *statuses),
            )
            return self._connection.execute(f"DELETE FROM pictures WHERE status IN ({marks})", tuple(statuses)).rowcount

    # How pictures look

    def unseen(self, what: str, size: int) -> Iterator[list[str]]:
        """Yield the hashes of pictures of samples at FETCHED or further that lack `what` ("phash" or "vector")."""
        last = ""
        while rows := self._all(
            "SELECT DISTINCT p.sha256 FROM pictures p LEFT JOIN looks l USING (sha256) "
            f"WHERE p.sha256 > ? AND l.{what} IS NULL AND EXISTS (SELECT 1 FROM samples s WHERE s.image = p.image "
            "AND s.stage >= ? AND s.refused = '') ORDER BY p.sha256 LIMIT ?",
            last, FETCHED, size,
        ):  # fmt: skip
            yield [row[0] for row in rows]
            last = rows[-1][0]

    def write_looks(self, what: str, looks: Iterable[tuple[str, int | bytes]]) -> None:
        """Write (sha256, perceptual hash or float16 vector); all or none."""
        with self.transaction():
            self._connection.executemany(
                f"INSERT INTO looks (sha256, {what}) VALUES (?, ?) "
                f"ON CONFLICT (sha256) DO UPDATE SET {what} = excluded.{what}",
                ((sha256, _signed(value) if isinstance(value, int) else value) for sha256, value in looks),
            )

    def forget_vectors(self) -> None:
        """Forget all vectors: another model made them."""
        with self.transaction():
            self._connection.execute("UPDATE looks SET vector = NULL")

    def looks(self) -> Iterator[Look]:
        """Yield how the samples at FETCHED that are not refused look, by id."""
        cursor = self._connection.execute(
            "SELECT s.id, s.image, p.sha256, p.width * p.height, l.phash, l.vector, s.captions FROM samples s "
            "JOIN pictures p USING (image) JOIN looks l USING (sha256) WHERE s.stage = ? AND s.refused = '' "
            "ORDER BY s.id",
            (FETCHED,),
        )
        for identity, image, sha256, pixels, phash, vector, captions in cursor:
            kept = sum(not one.dropped for one in _load_told(captions))
            yield Look(identity, image, sha256, pixels, phash % 2**64, kept, vector or b"")

    def phashes(self, hashes: Sequence[str]) -> dict[str, int]:
        """Return SHA-256 → perceptual hash of pictures, of those that have one."""
        found: dict[str, int] = {}
        for start in range(0, len(hashes), _MANY):
            some = hashes[start : start + _MANY]
            marks = ", ".join("?" * len(some))
            rows = self._all(f"SELECT sha256, phash FROM looks WHERE phash NOT NULL AND sha256 IN ({marks})", *some)
            found |= {sha256: phash % 2**64 for sha256, phash in rows}
        return found

    def vectors(self, hashes: Sequence[str]) -> dict[str, bytes]:
        """Return sha256 → vector, of those that have one."""
        rows = self._all(
            f"SELECT sha256, vector FROM looks WHERE vector NOT NULL AND sha256 IN ({', '.join('?' * len(hashes))})",
            *hashes,
        )
        return dict(rows)

    def keep_best(self, share: float) -> None:
        """Drop the Italian captions of samples at SCORED that are not among the nearest to their pictures.

        share: of all captions that nothing else drops, which stays. A sample of which none is left is refused. It
        begins anew each time, so that the same samples always keep the same captions.
        """
        rows = self._all(
            "SELECT s.id, t.value ->> 'similarity' FROM samples s, json_each(s.italian) t WHERE s.stage = ? "
            "AND s.refused IN ('', ?) AND t.value ->> 'dropped' IN ('', ?) AND t.value ->> 'similarity' NOT NULL",
            SCORED, f"scores: {FAR}", FAR,
        )  # fmt: skip
        if not rows:
            return
        cosines = sorted((row[1] for row in rows), reverse=True)
        border = cosines[max(1, round(share * len(cosines))) - 1]
        ids = sorted({identity for identity, _ in rows})
        for start in range(0, len(ids), _MANY):
            self.settle(_nearest(entry, border) for entry in self.entries(ids[start : start + _MANY]))

    # What has left

    def bury(self, stones: Iterable[tuple[str, str]], at: str) -> None:
        """Write tombstones (kind, value); call it within a transaction. at: UTC, ISO 8601."""
        self._connection.executemany("INSERT OR IGNORE INTO gone VALUES (?, ?, ?)", ((*s, at) for s in stones))

    def gone(self, kind: str) -> set[str]:
        """Return the values of all tombstones of a kind."""
        return {row[0] for row in self._all("SELECT value FROM gone WHERE kind = ?", kind)}

    def stones(self) -> list[tuple[str, str, str]]:
        """Return all tombstones: (kind, value, time)."""
        return self._all("SELECT kind, value, at FROM gone ORDER BY kind, value")

    def is_used(self, sha256: str) -> bool:
        """Tell whether some address has this picture."""
        return self._one("SELECT 1 FROM pictures WHERE sha256 = ?", sha256) is not None

    def count_gone(self) -> int:
        """Return how many tombstones name an address, a domain, a picture or a sample."""
        row = self._one("SELECT count(*) FROM gone WHERE kind <> 'look'")
        return int(row[0]) if row else 0

    def remove(self, ids: Sequence[str]) -> None:
        """Remove samples; call it within a transaction. Their copies, if any are left, are to be compared anew."""
        self._connection.executemany("DELETE FROM samples WHERE id = ?", [(identity,) for identity in ids])
        if ids:
            self.write_note("compare", "anew")

    def places(self) -> Iterator[tuple[str, str, str, str]]:
        """Yield (sample's id or "", address, page, where the last redirection led) of samples and of orphans."""
        yield from self._connection.execute(
            "SELECT s.id, s.image, s.record ->> 'page', coalesce(p.final_url, '') FROM samples s LEFT JOIN pictures p "
            "USING (image) UNION ALL SELECT '', image, '', final_url FROM pictures p WHERE NOT EXISTS (SELECT 1 FROM "
            "samples s WHERE s.image = p.image)"
        )

    def select(self, where: str, *values: Any) -> list[Entry]:
        """Return samples, by id, that meet a condition on the columns of samples s and pictures p."""
        rows = self._all(
            f"SELECT {_ENTRY} FROM samples s LEFT JOIN pictures p USING (image) WHERE {where} ORDER BY s.id",
            *values,
        )
        return [_entry(row) for row in rows]

    def _all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with _faults(self.path):
            return self._connection.execute(query, values).fetchall()

    def _one(self, query: str, *values: Any) -> tuple[Any, ...] | None:
        with _faults(self.path):
            row: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
            return row


_ENTRY = "s.id, s.record, s.stage, s.refused, s.captions, s.italian, s.keeper"


def _entry(row: tuple[Any, ...]) -> Entry:
    identity, record, stage, refused, captions, italian, keeper = row
    known = Record.from_json(json.loads(record))
    return Entry(identity, known, stage, refused, _load_told(captions), _load_told(italian), keeper)


def _nearest(entry: Entry, border: float) -> Entry:
    italian = tuple(
        replace(one, dropped=FAR if one.similarity < border else "")
        if one.dropped in ("", FAR) and one.similarity is not None
        else one
        for one in entry.italian
    )
    left = any(not one.dropped for one in italian)
    return replace(entry, italian=italian, refused="" if left else f"scores: {FAR}")


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def _dump_told(told: Sequence[Told]) -> str:
    return _dump([{**vars(one), "caption": vars(one.caption)} for one in told]) if told else ""


def _load_told(text: str) -> tuple[Told, ...]:
    values = json.loads(text) if text else []
    return tuple(Told(**{**value, "caption": SourceCaption(**value["caption"])}) for value in values)


def _signed(value: int) -> int:
    """Fit 64 bits into SQLite's signed integers."""
    return value - 2**64 if value >= 2**63 else value


def _check_header(path: Path, connection: sqlite3.Connection) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0] != _APPLICATION:
        raise BadLedger(f"{printable(path)}: is a database of another program, no ledger; choose another folder")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA:
        raise BadLedger(
            f"{printable(path)}: is a ledger of version {version}, and this program knows {SCHEMA}; upgrade"
        )


@contextlib.contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Say what a person can do about SQLite's errors."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        text = f"{printable(path)}: "
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            raise CannotWrite(
                f"{text}cannot be written ({error}); what was finished is kept: free space or mend permissions, "
                "and run again"
            ) from error
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise Busy(f"{text}another process is writing it; wait for it or stop it") from error
        raise BadLedger(f"{text}no ledger, or damaged ({error}); restore a copy, or build into a new folder") from error

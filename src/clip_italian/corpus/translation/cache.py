"""The cache of translations: one SQLite file, keyed by text and engine, so that nothing is translated twice.

Public names: Cache, SCHEMA.

Like the album, it keeps SQLite's rollback journal: between two runs it is one file that can be copied as it is, and a
process killed while it writes leaves a journal that the next opener plays back. Forgotten texts are overwritten.
"""

import contextlib
import shutil
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ...errors import Busy, CannotWrite, ClipItalianError

SCHEMA = 1
_APPLICATION = 0x434C5452  # "CLTR"
_WAIT_S = 60.0  # how long to wait for the moment in which another process commits
_ROOM = 16 * 2**20  # bytes that must be free on the disk before a text is paid for
_MANY = 500  # texts looked up in one statement

_TABLES = """
CREATE TABLE engines (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE translations (
    text TEXT NOT NULL, engine INTEGER NOT NULL REFERENCES engines, translation TEXT NOT NULL,
    PRIMARY KEY (text, engine)
) WITHOUT ROWID;
"""


class Cache:
    """An open cache, made if absent. Threads and processes may share it; the first translation of a text stays."""

    def __init__(self, path: Path | str):
        """Open or make the file. Raises ClipItalianError when it is of another kind, Busy, CannotWrite."""
        self.path = Path(path)
        self._mutex = threading.Lock()
        with self._faults():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(
                self.path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
        try:
            with self._faults():
                self._connection.execute("PRAGMA synchronous = EXTRA")  # what was paid for survives the loss of power
                self._connection.execute("PRAGMA secure_delete = ON")
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the file; the cache cannot be used afterwards."""
        self._connection.close()

    def get(self, engine: str, texts: Sequence[str]) -> dict[str, str]:
        """Return text → translation of those texts that this engine has translated."""
        found: dict[str, str] = {}
        with self._mutex, self._faults():
            for start in range(0, len(texts), _MANY):
                some = texts[start : start + _MANY]
                found |= self._connection.execute(
                    "SELECT text, translation FROM translations JOIN engines ON engines.id = translations.engine "
                    f"WHERE engines.name = ? AND text IN ({','.join('?' * len(some))})",
                    (engine, *some),
                ).fetchall()
        return found

    def put(self, engine: str, translations: Mapping[str, str]) -> None:
        """Store translations, all or none, on the disk when this returns. Raises CannotWrite, Busy."""
        with self._mutex, self._faults(), self._transaction() as connection:
            connection.execute("INSERT OR IGNORE INTO engines (name) VALUES (?)", (engine,))
            number = connection.execute("SELECT id FROM engines WHERE name = ?", (engine,)).fetchone()[0]
            connection.executemany(
                "INSERT OR IGNORE INTO translations (text, engine, translation) VALUES (?, ?, ?)",
                ((text, number, translation) for text, translation in translations.items()),
            )

    def forget(self, texts: Sequence[str]) -> int:
        """Remove these texts with their translations by every engine; returns how many translations went."""
        with self._mutex, self._faults(), self._transaction() as connection:
            before = connection.total_changes
            connection.executemany("DELETE FROM translations WHERE text = ?", ((text,) for text in texts))
            return connection.total_changes - before

    def check_room(self) -> None:
        """Make sure that something can be stored now. Raises CannotWrite, Busy: before it is paid for, not after."""
        with self._mutex, self._faults():
            with self._transaction():
                pass
            if shutil.disk_usage(self.path.parent).free < _ROOM:
                raise CannotWrite(
                    f"{self.path}: the disk is full, so that nothing was sent that could not be kept; free some space "
                    "and run again"
                )

    def _prepare(self) -> None:
        with self._transaction() as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            blank = connection.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()[0]
            if blank and not version and not application:
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                connection.execute(f"PRAGMA user_version = {SCHEMA}")
            elif application != _APPLICATION:
                raise ClipItalianError(f"{self.path}: is a database of another program; choose another file")
            elif version != SCHEMA:
                raise ClipItalianError(
                    f"{self.path}: is a cache of version {version}, and this program knows version {SCHEMA}; upgrade "
                    "clip-italian, or choose another file"
                )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # SQLite itself has already undone it when the disk is full
                self._connection.execute("ROLLBACK")
            raise

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        """Say what a person can do about SQLite's errors."""
        try:
            yield
        except OSError as error:
            raise CannotWrite(f"{self.path}: cannot be made ({error}); choose another place") from error
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
                raise CannotWrite(
                    f"{self.path}: cannot be written ({error}); what was stored before is kept: free some space and "
                    "run again"
                ) from error
            if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                raise Busy(f"{self.path}: another process is writing it; try again in a moment") from error
            if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
                raise CannotWrite(
                    f"{self.path}: cannot be opened or written ({error}); check its permissions"
                ) from error
            raise ClipItalianError(
                f"{self.path}: not a cache of translations, or damaged ({error}); choose another file, or restore it"
            ) from error

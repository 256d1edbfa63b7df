"""The album: one SQLite file with a folder's photos as unit vectors, and the name of the model that made them.

Public names: Album, Photo, Skip, Gallery, is_blank, SCHEMA.

The file keeps SQLite's rollback journal rather than a write-ahead log: between two runs there is exactly one file that
can be copied or moved as it is, and a process killed while it writes leaves a journal that the next opener plays back.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..encoder import Encoder, load
from ..errors import BadAlbum, BadModel, Busy, ClipItalianError, MissingExtra
from ..images import printable

SCHEMA = 1
_APPLICATION = 0x434C4954  # "CLIT", in the header of every album, so that no other program's database is taken for one
_WAIT_S = 30.0  # how long a reader waits for the moment in which a writer commits

# Paths are bytes, as the file system gives them, relative to the root; vectors are little-endian float32.
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE photos (
    path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, taken TEXT, vector BLOB NOT NULL
);
CREATE INDEX photos_sha256 ON photos (sha256);
CREATE TABLE skipped (path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, reason TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Photo:
    """A row of the album. path: relative to the root; taken: camera's local time, ISO; vector: (dim,) float32, unit."""

    path: str
    size: int
    mtime_ns: int
    sha256: str
    width: int
    height: int
    taken: str | None
    vector: np.ndarray


@dataclass(frozen=True)
class Skip:
    """A file that is no good picture, and why; `size` and `mtime_ns` tell whether it has changed since."""

    path: str
    size: int
    mtime_ns: int
    reason: str


@dataclass(frozen=True)
class Gallery:
    """All photos, for exact search. paths: relative to the root, sorted as bytes; vectors: (n, dim) float32, unit."""

    paths: tuple[str, ...]
    vectors: np.ndarray


class Album:
    """An open album, a context manager. Reading is safe from many threads, and while another process writes."""

    def __init__(self, path: Path, connection: sqlite3.Connection):
        self.path = path
        self._connection = connection
        self._mutex = threading.Lock()
        self._gallery: tuple[int, Gallery] | None = None
        meta = self._read_meta()
        self.model = str(meta["model"])  # the name or path that `load` opens
        self.encoder_name = str(meta["encoder_name"])
        self.fingerprint = str(meta["fingerprint"])
        self.dim = int(meta["dim"])
        self.root = Path(os.fsdecode(meta["root"]))

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open an album. Raises BadAlbum: missing, not an album, damaged, or of a newer version."""
        path = Path(path)
        if not path.is_file() or is_blank(path):
            how = "clip-italian index FOLDER --album FILE --model MODEL"
            raise BadAlbum(f"{printable(path)}: there is no album; make one with: {how}")
        connection = _connect(path)
        try:
            with _faults(path):
                _check_header(path, connection)
                return cls(path, connection)
        except BaseException:
            connection.close()
            raise

    @classmethod
    def create(cls, path: Path | str, root: Path | str, encoder: Encoder, *, model: str | None = None) -> Self:
        """Make an empty album for the photos under `root`. model: what `load` opens again, the encoder's name if None.

        Raises BadAlbum when something is there already.
        """
        path = Path(path)
        if not is_blank(path):
            raise BadAlbum(f"{printable(path)}: already exists; choose another name")
        path.parent.mkdir(parents=True, exist_ok=True)
        meta = {
            "model": model or encoder.name,
            "encoder_name": encoder.name,
            "fingerprint": encoder.fingerprint,
            "dim": encoder.dim,
            "root": os.fsencode(Path(root).absolute()),
        }
        with _faults(path), contextlib.closing(_connect(path)) as connection:
            connection.executescript(
                f"BEGIN; {_TABLES} PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {SCHEMA};"
            )
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
            connection.execute("COMMIT")
        return cls.open(path)

    def close(self) -> None:
        """Close the file; the album cannot be used afterwards."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check(self, encoder: Encoder) -> None:
        """Refuse an encoder that did not make this album's vectors. Raises BadAlbum, naming both models."""
        if encoder.fingerprint != self.fingerprint:
            raise BadAlbum(
                f"{printable(self.path)}: was made with {self.encoder_name} ({self.fingerprint[:12]}), not with "
                f"{encoder.name} ({encoder.fingerprint[:12]}), and their vectors do not mix; use that model, or "
                "index into a new album"
            )

    def load_encoder(self, model: str | None = None, *, device: str = "cpu") -> Encoder:
        """Open the model this album was made with; `model` names it where it has moved. Raises BadAlbum, BadModel."""
        try:
            encoder = load(model or self.model, device=device)
        except BadModel as error:
            if model is not None:
                raise
            raise BadModel(f"{error} (it made this album; give --model where it is now)") from error
        except MissingExtra as error:
            if model is not None:
                raise
            raise MissingExtra(
                f"{printable(self.path)}: was made with {self.encoder_name}, which cannot be opened here: {error}; or "
                "index into a new album with another model"
            ) from error
        self.check(encoder)
        return encoder

    def gallery(self) -> Gallery:
        """Return all photos as one matrix, kept until the file changes. Raises BadAlbum when a vector is damaged."""
        with self._mutex, _faults(self.path):
            version = self._connection.execute("PRAGMA data_version").fetchone()[0]
            if self._gallery is None or self._gallery[0] != version:
                self._gallery = version, self._load_gallery()
            return self._gallery[1]

    def stamps(self) -> dict[str, tuple[int, int, str]]:
        """Return path → (size, mtime_ns, sha256) of every photo."""
        with self._mutex, _faults(self.path):
            rows = self._connection.execute("SELECT path, size, mtime_ns, sha256 FROM photos")
            return {os.fsdecode(path): (size, mtime, sha) for path, size, mtime, sha in rows}

    def skips(self) -> dict[str, Skip]:
        """Return path → Skip of every file that was no good picture."""
        with self._mutex, _faults(self.path):
            rows = self._connection.execute("SELECT path, size, mtime_ns, reason FROM skipped ORDER BY path")
            return {os.fsdecode(path): Skip(os.fsdecode(path), *rest) for path, *rest in rows}

    def photos(self) -> Iterator[Photo]:
        """Yield every photo, sorted by path as bytes."""
        with self._mutex, _faults(self.path):
            rows = self._connection.execute("SELECT * FROM photos ORDER BY path").fetchall()
        yield from map(_photo, rows)

    def photo_with(self, sha256: str) -> Photo | None:
        """Return a photo whose file has this content, None when there is none."""
        with self._mutex, _faults(self.path):
            row = self._connection.execute(
                "SELECT * FROM photos WHERE sha256 = ? ORDER BY path LIMIT 1", (sha256,)
            ).fetchone()
        return None if row is None else _photo(row)

    def unread(self) -> int:
        """Return how many files were still to be read when a run last wrote here; 0 once a run has come to its end."""
        return self._number("unread")

    def keeps_missing(self) -> bool:
        """Tell whether photos that are not found are kept, since once they were over half of the album."""
        return bool(self._number("keeps_missing"))

    def write(
        self,
        *,
        photos: Iterable[Photo] = (),
        skips: Iterable[Skip] = (),
        gone: Iterable[str] = (),
        unread: int | None = None,
        keeps_missing: bool | None = None,
    ) -> None:
        """Add or replace photos and skips and forget the `gone` paths, all or nothing, on the disk when this returns.

        A photo ends the skip of its path and the other way round. unread, keeps_missing: what the methods of these
        names tell from now on. Raises BadModel when a vector is not a unit vector of the album's length, and
        ClipItalianError when the disk is full.
        """
        photos = list(photos)
        for photo in photos:
            _check_vector(photo.vector, self.dim, f"{self.encoder_name} gave {printable(photo.path)}")
        skips, lost = list(skips), [(os.fsencode(path),) for path in gone]
        replaced = [(os.fsencode(path),) for path in [p.path for p in photos] + [s.path for s in skips]]
        with self._mutex, _faults(self.path), self._transaction() as connection:
            connection.executemany("DELETE FROM photos WHERE path = ?", lost + replaced)
            connection.executemany("DELETE FROM skipped WHERE path = ?", lost + replaced)
            connection.executemany("INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(_photo_row, photos))
            connection.executemany(
                "INSERT INTO skipped VALUES (?, ?, ?, ?)",
                ((os.fsencode(s.path), s.size, s.mtime_ns, s.reason) for s in skips),
            )
            for key, value in (("unread", unread), ("keeps_missing", keeps_missing)):
                if value is not None:
                    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, int(value)))
            self._gallery = None

    def move(self, root: Path) -> None:
        """Record that the photos now lie under another folder."""
        with self._mutex, _faults(self.path), self._transaction() as connection:
            connection.execute("UPDATE meta SET value = ? WHERE key = 'root'", (os.fsencode(root.absolute()),))
        self.root = root.absolute()

    def _number(self, key: str) -> int:
        with self._mutex, _faults(self.path):
            row = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return 0 if row is None else int(row[0])

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

    def _read_meta(self) -> Mapping[str, Any]:
        meta = dict(self._connection.execute("SELECT key, value FROM meta"))
        missing = {"model", "encoder_name", "fingerprint", "dim", "root"} - set(meta)
        if missing:
            raise BadAlbum(f"{printable(self.path)}: damaged, it does not say its {sorted(missing)[0]}; index again")
        return meta

    def _load_gallery(self) -> Gallery:
        self._connection.execute("BEGIN")  # the count and the rows must be of one moment
        try:
            count = self._connection.execute("SELECT count(*) FROM photos").fetchone()[0]
            vectors = np.empty((count, self.dim), np.float32)
            paths = []
            for i, (path, blob) in enumerate(self._connection.execute("SELECT path, vector FROM photos ORDER BY path")):
                if len(blob) != 4 * self.dim:
                    raise BadAlbum(f"{printable(self.path)}: the vector of {printable(path)} is damaged; index again")
                paths.append(os.fsdecode(path))
                vectors[i] = np.frombuffer(blob, "<f4")
        finally:
            self._connection.execute("COMMIT")
        bad = np.flatnonzero(~(np.abs(np.linalg.norm(vectors, axis=1) - 1) < 1e-3))
        if bad.size:
            raise BadAlbum(f"{printable(self.path)}: the vector of {printable(paths[bad[0]])} is damaged; index again")
        vectors.flags.writeable = False
        return Gallery(tuple(paths), vectors)


def is_blank(path: Path | str) -> bool:
    """Tell whether an album can begin here: nothing there, or what a process left that was killed before it began one.

    Raises BadAlbum when a file of another kind is there.
    """
    path = Path(path)
    if not path.exists():
        return True
    with _faults(path), contextlib.closing(_connect(path)) as connection:
        return bool(connection.execute("SELECT count(*) = 0 FROM sqlite_master").fetchone()[0])


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = EXTRA")  # a committed batch survives the loss of power
    return connection


def _check_header(path: Path, connection: sqlite3.Connection) -> None:
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != _APPLICATION:
        raise BadAlbum(f"{printable(path)}: is a database of another program, not an album; choose another file")
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != SCHEMA:
        raise BadAlbum(
            f"{printable(path)}: is an album of version {version}, and this program knows version {SCHEMA}; upgrade "
            "clip-italian, or index into a new album"
        )


@contextlib.contextmanager
def _faults(path: Path) -> Iterator[None]:
    """Say what a person can do about SQLite's errors."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        text = f"{printable(path)}: "
        if name.startswith(("SQLITE_FULL", "SQLITE_IOERR")):
            raise ClipItalianError(
                f"{text}cannot be written ({error}); what was finished before is kept: free some space and run again"
            ) from error
        if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise Busy(f"{text}another process is writing it; try again in a moment") from error
        if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            raise ClipItalianError(f"{text}cannot be opened or written ({error}); check its permissions") from error
        raise BadAlbum(
            f"{text}not an album, or damaged ({error}); choose another file, or index into a new one"
        ) from error


def _check_vector(vector: np.ndarray, dim: int, who: str) -> None:
    length = float(np.linalg.norm(vector))
    if vector.shape != (dim,) or not abs(length - 1) < 1e-3:
        found = f"a vector of shape {vector.shape} and length {length:.4f}"
        raise BadModel(f"{who} {found}, not a unit vector of {dim} numbers; the model is broken")


def _photo(row: tuple[Any, ...]) -> Photo:
    path, size, mtime_ns, sha256, width, height, taken, vector = row
    return Photo(os.fsdecode(path), size, mtime_ns, sha256, width, height, taken, np.frombuffer(vector, "<f4"))


def _photo_row(photo: Photo) -> tuple[Any, ...]:
    path, vector = os.fsencode(photo.path), photo.vector.astype("<f4").tobytes()
    return path, photo.size, photo.mtime_ns, photo.sha256, photo.width, photo.height, photo.taken, vector

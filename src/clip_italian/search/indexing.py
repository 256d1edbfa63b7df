"""Bring an album up to date with a folder: only what is new or changed is decoded and encoded.

Public names: index, IndexSummary, Progress, Stopped.

Photos are decoded in a few threads while the encoder works on the batch before, so that all cores are busy, and each
batch is committed as soon as it is encoded: whatever ends a run, the next one goes on from there.
"""

import contextlib
import dataclasses
import itertools
import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..encoder import Encoder
from ..errors import BadAlbum, ClipItalianError, CorruptImage
from ..files import lock, sha256_file
from ..images import Picture, find_images, printable, read_picture
from ..preprocess import Preprocess
from .album import Album, Photo, Skip, is_blank

# For encoders that do not tell their input size: twice this is kept, more than any published one reads.
_MIN_SIDE = 448
# When so many photos of an album, and over half of them, are not found, a drive may be missing rather than the photos.
_MANY = 20


@dataclass(frozen=True)
class IndexSummary:
    """What a run did, in photos. missing: not found, yet kept, since they were so many; skipped: files found to be no
    good; skipped_before: those known already, not tried.
    """

    added: int = 0
    changed: int = 0
    renamed: int = 0
    removed: int = 0
    unchanged: int = 0
    missing: int = 0
    skipped: tuple[Skip, ...] = ()
    skipped_before: int = 0


@dataclass(frozen=True)
class Progress:
    """How far a run is: `done` of `total` files that are new or changed; `settled` more needed nothing."""

    done: int
    total: int
    settled: int


class Stopped(KeyboardInterrupt):
    """The user stopped the run; `summary` tells what is in the album."""

    def __init__(self, summary: IndexSummary):
        super().__init__("stopped")
        self.summary = summary


@dataclass(frozen=True)
class _File:
    """A picture's file as it was found; path: relative to the root."""

    path: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class _Read:
    """What a thread made of a file: a picture, or a fault, or neither when the album has the same bytes already."""

    file: _File
    sha256: str = ""
    picture: Picture | None = None
    fault: str | None = None
    lasting: bool = True  # False when the file could not be read at all, which says nothing about the picture


def index(
    folder: Path | str,
    album_path: Path | str,
    encoder: Encoder,
    *,
    model: str | None = None,
    batch: int = 32,
    workers: int | None = None,
    retry: bool = False,
    forget: bool = False,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> IndexSummary:
    """Bring the album at `album_path` up to date with the pictures under `folder`, making it if there is none.

    A file counts as unchanged while its size and time of change do; a moved or copied one is recognised by its bytes
    and not encoded again; photos gone from the folder are forgotten: 20 or more that are over half the album, which may
    lie on a drive that is not there, only with `forget`. Files that are no good pictures are remembered and
    not tried again until they change, or with `retry`. model: the name under which `load` opens the encoder again.
    workers: decoding threads, as many as cores (4 at most) by default. stop: asked after each batch. Memory: 2 × batch
    pictures.

    Raises Stopped (a KeyboardInterrupt) on ^C and when `stop` says so, with all finished batches kept; BadAlbum when
    the album was made with another model or of another folder; Busy when another process is indexing into it;
    ClipItalianError when the folder is missing or has lost all its photos, and when the disk is full.

    >>> index("foto", "foto.album", load("runs/mine"))                     # doctest: +SKIP
    IndexSummary(added=1204, …)
    """
    folder, album_path = Path(folder).resolve(), Path(album_path).absolute()
    with lock(album_path.with_name(f".{album_path.name}.lock"), "indexing"):
        files, unlisted = _scan(folder, album_path)
        with _open(album_path, folder, encoder, model, files) as album:
            run = _Run(album, folder, encoder)
            try:
                gone = run.plan(files, unlisted, retry)
                run.encode(batch, workers or min(4, os.cpu_count() or 1), progress, stop)
                run.forget(gone, many=forget)
            except KeyboardInterrupt:
                raise Stopped(run.summary()) from None
            return run.summary()


def _scan(folder: Path, album_path: Path) -> tuple[dict[str, _File], list[str]]:
    """Return path → file for every picture, and the folders that could not be listed, all relative to `folder`."""
    errors: list[OSError] = []
    files = {}
    for path in find_images(folder, exclude=[album_path], unreadable=errors.append):
        with contextlib.suppress(FileNotFoundError):  # gone since it was listed
            stat = path.stat()
            name = str(path.relative_to(folder))
            files[name] = _File(name, stat.st_size, stat.st_mtime_ns)
    unlisted = [os.path.relpath(error.filename, folder) for error in errors]
    if "." in unlisted:
        raise ClipItalianError(f"{printable(folder)}: cannot be listed ({errors[0].strerror}); check its permissions")
    return files, unlisted


def _open(album_path: Path, folder: Path, encoder: Encoder, model: str | None, files: Mapping[str, _File]) -> Album:
    if is_blank(album_path):
        return Album.create(album_path, folder, encoder, model=model)
    album = Album.open(album_path)
    try:
        album.check(encoder)
        _check_folder(album, folder, files)
    except BaseException:
        album.close()
        raise
    return album


def _check_folder(album: Album, folder: Path, files: Mapping[str, _File]) -> None:
    """Refuse a folder that would empty the album: another one, or a drive that is not there."""
    known = album.stamps().keys() | album.skips().keys()
    if known and not files:
        raise ClipItalianError(
            f"{printable(folder)}: has no pictures, but the album knows {len(known)}; connect the drive they are on, "
            "or delete the album to begin again"
        )
    if album.root != folder:
        if album.root.exists() or not known & files.keys():
            raise BadAlbum(
                f"{printable(album.path)}: holds the photos of {printable(album.root)}, not of {printable(folder)}; "
                "index that folder, or choose a new album"
            )
        album.move(folder)  # the same photos, mounted or moved elsewhere


class _Run:
    """One run: what is to do, and the counts of what has been done."""

    def __init__(self, album: Album, folder: Path, encoder: Encoder):
        self.album, self.folder, self.encoder = album, folder, encoder
        preprocess = getattr(encoder, "preprocess", None)
        self.preprocess = preprocess if isinstance(preprocess, Preprocess) else None
        self.known = album.stamps()
        self.contents = {sha256 for _, _, sha256 in self.known.values()}
        self.displaced: dict[str, Photo] = {}  # content → photo this run has written over: two files may swap names
        self.lost: dict[str, str] = {}  # content → path that is gone, and may turn up under another name
        self.todo: list[_File] = []
        self.counts: Counter[str] = Counter()
        self.skipped: list[Skip] = []

    def plan(self, files: Mapping[str, _File], unlisted: list[str], retry: bool) -> list[str]:
        """Sort the files into unchanged and to do; returns the paths that are gone."""
        skips = self.album.skips()
        for file in files.values():
            skip, stamp = skips.get(file.path), (file.size, file.mtime_ns)
            if file.path in self.known and self.known[file.path][:2] == stamp:
                self.counts["unchanged"] += 1
            elif skip is not None and not retry and (skip.size, skip.mtime_ns) == stamp:
                self.counts["skipped_before"] += 1
            else:
                self.todo.append(file)
        self.skipped = [Skip(path, 0, 0, "this folder cannot be listed; check its permissions") for path in unlisted]
        hidden = tuple(f"{path}/" for path in unlisted)  # what lies under those is not seen, which is not gone
        gone = sorted(path for path in {*self.known, *skips} - files.keys() if not path.startswith(hidden))
        self.lost = {self.known[path][2]: path for path in gone if path in self.known}
        return gone

    def encode(
        self,
        batch: int,
        workers: int,
        progress: Callable[[Progress], None] | None,
        stop: Callable[[], bool] | None,
    ) -> None:
        """Read, encode and commit what is to do, batch by batch."""
        settled, done = self.counts["unchanged"] + self.counts["skipped_before"], 0
        if len(self.todo) != self.album.unread():
            self.album.write(unread=len(self.todo))
        with contextlib.closing(self._read_all(workers, ahead=batch + workers)) as reads:
            while chunk := list(itertools.islice(reads, batch)):
                done += len(chunk)
                self._commit(chunk, unread=len(self.todo) - done)
                if progress is not None:
                    progress(Progress(done, len(self.todo), settled))
                if stop is not None and done < len(self.todo) and stop():
                    raise KeyboardInterrupt

    def forget(self, gone: Iterable[str], *, many: bool) -> None:
        """Remove from the album what is no longer in the folder and has not turned up under another name.

        Photos that are over half of those known before are kept and counted as missing, in this run and the next ones,
        until all are found again or `many` says otherwise.
        """
        photos = self.album.stamps().keys()
        still = photos | self.album.skips().keys()
        left = [path for path in gone if path in still]
        lost = sum(path in photos for path in left)
        before = self.album.keeps_missing()
        keep = not many and lost > 0 and (before or (lost >= _MANY and 2 * lost > len(self.known)))
        if keep != before:
            self.album.write(keeps_missing=keep)
        if keep:
            self.counts["missing"] = lost
        elif left:
            self.album.write(gone=left)
            self.counts["removed"] += sum(path in self.known for path in left)

    def summary(self) -> IndexSummary:
        """Return the counts so far."""
        return IndexSummary(**self.counts, skipped=tuple(self.skipped))

    def _read_all(self, workers: int, ahead: int) -> Generator[_Read, None, None]:
        """Yield every file to do, read, in order; at most `ahead` are read before they are asked for."""
        pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        waiting: deque[Future[_Read]] = deque()
        try:
            for file in self.todo:
                waiting.append(pool.submit(self._read, file))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)

    def _read(self, file: _File) -> _Read:
        path = self.folder / file.path
        try:
            sha256 = sha256_file(path)
            if sha256 in self.contents:
                return _Read(file, sha256)
            picture = read_picture(path, min_side=self.preprocess.size if self.preprocess else _MIN_SIDE)
        except OSError as error:
            fault = f"cannot be read ({error.strerror}); check the file and its permissions"
            return _Read(file, fault=fault, lasting=False)
        except CorruptImage as error:
            return _Read(file, fault=str(error).removeprefix(f"{printable(path)}: "))
        if self.preprocess:  # the encoder's own first step, done in the threads, so that only small pictures wait
            picture = dataclasses.replace(picture, image=self.preprocess.square(picture.image))
        return _Read(file, sha256, picture)

    def _commit(self, reads: list[_Read], unread: int) -> None:
        """Encode what is new, take from the album what it knows by its bytes, and write all in one transaction."""
        photos = [*self._encoded(reads), *self._recognised(reads)]
        faults = [(Skip(r.file.path, r.file.size, r.file.mtime_ns, r.fault), r.lasting) for r in reads if r.fault]
        counts, found = Counter[str](), []
        for photo in photos:
            before = self.known.get(photo.path)
            if before is not None:
                counts["unchanged" if before[2] == photo.sha256 else "changed"] += 1
            elif photo.sha256 in self.lost:
                counts["renamed"] += 1
                found.append(self.lost.pop(photo.sha256))
            else:
                counts["added"] += 1
        for read in reads:
            before = self.known.get(read.file.path)
            if before is not None and before[2] != read.sha256:
                self.displaced[before[2]] = self._with_content(before[2])
        skips = [skip for skip, lasting in faults if lasting]
        self.album.write(photos=photos, skips=skips, gone=found, unread=unread)
        self.counts += counts
        self.skipped += [skip for skip, _ in faults]

    def _encoded(self, reads: list[_Read]) -> Iterator[Photo]:
        new = [(read, read.picture) for read in reads if read.picture is not None]
        if new:
            vectors = self.encoder.encode_images([picture.image for _, picture in new])
            for (read, picture), vector in zip(new, vectors, strict=True):
                file = read.file
                yield Photo(
                    file.path,
                    file.size,
                    file.mtime_ns,
                    read.sha256,
                    picture.width,
                    picture.height,
                    picture.taken,
                    vector,
                )

    def _recognised(self, reads: list[_Read]) -> Iterator[Photo]:
        for read in reads:
            if read.picture is None and read.fault is None:
                yield dataclasses.replace(self._with_content(read.sha256), **dataclasses.asdict(read.file))

    def _with_content(self, sha256: str) -> Photo:
        photo = self.displaced.get(sha256) or self.album.photo_with(sha256)
        assert photo is not None, f"the album lost {sha256} during this run"
        return photo

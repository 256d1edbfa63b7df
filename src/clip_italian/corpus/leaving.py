"""Leaving the corpus: a sample goes from ledger, pictures, translations, shards and card, and does not come back.

Public names: Gone, Left, meant, forget, sweep, bury_file, write_stones, trained_on.

What stays is a tombstone: the SHA-256 of the address, of the stored picture, its perceptual hash, or a domain's name.
Later builds refuse what a tombstone names, copies of the picture at other addresses included.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from ..errors import BadPlan, CorruptImage
from ..files import atomic_write
from ..images import printable
from .corpus import Corpus
from .duplicates.addresses import address_key
from .duplicates.perceptual import distance, mirrored, phash_file
from .ledger import Entry, Ledger
from .record import Record
from .translation.cache import Cache
from .translation.wording import parts

_HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}")
_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+[a-z0-9-]{2,}")
ADDRESS, DOMAIN, PICTURE, LOOK, SAMPLE = KINDS = ("address", "domain", "picture", "look", "sample")


class Gone:
    """What has left a corpus, as its tombstones say. pictures: SHA-256 of stored bytes; looks: perceptual hashes."""

    def __init__(self, ledger: Ledger) -> None:
        self.addresses, self.domains = ledger.gone(ADDRESS), ledger.gone(DOMAIN)
        self.pictures, self.samples = ledger.gone(PICTURE), ledger.gone(SAMPLE)
        self.looks = np.array(sorted(int(value, 16) for value in ledger.gone(LOOK)), np.uint64)

    def covers(self, record: Record) -> bool:
        """Tell whether a record, its address, page or domain has left."""
        return record.id in self.samples or self.covers_place(record.image) or self.covers_place(record.page)

    def covers_place(self, place: str) -> bool:
        """Tell whether an address or its domain has left."""
        return bool(place) and (_digest(place) in self.addresses or bool(self.domains & _domains(place)))

    def near(self, looks: np.ndarray, bits: int) -> np.ndarray:
        """Tell of each of (n,) uint64 perceptual hashes whether a picture that looks so has left, in a mirror too."""
        found = np.zeros(len(looks), bool)
        for look in self.looks:
            found |= (distance(looks, look) <= bits) | (distance(looks, mirrored(look)) <= bits)
        return found


@dataclass(frozen=True)
class Left:
    """How many samples, pictures and translations went."""

    samples: int
    pictures: int
    translations: int


@dataclass(frozen=True)
class Meant:
    """What somebody wants out: tombstones, samples with all of the same pictures and copies, addresses of no sample."""

    stones: tuple[tuple[str, str], ...]
    entries: tuple[Entry, ...]
    orphans: tuple[str, ...]


def meant(corpus: Corpus, what: str) -> Meant:
    """Find what an address, the hash of a picture or of a sample, a domain, or a local picture's path stands for.

    Addresses are compared as duplicates are: other sizes of a Wikimedia file, http and https, are one. Raises BadPlan
    when `what` is none of these.
    """
    ledger, what = corpus.ledger, what.strip()
    if "://" in what:
        wanted = _digest(what)
        stones = [(ADDRESS, wanted)]
        ids, orphans = _found(ledger, lambda place: _digest(place) == wanted)
    elif _HASH.fullmatch(what.lower()):
        stones = [(PICTURE if len(what) == 64 else SAMPLE, what.lower())]
        entries = ledger.select("p.sha256 = ?1 OR s.id = ?1", what.lower())
        ids, orphans = [entry.id for entry in entries], []
    elif here := ledger.select("s.image = ?", what):
        stones, ids, orphans = [], [entry.id for entry in here], []
    else:
        domain = what.lower().rstrip(".")
        if not _DOMAIN.fullmatch(domain):
            raise BadPlan(
                f"{printable(what)}: neither an address (https://…), nor the hash of a picture (64 digits) or sample "
                "(32), nor a domain (example.org), nor a local picture of this corpus"
            )
        stones = [(DOMAIN, domain)]
        ids, orphans = _found(ledger, lambda place: domain in _domains(place))
    return Meant(tuple(stones), tuple(_with_copies(ledger, ledger.entries(sorted(set(ids))))), tuple(orphans))


def forget(corpus: Corpus, wanted: Meant) -> Left:
    """Remove what is meant and write tombstones, also for what the corpus does not have.

    Shards, index, list and card are what `build.finish` then writes anew. Killed in between, it leaves nothing that the
    next `forget` or build would not remove.
    """
    images = [*(entry.record.image for entry in wanted.entries), *wanted.orphans]
    hashes = sorted({picture.sha256 for picture in corpus.ledger.pictures_of(images).values() if picture.sha256})
    stones = [*wanted.stones, *((ADDRESS, _digest(image)) for image in images), *((PICTURE, h) for h in hashes)]
    stones += [(LOOK, f"{look:016x}") for look in _looks(corpus, hashes)]
    texts = {caption.text for entry in wanted.entries for caption in entry.record.captions}
    texts |= {one.caption.text for entry in wanted.entries for one in entry.captions}
    translations = _forget_translations(corpus, texts)
    with corpus.ledger.transaction():
        corpus.ledger.bury(stones, datetime.now(UTC).isoformat(timespec="seconds"))
        corpus.ledger.remove([entry.id for entry in wanted.entries])
        corpus.ledger.remove_pictures(images)
    removed = sum(corpus.store.remove(sha256) for sha256 in hashes)
    return Left(len(wanted.entries), removed, translations)


def sweep(corpus: Corpus) -> None:
    """Remove the pictures that nothing leads to any more: of rows that their sources no longer have, or that left."""
    orphans = corpus.ledger.orphans()
    with corpus.ledger.transaction():
        unused = corpus.ledger.remove_pictures([image for image, _ in orphans])
    for sha256 in {*unused, *corpus.ledger.gone(PICTURE)}:
        corpus.store.remove(sha256)


def bury_file(ledger: Ledger, path: Path) -> None:
    """Take over the tombstones of another corpus, as `write_stones` wrote them. Raises BadPlan."""
    try:
        rows = [line.split("\t") for line in path.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadPlan(f"{path}: cannot be read ({error}); `gone` names files gone.tsv of other corpora") from error
    for number, row in enumerate(rows, 1):
        if len(row) != 3 or row[0] not in KINDS:
            raise BadPlan(f"{path}, line {number}: not a tombstone (kind, value, time); take another corpus's gone.tsv")
    with ledger.transaction():
        for kind, value, at in rows:
            ledger.bury([(kind, value)], at)


def write_stones(corpus: Corpus) -> None:
    """Write the tombstones beside the corpus, for other corpora to respect (`gone` in their plans)."""
    with atomic_write(corpus.folder / "gone.tsv", "w") as stream:
        stream.writelines("\t".join(row) + "\n" for row in corpus.ledger.stones())


def trained_on(corpus: str, folders: Iterable[Path]) -> list[Path]:
    """Return the model directories below `folders` whose notes say that they learned from the corpus of this name."""
    found = []
    for folder in folders:
        for description in sorted(folder.rglob("model.json")):
            try:
                notes = json.loads(description.read_text("utf-8")).get("notes") or {}
                named = notes.get("corpora") or ()
            except (ValueError, AttributeError, OSError):
                continue  # no description of a model
            if corpus in named:
                found.append(description.parent)
    return found


def _found(ledger: Ledger, wanted: Callable[[str], bool]) -> tuple[list[str], list[str]]:
    """Return the ids of samples, and the addresses of orphans, of which a place is wanted."""
    ids, orphans = list[str](), list[str]()
    for identity, image, page, final in ledger.places():
        if any(place and wanted(place) for place in (image, page, final)):
            if identity:
                ids.append(identity)
            else:
                orphans.append(image)
    return ids, orphans


def _with_copies(ledger: Ledger, entries: Sequence[Entry]) -> list[Entry]:
    """Return the samples with all of the same pictures and of their groups, each once."""
    found = {entry.id: entry for entry in entries}
    new = list(entries)
    while new:
        for one in ledger.relatives(new.pop()):
            if one.id not in found:
                found[one.id] = one
                new.append(one)
    return list(found.values())


def _looks(corpus: Corpus, hashes: Sequence[str]) -> list[int]:
    """Return the perceptual hashes of pictures, of those that were not looked at yet too."""
    found = corpus.ledger.phashes(hashes)
    for sha256 in hashes:
        if sha256 not in found:
            try:
                found[sha256] = phash_file(corpus.store.path(sha256))
            except CorruptImage:
                continue  # lost or damaged: its bytes' hash and its address must do
    return list(found.values())


def _forget_translations(corpus: Corpus, texts: Iterable[str]) -> int:
    if not corpus.translations.exists():
        return 0
    cache = Cache(corpus.translations)
    try:
        return cache.forget(sorted({part for text in texts for part in parts(text)}))
    finally:
        cache.close()


def _digest(place: str) -> str:
    """Hash what the addresses of one picture have in common."""
    return hashlib.sha256(address_key(place.strip()).encode("utf-8", "surrogateescape")).hexdigest()


def _domains(place: str) -> set[str]:
    """Return a host's name and all domains that it lies in."""
    try:
        host = (urlsplit(place).hostname or "") if "://" in place else ""
    except ValueError:
        return set()  # no address at all
    labels = host.lower().rstrip(".").split(".")
    return {".".join(labels[start:]) for start in range(len(labels))} - {""}

"""Leaving the corpus: a sample goes from ledger, pictures, translations, shards and card, and does not come back.

Public names: Gone, Left, forget, trained_on.

What stays is a tombstone: the SHA-256 of the address, of the stored picture, its perceptual hash, or a domain's name.
Later builds refuse what a tombstone names, copies of the picture at other addresses included.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from ..errors import BadPlan
from ..images import printable
from .corpus import Corpus
from .duplicates.addresses import address_key
from .duplicates.perceptual import distance
from .ledger import Entry, Ledger
from .record import Record
from .translation.cache import Cache
from .translation.wording import parts

_HASH = re.compile(r"[0-9a-f]{64}|[0-9a-f]{32}")
_DOMAIN = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)+[a-z0-9-]{2,}")
ADDRESS, DOMAIN, PICTURE, LOOK, SAMPLE = "address", "domain", "picture", "look", "sample"


class Gone:
    """What has left a corpus, as its tombstones say. pictures: SHA-256 of stored bytes; looks: perceptual hashes."""

    def __init__(self, ledger: Ledger) -> None:
        self.addresses, self.domains = ledger.gone(ADDRESS), ledger.gone(DOMAIN)
        self.pictures, self.samples = ledger.gone(PICTURE), ledger.gone(SAMPLE)
        self.looks = np.array(sorted(int(value, 16) for value in ledger.gone(LOOK)), np.uint64)

    def covers(self, record: Record) -> bool:
        """Tell whether a record's address, page or domain has left."""
        if record.id in self.samples:
            return True
        places = [place for place in (record.image, record.page) if place]
        return any(_digest(place) in self.addresses or self.domains & _domains(place) for place in places)

    def near(self, looks: np.ndarray, bits: int) -> np.ndarray:
        """Tell of each of (n,) uint64 perceptual hashes whether a picture that looks so has left."""
        found = np.zeros(len(looks), bool)
        for look in self.looks:
            found |= distance(looks, look) <= bits
        return found


@dataclass(frozen=True)
class Left:
    """How many samples, pictures and translations went."""

    samples: int
    pictures: int
    translations: int


def forget(corpus: Corpus, what: str) -> Left:
    """Remove all samples of an address, a picture or sample by its hash, or a domain, and write tombstones.

    With a sample go all that show the same picture, at whatever address, and its near copies. Shards, their index, the
    list of ids and the card are what `build.finish` writes anew. Raises BadPlan when `what`
    is neither an address, nor a hash, nor a domain. What the corpus does not have gets a tombstone all the same.
    """
    stones, entries = _meant(corpus.ledger, what.strip())
    entries = _with_copies(corpus.ledger, entries)
    pictures = corpus.ledger.pictures_of([entry.record.image for entry in entries])
    hashes = sorted({picture.sha256 for picture in pictures.values() if picture.sha256})
    stones += [(ADDRESS, _digest(entry.record.image)) for entry in entries]
    stones += [(PICTURE, sha256) for sha256 in hashes]
    stones += [(LOOK, f"{look:016x}") for look in corpus.ledger.phashes(hashes)]
    texts = {caption.text for entry in entries for caption in entry.record.captions}
    texts |= {one.caption.text for entry in entries for one in entry.captions}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    # Pictures first: were the ledger written first, a crash would leave pictures that nothing leads to.
    removed = sum(corpus.store.remove(sha256) for sha256 in hashes)
    translations = 0
    if corpus.translations.exists():
        cache = Cache(corpus.translations)
        try:
            translations = cache.forget(sorted({part for text in texts for part in parts(text)}))
        finally:
            cache.close()
    with corpus.ledger.transaction():
        corpus.ledger.bury(stones, now)
        corpus.ledger.remove([entry.id for entry in entries])
    return Left(len(entries), removed, translations)


def trained_on(corpus: str, folders: Iterable[Path]) -> list[Path]:
    """Return the model directories below `folders` whose notes say that they learned from the corpus of this name."""
    found = []
    for folder in folders:
        for description in sorted(folder.rglob("model.json")):
            try:
                notes = json.loads(description.read_text("utf-8")).get("notes") or {}
            except (ValueError, AttributeError, OSError):
                continue  # no description of a model
            if corpus in notes.get("corpora", ()):
                found.append(description.parent)
    return found


def _meant(ledger: Ledger, what: str) -> tuple[list[tuple[str, str]], list[Entry]]:
    """Return tombstones and samples for an address, a hash or a domain."""
    if "://" in what:
        return [(ADDRESS, _digest(what))], ledger.select(
            "s.image = ?1 OR p.final_url = ?1 OR s.record ->> 'page' = ?1", what
        )
    if _HASH.fullmatch(what.lower()):
        kind = PICTURE if len(what) == 64 else SAMPLE
        return [(kind, what.lower())], ledger.select("p.sha256 = ?1 OR s.id = ?1", what.lower())
    domain = what.lower().rstrip(".")
    if not _DOMAIN.fullmatch(domain):
        raise BadPlan(
            f"{printable(what)}: neither an address (https://…), nor the hash of a picture (64 digits) or sample (32), "
            "nor a domain (example.org)"
        )
    likely = ledger.select("instr(s.image, ?1) OR instr(p.final_url, ?1) OR instr(s.record ->> 'page', ?1)", domain)
    places = [(entry, ledger.picture(entry.record.image)) for entry in likely]
    return [(DOMAIN, domain)], [
        entry
        for entry, picture in places
        if any(
            domain in _domains(place)
            for place in (entry.record.image, entry.record.page, picture.final_url if picture else "")
        )
    ]


def _with_copies(ledger: Ledger, entries: Sequence[Entry]) -> list[Entry]:
    """Return the samples with all of the same pictures and of their groups, each once."""
    found = {entry.id: entry for entry in entries}
    new = list(entries)
    while new:
        entry = new.pop()
        related = ledger.relatives(entry)
        for one in related:
            if one.id not in found:
                found[one.id] = one
                new.append(one)
    return list(found.values())


def _digest(place: str) -> str:
    """Hash what the addresses of one picture have in common."""
    return hashlib.sha256(address_key(place.strip()).encode("utf-8", "surrogateescape")).hexdigest()


def _domains(place: str) -> set[str]:
    """Return a host's name and all domains that it lies in."""
    if "://" not in place:
        return set()
    labels = (urlsplit(place).hostname or "").rstrip(".").split(".")
    return {".".join(labels[start:]) for start in range(len(labels))}

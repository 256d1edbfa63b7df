"""Shards: WebDataset tars for training, with an index, the list of ids, and a hash of everything.

Public names: write_shards, Shards, place_of.

A sample's split and shard depend on its id and the number of shards alone; a shard's bytes on its samples alone. A
shard that is as it should be is left so: taking one sample out writes its shard anew, or all where one shard fewer
is enough.
"""

import hashlib
import io
import json
import math
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ClipItalianError, MissingExtra
from ..files import atomic_write, sha256_file, sha256_parts, write_json
from .corpus import Corpus, Report
from .ledger import SCORED, Entry, Picture

SPLITS = ("train", "valid")
_READ = 500  # samples read from the ledger at a time


@dataclass(frozen=True)
class Shards:
    """What was written. samples: by split; written: names of shards that were written anew; fingerprint: of all."""

    samples: Mapping[str, int]
    shards: int
    written: tuple[str, ...]
    fingerprint: str


def place_of(identity: str, valid: float) -> tuple[str, float]:
    """Return the split of a sample, and where between 0 and 1 it stands in it."""
    split = "valid" if int(identity[:8], 16) < valid * 2**32 else "train"
    return split, int(identity[8:16], 16) / 2**32


def write_shards(corpus: Corpus, report: Report) -> Shards:
    """Bring the folder of shards up to date with the samples that came through all stages.

    Raises ClipItalianError when a picture is damaged (the next build fetches it again), CannotWrite, MissingExtra
    without pyarrow.
    """
    parquet = _Index(corpus)
    places, counts = _places(corpus)
    noted: dict[str, Any] = {}
    written = []
    total = _weights(corpus, places)
    with parquet:
        for done, (name, ids) in enumerate(sorted(places.items())):
            members = [_Member(corpus, entry, picture) for entry, picture in _entries(corpus, ids)]
            digest = sha256_parts([member.digest for member in members])
            path = corpus.shards / name
            before = _noted(corpus, name)
            if before.get("digest") == digest and path.is_file() and path.stat().st_size == before.get("size"):
                noted[name] = before
            else:
                noted[name] = _write(corpus, name, members, digest)
                written.append(name)
            parquet.add(name, members, total[name.partition("-")[0]])
            report.work("writing shards", done + 1, len(places))
    fingerprint = sha256_parts([f"{name} {one['sha256']}".encode() for name, one in sorted(noted.items())])
    with atomic_write(corpus.folder / "ids.txt", "w") as stream:
        stream.writelines(f"{identity}\n" for identity in sorted(i for ids in places.values() for i in ids))
    write_json(corpus.shards / "shards.json", {"corpus": corpus.plan.name, "fingerprint": fingerprint, "shards": noted})
    _tidy(corpus, noted)
    return Shards(counts, len(places), tuple(written), fingerprint)


class _Member:
    """A sample as a shard has it: the JSON beside its picture."""

    def __init__(self, corpus: Corpus, entry: Entry, picture: Picture) -> None:
        self.entry, self.picture, self.corpus = entry, picture, corpus
        self.kept = [one for one in entry.italian if not one.dropped]
        self.weight = corpus.plan.shards.weights.get(entry.record.source, 1.0)
        told = {
            "captions": [_caption(one.caption.text, one.caption.original) for one in self.kept],
            "corpus": corpus.plan.name,
            "source": entry.record.source,
            "origins": [one.caption.engine or one.caption.origin for one in self.kept],
            "licence": entry.record.licence,
            "attribution": entry.record.attribution,
            "url": entry.record.image,
            "page": entry.record.page,
            "sha256": picture.sha256,
            "width": picture.width,
            "height": picture.height,
            "similarities": [one.similarity for one in self.kept],
            "weight": self.weight,
        }
        self.json = json.dumps(told, ensure_ascii=False, sort_keys=True).encode("utf-8", "surrogatepass")
        self.digest = f"{entry.id} {picture.sha256} ".encode() + self.json

    def picture_bytes(self) -> bytes:
        """Return the stored picture. Raises ClipItalianError when it is not what was stored."""
        path = self.corpus.store.path(self.picture.sha256)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            data = b""
        if hashlib.sha256(data).hexdigest() != self.picture.sha256:
            self.corpus.store.remove(self.picture.sha256)
            self.corpus.ledger.forget_picture(self.picture.image)
            raise ClipItalianError(f"{path}: is missing or damaged; run build again, which fetches it anew")
        return data


def _caption(italian: str, original: str) -> dict[str, str]:
    return {"it": italian, "en": original} if original else {"it": italian}


def _places(corpus: Corpus) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Return shard → ids of its samples, in order, and how many samples each split has."""
    plan = corpus.plan.shards
    splits: dict[str, list[tuple[float, str]]] = {split: [] for split in SPLITS}
    for identity in corpus.ledger.ids(SCORED):
        split, place = place_of(identity, plan.valid)
        splits[split].append((place, identity))
    places: dict[str, list[str]] = {}
    for split, members in splits.items():
        shards = math.ceil(len(members) / plan.samples)
        for place, identity in sorted(members):
            places.setdefault(f"{split}-{int(place * shards):06}.tar", []).append(identity)
    return places, {split: len(members) for split, members in splits.items()}


def _weights(corpus: Corpus, places: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Return the sum of the samples' weights in each split."""
    weights, sources = corpus.plan.shards.weights, corpus.ledger.sources()
    total = dict.fromkeys(SPLITS, 0.0)
    for name, ids in places.items():
        total[name.partition("-")[0]] += sum(weights.get(sources[identity], 1.0) for identity in ids)
    return total


def _entries(corpus: Corpus, ids: Sequence[str]) -> Iterator[tuple[Entry, Picture]]:
    for start in range(0, len(ids), _READ):
        entries = corpus.ledger.entries(ids[start : start + _READ])
        pictures = corpus.ledger.pictures_of([entry.record.image for entry in entries])
        yield from ((entry, pictures[entry.record.image]) for entry in entries)


def _write(corpus: Corpus, name: str, members: Sequence[_Member], digest: str) -> dict[str, Any]:
    """Write a shard whose bytes depend on its members alone; trusted only once the ledger says that it is whole."""
    path = corpus.shards / name
    with corpus.ledger.transaction():
        corpus.ledger.write_note(f"shard {name}", "")
    with atomic_write(path) as stream, tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for member in members:
            for ending, data in (("jpg", member.picture_bytes()), ("json", member.json)):
                about = tarfile.TarInfo(f"{member.entry.id}.{ending}")
                about.size = len(data)
                tar.addfile(about, io.BytesIO(data))
    told = {"digest": digest, "sha256": sha256_file(path), "size": path.stat().st_size, "samples": len(members)}
    with corpus.ledger.transaction():
        corpus.ledger.write_note(f"shard {name}", json.dumps(told))
    return told


def _noted(corpus: Corpus, name: str) -> dict[str, Any]:
    noted = corpus.ledger.note(f"shard {name}")
    return dict(json.loads(noted)) if noted else {}


def _tidy(corpus: Corpus, wanted: Mapping[str, Any]) -> None:
    """Remove the shards that are no longer, and what killed processes left half written."""
    for path in corpus.shards.glob("*.tar"):
        if path.name not in wanted:
            path.unlink()
    for path in (*corpus.shards.glob(".*.part"), *corpus.folder.glob(".*.part")):
        path.unlink()


class _Index:
    """The Parquet table of all samples, written whole."""

    def __init__(self, corpus: Corpus) -> None:
        try:
            import pyarrow
            import pyarrow.parquet
        except ImportError as error:
            raise MissingExtra(
                "writing shards needs pyarrow, which is not installed; run: pip install 'clip-italian[corpus]'"
            ) from error
        text, number = pyarrow.string(), pyarrow.int32()
        self.arrow, self.parquet = pyarrow, pyarrow.parquet
        self.schema = pyarrow.schema(
            [("id", text), ("split", text), ("shard", text), ("source", text), ("licence", text), ("url", text),
             ("sha256", text), ("width", number), ("height", number), ("captions", number), ("words", number),
             ("origin", text), ("similarity", pyarrow.float32()), ("weight", pyarrow.float64()),
             ("probability", pyarrow.float64())]
        )  # fmt: skip
        corpus.shards.mkdir(parents=True, exist_ok=True)
        self._file = atomic_write(corpus.shards / "index.parquet")

    def __enter__(self) -> "_Index":
        self.writer = self.parquet.ParquetWriter(self._file.__enter__(), self.schema)
        return self

    def __exit__(self, *error: Any) -> None:
        self.writer.close()
        self._file.__exit__(*error)

    def add(self, shard: str, members: Sequence[_Member], total: float) -> None:
        """Add a shard's samples. total: the sum of the weights of its split."""
        rows = [
            {
                "id": member.entry.id, "split": shard.partition("-")[0], "shard": shard,
                "source": member.entry.record.source, "licence": member.entry.record.licence,
                "url": member.entry.record.image, "sha256": member.picture.sha256, "width": member.picture.width,
                "height": member.picture.height, "captions": len(member.kept),
                "words": sum(len(one.caption.text.split()) for one in member.kept),
                "origin": ", ".join(sorted({one.caption.engine or one.caption.origin for one in member.kept})),
                "similarity": max((s for one in member.kept if (s := one.similarity) is not None), default=None),
                "weight": member.weight, "probability": member.weight / total if total else 0.0,
            }
            for member in members
        ]  # fmt: skip
        self.writer.write_table(self.arrow.Table.from_pylist(rows, schema=self.schema))

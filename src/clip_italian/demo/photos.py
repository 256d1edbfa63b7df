"""The demo without training: index a folder of pictures, ask everyday things in Italian, draw what was found.

Public names: find, row, Found, QUERIES.
"""

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..encoder import Encoder
from ..errors import ClipItalianError
from ..files import sha256_parts
from ..images import printable
from ..search.album import Album
from ..search.indexing import IndexSummary, Progress, index
from ..search.query import search
from ..search.sheet import Row, contact_sheet
from .pictures import Asked

QUERIES = tuple(
    map(
        Asked,
        (
            "un cane che corre sulla spiaggia",
            "un gatto sul divano",
            "bambini che giocano",
            "persone sedute a tavola",
            "montagne con la neve",
            "il mare al tramonto",
            "una strada di città di notte",
            "fiori rossi",
            "una torta di compleanno",
            "una bicicletta appoggiata a un muro",
        ),
    )
)


@dataclass(frozen=True)
class Found:
    """What was done: the indexing, album and sheet, seconds spent on indexing and on the median query.

    first: how many queries found a right picture first, of how many whose answer is known.
    """

    summary: IndexSummary
    album: Path
    sheet: Path
    indexing: float
    query: float
    first: tuple[int, int]


def find(
    encoder: Encoder,
    model: str,
    photos: Path,
    out: Path,
    *,
    queries: Sequence[Asked] = QUERIES,
    progress: Callable[[Progress], None],
) -> Found:
    """Bring an album in `out` up to date with the folder and write a contact sheet of the queries.

    Each folder and model has an album and a sheet of its own there. Raises ClipItalianError when nothing is there to
    search, BadAlbum, BadModel, OSError.
    """
    out.mkdir(parents=True, exist_ok=True)
    name = _name(photos.resolve(), encoder.fingerprint)
    album_path, sheet = out / f"{name}.db", out / f"{name}.png"
    begun = time.perf_counter()
    summary = index(photos, album_path, encoder, model=model, progress=progress)
    if summary.added + summary.changed + summary.renamed + summary.unchanged == 0:
        reasons = "".join(f"\n  {printable(skip.path)}: {skip.reason}" for skip in summary.skipped[:5])
        raise ClipItalianError(
            f"{printable(photos)}: there is no picture to search, there or in its folders; name another folder{reasons}"
        )
    indexed = time.perf_counter()
    rows, taken = [], []
    with Album.open(album_path) as album:
        for asked in queries:
            begun_query = time.perf_counter()
            rows.append(row(album, encoder, asked))
            taken.append(time.perf_counter() - begun_query)
    contact_sheet(rows, sheet)
    known = [row.correct for row in rows if row.correct]
    return Found(
        summary, album_path, sheet, indexed - begun, statistics.median(taken),
        (sum(correct[0] for correct in known), len(known)),
    )  # fmt: skip


def row(album: Album, encoder: Encoder, asked: Asked) -> Row:
    """Search for a query and lay out what was found."""
    hits = search(album, encoder, asked.query, 6)
    correct = None if asked.right is None else [hit.path.stem in asked.right for hit in hits]
    return Row(
        asked.query, [hit.path for hit in hits], [f"{hit.rank}  {printable(hit.path.name)}" for hit in hits], correct
    )


def _name(photos: Path, fingerprint: str) -> str:
    """Name what belongs to a folder and a model: the folder's name to read, and a hash that tells its likes apart."""
    digest = sha256_parts([os.fsencode(photos), fingerprint.encode()])
    return f"{photos.name[:40] or 'photos'}-{digest[:8]}"

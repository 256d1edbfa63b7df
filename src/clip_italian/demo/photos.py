"""The demo on somebody's own photos: index them, ask everyday things in Italian, draw what was found.

Public names: find, QUERIES.
"""

import os
from collections.abc import Callable
from pathlib import Path

from ..encoder import Encoder
from ..files import sha256_parts
from ..search.album import Album
from ..search.indexing import IndexSummary, Progress, index
from ..search.query import search
from ..search.sheet import Row, contact_sheet

QUERIES = (
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
)


def find(
    encoder: Encoder, model: str, photos: Path, out: Path, *, progress: Callable[[Progress], None]
) -> tuple[IndexSummary, Path, Path]:
    """Bring an album in `out` up to date with the folder and write a contact sheet of QUERIES.

    Each folder and model has an album and a sheet of its own there. Returns what indexing did and the paths of album
    and sheet. Raises BadAlbum, BadModel, OSError.
    """
    out.mkdir(parents=True, exist_ok=True)
    name = _name(photos.resolve(), encoder.fingerprint)
    album_path, sheet = out / f"{name}.db", out / f"{name}.png"
    summary = index(photos, album_path, encoder, model=model, progress=progress)
    with Album.open(album_path) as album:
        rows = []
        for query in QUERIES:
            hits = search(album, encoder, query, 6)
            rows.append(Row(query, [hit.path for hit in hits], [f"{hit.score:.2f}" for hit in hits]))
    contact_sheet(rows, sheet)
    return summary, album_path, sheet


def _name(photos: Path, fingerprint: str) -> str:
    """Name what belongs to a folder and a model: the folder's name to read, and a hash that tells its likes apart."""
    digest = sha256_parts([os.fsencode(photos), fingerprint.encode()])
    return f"{photos.name[:40] or 'photos'}-{digest[:8]}"

"""Find photos with words: exact search over the whole album.

Public names: search, unread, Hit.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..encoder import Encoder
from ..errors import BadQuery
from .album import Album

# Far above the rounding of a float32 product of unit vectors, so that no photo that ties is left out.
_MARGIN = 1e-5
LONGEST = 1000  # characters


@dataclass(frozen=True)
class Hit:
    """A photo that was found. rank: from 1; score: cosine with the query; path: of the file, absolute."""

    rank: int
    score: float
    path: Path


def search(album: Album, encoder: Encoder, query: str, k: int = 20) -> list[Hit]:
    """Return the k photos nearest to an Italian query, best first; equal scores are ordered by path.

    Raises BadQuery when the query is empty, longer than 1,000 characters or than the model reads, or holds a letter
    that it does not know, and when k is below 1; BadAlbum when another model made the album.

    >>> with Album.open("foto.album") as album:                            # doctest: +SKIP
    ...     search(album, load(album.model), "un gatto sul divano", k=3)
    """
    if not query.strip():
        raise BadQuery('the query is empty; type what the photo shows, such as "un gatto sul divano"')
    if len(query) > LONGEST:
        raise BadQuery(f"the query has {len(query):,} characters, and at most {LONGEST:,} are read; say it shorter")
    if k < 1:
        raise BadQuery(f"{k} results were asked for; ask for at least 1")
    album.check(encoder)
    if fault := unread(encoder, query):
        raise BadQuery(f"the model {encoder.name} {fault}; ask in a few Italian words")
    gallery = album.gallery()
    vector = encoder.encode_texts([query])[0]
    order, scores = top(gallery.vectors, vector, k)
    return [
        Hit(rank, float(score), album.root / gallery.paths[i])
        for rank, (i, score) in enumerate(zip(order, scores, strict=True), start=1)
    ]


def unread(encoder: Encoder, text: str) -> str | None:
    """Return what keeps an encoder from reading a whole text, as `PieceTokenizer.fault` puts it; None if nothing does.

    Encoders that do not tell are taken to read everything, but no half characters.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "reads text, and this holds bytes that are none (is the terminal set to UTF-8?)"
    fault = getattr(getattr(encoder, "tokenizer", None), "fault", None)
    return None if fault is None else fault(text)


def top(vectors: np.ndarray, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the indices and cosines of the k rows nearest to `query`, best first, ties by index.

    vectors: (n, dim) float32 unit rows; query: (dim,). The whole matrix is multiplied in float32, and what may be among
    the k again in float64, row by row: equal rows get equal scores there, wherever they stand.
    """
    if len(vectors) == 0:
        return np.empty(0, np.int64), np.empty(0)
    rough = vectors @ query
    last = np.partition(rough, -k)[-k] if k < len(rough) else -np.inf
    near = np.flatnonzero(rough >= last - _MARGIN)
    exact = (vectors[near].astype(np.float64) * query.astype(np.float64)).sum(axis=1)
    order = np.lexsort((near, -exact))[:k]
    return near[order], exact[order]

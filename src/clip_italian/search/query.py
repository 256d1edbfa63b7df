"""Find photos with words: exact search over the whole album.

Public names: search, stands_out, unread, Hit.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..encoder import Encoder
from ..errors import BadQuery
from .album import Album

# Far above the rounding of a float32 product of unit vectors, so that no photo that ties is left out.
_MARGIN = 1e-5
_FEW = 20  # photos below which none can stand out from the others
LONGEST = 1000  # characters
# Words that mean nothing, to see how well photos fit those; made up for this.
_MEANINGLESS = (
    "blirto", "sgnafa trulipo", "dorvenco il prastume", "un frolto di zampechi", "mirgula", "tostarbo che strimpa",
    "quelva", "la grundia del morvasto", "pefti", "un cartonimo sbrezzo", "vulpastra nelva", "lo strambigo",
)  # fmt: skip


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


def stands_out(vectors: np.ndarray, encoder: Encoder, query: str) -> bool:
    """Tell whether the best photo stands out for a query at least as it does for most words that mean nothing.

    vectors: (n, dim) float32 unit rows, an album's. A score says little by itself; it and its distance from the median
    one are held against those of a dozen made-up texts. False where the distance is below three quarters of theirs,
    and the score not above all of theirs (in an album of dogs alone, no photo is far above the others for "cane"). True
    does not say that the album holds what was asked for; False is mostly right where the words are none
    (benchmarks/search/stands_out.py). With less than 20 photos True is returned: none can stand out there.
    """
    if len(vectors) < _FEW:
        return True
    scores = vectors @ encoder.encode_texts([query, *_MEANINGLESS]).T
    best = scores.max(axis=0)
    above = best - np.median(scores, axis=0)
    return bool(above[0] >= np.percentile(above[1:], 75) or best[0] > best[1:].max())


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

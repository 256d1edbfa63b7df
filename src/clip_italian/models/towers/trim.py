"""Chooses the pieces of multilingual-e5-small that Italian and English texts need.

Public names: choose_pieces, write_pieces.
"""

import gzip
import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ...files import atomic_write
from .e5 import SPECIALS, all_pieces, tokenizer

BATCH = 10_000  # texts whose pieces are in memory at once
LAST_LATIN = 0x24F  # the end of Latin Extended-B


def choose_pieces(corpora: Iterable[tuple[Iterable[str], int]]) -> list[str]:
    """Return the pieces worth keeping, in the package's order, without the special ones.

    corpora: (texts, minimum count): a piece stays when some corpus uses it that often under the whole vocabulary. Every
    single Latin letter, digit, punctuation mark and symbol stays whatever its count, so that a word whose pieces went
    is spelled out of smaller ones and never unknown. Raises MissingExtra, BadModel.
    """
    names, _ = all_pieces()
    whole = tokenizer(SPECIALS + tuple(name for name in names if name not in SPECIALS))
    kept = {name for name in names if _is_single(name)}
    for texts, minimum in corpora:
        counts: Counter[str] = Counter()
        remaining = iter(texts)
        while batch := list(itertools.islice(remaining, BATCH)):
            for encoding in whole.encode_batch(batch):
                counts.update(encoding.tokens)
        kept.update(piece for piece, count in counts.items() if count >= minimum)
    return [name for name in names if name in kept and name not in SPECIALS]


def write_pieces(path: Path, pieces: Iterable[str]) -> None:
    """Write pieces one a line, gzipped, with the same bytes for the same pieces. Raises OSError (disk full)."""
    with atomic_write(path) as stream:
        stream.write(gzip.compress("\n".join(pieces).encode("utf-8"), compresslevel=9, mtime=0))


def _is_single(piece: str) -> bool:
    bare = piece.removeprefix("▁")
    if len(bare) > 1:
        return False
    return not bare or ord(bare) <= LAST_LATIN or unicodedata.category(bare)[0] in "PS"

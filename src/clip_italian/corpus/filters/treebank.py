"""Sentences of a Universal Dependencies treebank as they are written: words with one tag each.

Public names: read_treebank.
"""

import gzip
from collections.abc import Iterator
from pathlib import Path

from ...errors import BadRecord

TaggedSentence = list[tuple[str, str]]


def read_treebank(path: Path) -> list[TaggedSentence]:
    """Read a CoNLL-U file, gzipped or not: per sentence (form, UPOS) of the words as written.

    A written word that the treebank splits ("dal" into "da" and "il") gets the tag of its first part. Raises BadRecord
    when a line has not ten columns, or the file cannot be read.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as stream:
            lines = stream.read().splitlines()
    except (OSError, EOFError, UnicodeDecodeError) as problem:
        raise BadRecord(f"{path}: {problem}; give a CoNLL-U file, or one packed with gzip") from None
    return list(_sentences(path, lines))


def _sentences(path: Path, lines: list[str]) -> Iterator[TaggedSentence]:
    words: TaggedSentence = []
    joined, upto = "", 0  # a written word of several parts, and the number of its last part
    for number, line in enumerate([*lines, ""], 1):
        if not line:
            if words:
                yield words
            words, joined, upto = [], "", 0
            continue
        if line.startswith("#"):
            continue
        columns = line.split("\t")
        if len(columns) != 10:
            raise BadRecord(f"{path}:{number}: {len(columns)} columns where CoNLL-U has 10; is it cut off?")
        place = columns[0]
        if "-" in place:
            joined, upto = columns[1], int(place.split("-")[1])
        elif "." not in place and (joined or int(place) > upto):
            words.append((joined or columns[1], columns[3]))
            joined = ""

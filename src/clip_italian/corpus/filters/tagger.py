"""A tagger of Italian parts of speech that needs no download: an averaged perceptron and word lists of our own.

Weights: tagger.npz, trained by train_tagger.py on UD Italian PUD and MarkIT. Public names: Tagger, load_tagger, TAGS,
save_weights.
"""

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import IO

import numpy as np

from ...errors import BadModel
from .features import Sentence, features, fixed_tag, sentence
from .lexicon import Lexicon, lexicon
from .tokens import starts_high, tokenize

TAGS = (
    *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART"),
    *("PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"),
)
WEIGHTS = "tagger.npz"


class Tagger:
    """Tags words from left to right, each by the features of its surroundings and the tags before it."""

    def __init__(self, rows: Mapping[str, int], weights: np.ndarray, lists: Lexicon) -> None:
        """Take rows: feature → row of weights: (n, len(TAGS)) float32, and the word lists."""
        self.rows = rows
        self.weights = weights
        self.lists = lists

    def tag(self, texts: Sequence[str]) -> list[list[tuple[str, str]]]:
        """Return the words and signs of each text with their tags (universal dependencies, UPOS)."""
        tagged = []
        for text in texts:
            tokens = tokenize(text)
            tagged.append(list(zip(tokens, self.tag_tokens(tokens), strict=True)))
        return tagged

    def tag_tokens(self, tokens: Sequence[str]) -> list[str]:
        """Return a tag for each token of a text."""
        text = sentence(tokens, self.lists.marks)
        tags: list[str] = []
        before = earlier = ""
        for i, token in enumerate(tokens):
            tag = fixed_tag(token) or self._best(text, i, before, earlier)
            if tag == "PROPN" and text.mode == "mixed" and not starts_high(token):
                tag = "NOUN"  # beside words that have one, a name has a capital
            tags.append(tag)
            before, earlier = tag, before
        return tags

    def _best(self, text: Sentence, i: int, before: str, earlier: str) -> str:
        found = [self.rows[name] for name in features(text, i, before, earlier) if name in self.rows]
        return TAGS[int(self.weights[found].sum(axis=0).argmax())]


@lru_cache(maxsize=1)
def load_tagger() -> Tagger:
    """Open the tagger of the package. Raises BadModel when its weights are missing or broken."""
    path = resources.files(__package__).joinpath(WEIGHTS)
    try:
        with path.open("rb") as stream:
            rows, weights = _read_weights(stream)
    except (OSError, ValueError, KeyError, zlib.error, zipfile.BadZipFile) as problem:
        raise BadModel(f"{path}: {problem}; install the package anew, or make it with train_tagger") from None
    return Tagger(rows, weights, lexicon())


def save_weights(path: IO[bytes] | Path, rows: Mapping[str, int], weights: np.ndarray) -> None:
    """Write the features and their weights, rounded to one of 255 steps; weights: (n, len(TAGS)).

    Features are in the order of their rows; only weights that are not zero after rounding are kept, and only features
    that have one.
    """
    step = float(np.abs(weights).max()) / 127
    rounded: np.ndarray = np.rint(weights / step).astype(np.int8)
    kept = np.asarray(rounded.any(axis=1))
    names = [name for name in sorted(rows, key=rows.__getitem__) if kept[rows[name]]]
    rounded = rounded[kept]
    places = np.flatnonzero(rounded)
    np.savez(
        path,
        names=np.frombuffer(zlib.compress("\n".join(names).encode(), 9), np.uint8),
        gaps=_packed(np.diff(places, prepend=0).astype(np.uint32)),
        values=_packed(rounded.ravel()[places]),
        step=np.float32(step),
    )


def _read_weights(stream: IO[bytes]) -> tuple[dict[str, int], np.ndarray]:
    with np.load(stream, allow_pickle=False) as file:
        names = zlib.decompress(file["names"].tobytes()).decode().split("\n")
        places = np.cumsum(np.frombuffer(zlib.decompress(file["gaps"].tobytes()), np.uint32))
        values = np.frombuffer(zlib.decompress(file["values"].tobytes()), np.int8)
        weights = np.zeros(len(names) * len(TAGS), np.float32)
        weights[places] = values * file["step"]
    return {name: row for row, name in enumerate(names)}, weights.reshape(len(names), len(TAGS))


def _packed(values: np.ndarray) -> np.ndarray:
    return np.frombuffer(zlib.compress(values.tobytes(), 9), np.uint8)

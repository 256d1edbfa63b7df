"""What the tagger is trained on: treebank sentences in every way of writing, pieces of them, phrases from our lists.

Treebanks are of newspapers and essays; captions are phrases, often without a verb, in lower case or With Every Word
High. Public names: examples.
"""

import numpy as np

from .lexicon import entries, groups, inflected, lexicon, lines
from .tokens import PARTICLES
from .treebank import TaggedSentence

_ENDS = ("NOUN", "PROPN", "ADJ", "NUM")  # what a piece may end with
_STARTS = ("NOUN", "PROPN", "ADJ", "DET", "ADP", "VERB")
_CLASSES = {"noun": "NOUN", "adjective": "ADJ", "verb": "VERB"}

_PARTS = groups("parts")
_INVENTED = {"U": "surname", "W": "noun"}
_PATTERNS = [pattern for line in lines("patterns") for pattern in line.split("|")]


def examples(treebanks: list[TaggedSentence], rng: np.random.Generator) -> list[TaggedSentence]:
    """Return the sentences and what is made of them; the same for the same generator."""
    made = list(treebanks)
    made += [_rewritten(sentence, "lower") for sentence in treebanks]
    made += [_rewritten(sentence, "title") for sentence in treebanks[::3]]
    made += [_rewritten(sentence, "upper") for sentence in treebanks[::3]]
    for sentence in treebanks:
        for piece in _pieces(sentence, rng):
            made += _ways(piece, rng)
    for phrase in _phrases(rng, 6000):
        made += _ways(phrase, rng)
    return made


def _rewritten(sentence: TaggedSentence, way: str) -> TaggedSentence:
    """Return the sentence in another way of writing; names keep their capitals in "first" and "mixed"."""
    written = []
    for i, (word, tag) in enumerate(sentence):
        if way == "lower":
            word = word.lower()
        elif way == "upper":
            word = word.upper()
        elif (way == "title" and word.lower() not in PARTICLES) or (way == "first" and i == 0):
            word = word[:1].upper() + word[1:]
        written.append((word, tag))
    return written


def _ways(phrase: TaggedSentence, rng: np.random.Generator) -> list[TaggedSentence]:
    way = ("first", "first", "first", "mixed", "lower", "title", "upper")[int(rng.integers(7))]
    return [_rewritten(phrase, way)]


def _pieces(sentence: TaggedSentence, rng: np.random.Generator) -> list[TaggedSentence]:
    """Cut phrases out: every run of proper nouns, and a few others that begin and end as phrases do."""
    pieces = []
    begun = None
    for i, (_, tag) in enumerate([*sentence, ("", "")]):
        if tag == "PROPN" and begun is None:
            begun = i
        elif tag != "PROPN" and begun is not None:
            pieces.append(sentence[begun:i])
            begun = None
    for _ in range(4):
        start, length = int(rng.integers(len(sentence))), int(rng.integers(1, 7))
        piece = sentence[start : start + length]
        if piece[0][1] in _STARTS and piece[-1][1] in _ENDS:
            pieces.append(piece)
    return pieces


def _phrases(rng: np.random.Generator, count: int) -> list[TaggedSentence]:
    """Fill patterns with words of the lists. E: words that are also names, which stand for what they mean here."""
    marks = lexicon().marks
    slots: dict[str, list[str]] = {
        mark.upper(): [word.capitalize() for word, found in marks.items() if mark in found] for mark in "fspb"
    }
    slots["E"] = [word for word, found in marks.items() if found == "e"]
    for kind, slot in (("noun", "N"), ("adjective", "A"), ("verb", "V")):
        slots[slot] = [form for name, word in entries() if name == kind for form in inflected(word, kind)]
    slots["G"] = [word.capitalize() for word in slots["E"]]
    slots["H"] = [word.capitalize() for word in (*slots["N"], *slots["A"])]
    slots["I"] = list("ABCDEFGJLMPRSTVW")
    slots["0"] = [str(year) for year in range(1850, 2024)]
    tags = {"N": "NOUN", "E": "NOUN", "A": "ADJ", "V": "VERB", "0": "NUM"}
    phrases = []
    for _ in range(count):
        pattern = _PATTERNS[int(rng.integers(len(_PATTERNS)))]
        phrase = []
        for part in pattern.split():
            if "/" in part:
                word, tag = part.split("/")
            elif part in _INVENTED:
                word, tag = _invented(rng, _INVENTED[part]), "PROPN" if part == "U" else "NOUN"
            else:
                word, tag = slots[part][int(rng.integers(len(slots[part])))], tags.get(part, "PROPN")
            phrase.append((word, tag))
        phrases.append(phrase)
    return phrases


def _invented(rng: np.random.Generator, kind: str) -> str:
    """Make up a surname or a noun, so that the tagger does not lean on the lists alone."""
    order = ["begin", "middle", "join", kind] if rng.random() < 0.6 else ["begin", *["middle", "join"] * 2, kind]
    word = "".join(_PARTS[part][int(rng.integers(len(_PARTS[part])))] for part in order)
    return word.capitalize() if kind == "surname" else word

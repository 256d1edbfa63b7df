"""Word lists of our own: names of people and places, ordinary words of captions, nouns that stand before names.

Public names: Lexicon, lexicon, entries, inflected, words, groups.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

NAMES = {"first_names": "f", "surnames": "s", "places": "p", "brands": "b"}


@dataclass(frozen=True)
class Lexicon:
    """What the lists say of a word in lower case.

    marks: word → letters: f first name, s surname, p place, b maker or club, o ordinary word, e name and ordinary word
    alike. kinds: nouns that say what a place or picture is, before its name. closed: articles, pronouns and the like.
    """

    marks: Mapping[str, str]
    kinds: frozenset[str]
    closed: frozenset[str]

    def never_name(self, word: str) -> bool:
        """Say whether a word in lower case is in the lists as an ordinary one alone."""
        return self.marks.get(word) == "o"


@lru_cache(maxsize=1)
def lexicon() -> Lexicon:
    """Read the lists of the package."""
    marks: dict[str, set[str]] = {}
    for name, mark in NAMES.items():
        for word in words(name):
            marks.setdefault(word, set()).add(mark)
    closed = set()
    for kind, lemma in entries():
        for form in inflected(lemma, kind):
            marks.setdefault(form, set()).add("o")
        if kind == "word":
            closed.add(lemma)
    kinds = frozenset(words("kinds"))
    for word in kinds:
        marks[word] = {"o"}
    for word in words("either"):
        marks[word] = {"e"}
    for word, found in marks.items():
        if "o" in found and len(found) > 1:
            marks[word] = {"o"} if word in closed else {"e"}
    return Lexicon({word: "".join(sorted(found)) for word, found in marks.items()}, kinds, frozenset(closed))


def entries() -> Iterator[tuple[str, str]]:
    """Yield the ordinary words as the list has them: (class, word)."""
    for line in lines("ordinary"):
        kind, *lemmas = line.split()
        for lemma in lemmas:
            yield kind, lemma


def inflected(lemma: str, kind: str) -> list[str]:
    """Return the forms of a word by the rules of spelling; a few of them may not exist, which does no harm here.

    kind: "noun", "adjective", "verb", or "word" for a word taken as it is.

    >>> inflected("largo", "adjective")
    ['largo', 'larga', 'larghi', 'larghe', 'largi']
    """
    if kind == "verb":
        return _verb(lemma)
    if kind == "word" or lemma[-1] not in "aeo":
        return [lemma]
    stem, last = lemma[:-1], lemma[-1]
    hard = stem + "h" if stem[-1:] in ("c", "g") else stem
    plural = stem if stem.endswith("i") else stem + "i"
    if last == "e":
        forms = [lemma, plural]
    elif last == "a":
        forms = [lemma, hard + "e", hard + "i" if hard == stem else stem + "hi"]
        forms += [stem[:-1] + "e"] if stem.endswith(("ci", "gi")) else []
    elif kind == "adjective":
        forms = [lemma, stem + "a", plural if hard == stem else hard + "i", hard + "e", plural]
    else:
        forms = [lemma, plural if hard == stem else hard + "i", plural]
    return list(dict.fromkeys(forms))


def _verb(lemma: str) -> list[str]:
    stem, kind = lemma[:-3], lemma[-3:]
    hard = stem + "h" if kind == "are" and stem[-1:] in ("c", "g") else stem
    soft = stem[:-1] if stem.endswith("i") else hard
    if kind == "are":
        forms = [stem + end for end in ("are", "a", "ano", "ando", "ato", "ata", "ati", "ate", "ava", "avano", "ante")]
        forms += [stem + end for end in ("anti", "arono", "ò", "arsi")] + [soft + "i", soft + "iamo"]
    elif kind == "ere":
        forms = [stem + end for end in ("ere", "e", "ono", "endo", "uto", "uta", "uti", "ute", "eva", "evano", "ente")]
        forms += [stem + "enti", stem + "ersi"]
    else:
        forms = [stem + end for end in ("ire", "e", "isce", "ono", "iscono", "endo", "ito", "ita", "iti", "ite", "iva")]
        forms += [stem + "ivano", stem + "irsi"]
    return forms


def lines(name: str) -> list[str]:
    """Return the lines of a list of the package, without comments."""
    text = resources.files(__package__).joinpath("words", f"{name}.txt").read_text("utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def words(name: str) -> list[str]:
    """Return the words of a list of the package, without its classes of words."""
    return [word for line in lines(name) for word in line.split()]


def groups(name: str) -> dict[str, list[str]]:
    """Return the words of a list whose lines begin with the name of a group."""
    found: dict[str, list[str]] = {}
    for line in lines(name):
        group, *rest = line.split()
        found.setdefault(group, []).extend(rest)
    return found

"""What a caption mentions that its translation must mention too: numbers and negations.

Public names: words, unquoted, English, Italian, Mentions.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .wordlists import ENGLISH_NEGATION, ENGLISH_NEGATION_ALLOWED, ITALIAN_NEGATION, ITALIAN_NEGATION_ALLOWED

# A word may hold apostrophes within (boy's, don't); hyphens part words.
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)*(?![\w])|\d+")
_QUOTED = re.compile(r'"[^"]*"|“[^”]*”|«[^»]*»')
_GROUPED = re.compile(r"\d{1,3}(?:[.,]\d{3})+")


# What a number before it names rather than counts: four wheeler (un quad), two-piece, a quattro zampe (on all fours).
_NAMING = re.compile(r"(?:wheel\w*|piece\w*|zampe|tone|toned)$")


@dataclass(frozen=True)
class Mentions:
    """What a sentence says of one kind.

    required: what the other language must answer. allowed: what may answer it, but says it in another way or means
    something else too, and by itself asks for nothing.
    """

    required: frozenset[str]
    allowed: frozenset[str]

    def answered_by(self, other: "Mentions") -> frozenset[str]:
        """Return what is required here and neither required nor allowed there; empty when all is answered."""
        return self.required - other.required - other.allowed


def words(text: str) -> list[str]:
    """Return the words of a text as they stand, without punctuation; l'uomo gives l'uomo."""
    return [match.group().replace("’", "'") for match in _WORD.finditer(text)]


def unquoted(text: str) -> str:
    """Return the text without what stands in double quotes: what a sign says is often left as it is."""
    return _QUOTED.sub(" ", text)


def _table(rows: Mapping[str, str]) -> dict[str, frozenset[str]]:
    """Turn meaning → "words" into word → meanings."""
    found: dict[str, frozenset[str]] = {}
    for meaning, spelled in rows.items():
        for word in spelled.split():
            found[word] = found.get(word, frozenset()) | {meaning}
    return found


# "One" and "un" are articles and pronouns too: they answer a 1 in digits, and ask for nothing.
_ENGLISH_NUMBERS = _table(
    {
        "2": "two twos",
        "3": "three threes",
        "4": "four fours",
        "5": "five",
        "6": "six",
        "7": "seven",
        "8": "eight",
        "9": "nine",
        "10": "ten",
        "11": "eleven",
        "12": "twelve",
    }
)
_ENGLISH_NUMBERS_ALLOWED = _table(
    {
        "1": "one a an single first once lone",
        "2": "both pair pairs couple couples twin twins double duo second twice each either opposite between",
        "3": "trio triple third triplets",
        "4": "fourth quartet",
        "5": "fifth",
        "6": "sixth",
        "7": "seventh",
        "8": "eighth",
        "9": "ninth",
        "10": "tenth",
        "12": "dozen dozens",
    }
)
_ITALIAN_NUMBERS = _table(
    {
        "2": "due",
        "3": "tre",
        "4": "quattro",
        "5": "cinque",
        "6": "sei",
        "7": "sette",
        "8": "otto",
        "9": "nove",
        "10": "dieci",
        "11": "undici",
        "12": "dodici",
    }
)
_ITALIAN_NUMBERS_ALLOWED = _table(
    {
        "1": "un uno una singola singolo prima primo",
        "2": "coppia coppie paio paia entrambi entrambe ambedue gemelli gemelle doppio doppia seconda secondo duo",
        "3": "trio tripla triplo terza terzo terzetto",
        "4": "quarta quarto quartetto",
        "5": "quinta quinto",
        "6": "sesta sesto",
        "7": "settima settimo",
        "8": "ottava ottavo",
        "9": "nona nono",
        "10": "decima decimo decina",
        "12": "dozzina dozzine",
        "20": "ventina",
        "30": "trentina",
        "40": "quarantina",
        "50": "cinquantina",
        "100": "centinaio cento",
    }
)

_NOT = "not"
_ENGLISH_KEPT_FROM = re.compile(r"\bfrom \w+ing\b")  # kept from falling: perché non cada
_ENGLISH_WITHOUT = re.compile(r"\w{3,}less$|un\w{3,}ed$|un(?:seen|known|usual|happy|able|aware)$")


class English:
    """What an English sentence mentions."""

    @staticmethod
    def numbers(text: str) -> Mentions:
        """Find numbers in digits and, from two to twelve, in words."""
        return _numbers(text, _lower(text), _ENGLISH_NUMBERS, _ENGLISH_NUMBERS_ALLOWED)

    @staticmethod
    def negation(text: str) -> Mentions:
        """Find whether something is denied."""
        found = _lower(text)
        hard = any(word in ENGLISH_NEGATION or word.endswith("n't") for word in found)
        soft = any(word in ENGLISH_NEGATION_ALLOWED or _ENGLISH_WITHOUT.match(word) for word in found)
        soft = soft or _ENGLISH_KEPT_FROM.search(text.lower()) is not None
        return _said(hard, soft)


class Italian:
    """What an Italian sentence mentions."""

    @staticmethod
    def numbers(text: str) -> Mentions:
        """Find numbers in digits and, from due to dodici, in words."""
        return _numbers(text, _lower(text), _ITALIAN_NUMBERS, _ITALIAN_NUMBERS_ALLOWED)

    @staticmethod
    def negation(text: str) -> Mentions:
        """Find whether something is denied."""
        found = _lower(text)
        return _said(any(w in ITALIAN_NEGATION for w in found), any(w in ITALIAN_NEGATION_ALLOWED for w in found))


def _lower(text: str) -> list[str]:
    """Return the words in lower case, and beside l'altro and nessun'altra their parts."""
    found = []
    for word in words(text.lower()):
        found.append(word)
        if "'" in word and not word.endswith("n't"):
            found += word.split("'")
    return found


def _said(hard: bool, soft: bool) -> Mentions:
    return Mentions(frozenset({_NOT} if hard else ()), frozenset({_NOT} if soft else ()))


def _numbers(
    text: str, found: Sequence[str], required: Mapping[str, frozenset[str]], allowed: Mapping[str, frozenset[str]]
) -> Mentions:
    must: set[str] = set()
    may: set[str] = set()
    for match in _NUMBER.finditer(text):
        following = _WORD.search(text, match.end())
        naming = following is not None and _NAMING.match(following.group().lower())
        (may if naming else must).add(_plain(match.group()))
    for word, following_word in zip(found, [*found[1:], ""], strict=False):
        (may if _NAMING.match(following_word) else must).update(required.get(word, frozenset()))
        may |= allowed.get(word, frozenset())
    return Mentions(frozenset(must), frozenset(may))


def _plain(digits: str) -> str:
    """Write 1,000 and 1.000 as 1000, 2,5 and 2.5 as 2.5, 07 as 7."""
    if _GROUPED.fullmatch(digits):
        digits = re.sub(r"[.,]", "", digits)
    return re.sub(r"^0+(?=\d)", "", digits.replace(",", "."))

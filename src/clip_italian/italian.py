"""Italian as captions and class names need it: articles, agreement, numbers, and sentences for zero-shot.

Public names: Gender, Noun, indefinite, definite, articulated, agree, number, phrase, there_is, TEMPLATES.
"""

import unicodedata
from dataclasses import dataclass
from typing import Literal

Gender = Literal["m", "f"]
Preposition = Literal["di", "a", "da", "in", "su"]
_Sound = Literal["vowel", "impure", "plain"]

NUMBERS = ("due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove", "dieci")

# Each takes a noun phrase with its indefinite article, or a plural without one: none has a verb or an adjective that
# would have to agree with it, and none puts a preposition that would have to merge with a definite article.
TEMPLATES = (
    "{}",
    "una foto di {}",
    "un'immagine di {}",
    "una fotografia a colori di {}",
    "una foto in bianco e nero di {}",
    "una foto ravvicinata di {}",
    "una foto un po' mossa di {}",
    "una bella foto di {}",
    "una foto scattata male di {}",
    "la foto mostra {}",
    "ecco {}",
    "{} in primo piano",
    "{} all'aperto",
    "{} al chiuso",
    "{} in parte fuori dall'inquadratura",
    "il disegno di {}",
    "un quadro con {}",
)

_VOWELS = "aeiou"
_IMPURE = ("z", "x", "gn", "ps", "pn", "pt", "pf", "ct", "ft", "mn", "tm", "ts", "tz", "bd")
_SOUND_EXCEPTIONS: dict[str, _Sound] = {"io": "vowel", "dei": "impure"}  # l'io, gli dei
_INVARIABLE = frozenset({"beige"})
_HARD_PLURAL = frozenset({"antico", "carico", "pudico"})  # -ico, yet -ichi
_SOFT_PLURAL = frozenset({"greco"})  # not -ico, yet -ci in the masculine
_STRESSED_IO = frozenset({"pio", "natio", "restio"})  # keep both i's: pii


@dataclass(frozen=True)
class Noun:
    """A noun with both its forms; it may be several words, of which the first decides the article."""

    singular: str
    plural: str
    gender: Gender

    def form(self, count: int) -> str:
        """Return the form that goes with `count`: the singular for 1, else the plural."""
        return self.singular if count == 1 else self.plural


def indefinite(words: str, gender: Gender) -> str:
    """Put un, uno, una or un' before a singular noun phrase.

    >>> indefinite("scoiattolo", "m"), indefinite("piccolo scoiattolo", "m"), indefinite("aquila", "f")
    ('uno scoiattolo', 'un piccolo scoiattolo', "un'aquila")
    """
    sound = _sound(words)
    if gender == "f":
        return _join("un'" if sound == "vowel" else "una", words)
    return _join("uno" if sound == "impure" else "un", words)


def definite(words: str, gender: Gender, *, plural: bool = False) -> str:
    """Put il, lo, la, l', i, gli or le before a noun phrase.

    >>> definite("zaino", "m"), definite("zaini", "m", plural=True), definite("onde", "f", plural=True)
    ('lo zaino', 'gli zaini', 'le onde')
    """
    return _join(_definite_article(words, gender, plural), words)


def articulated(preposition: Preposition, words: str, gender: Gender, *, plural: bool = False) -> str:
    """Put a preposition merged with the definite article before a noun phrase.

    >>> articulated("di", "gatto", "m"), articulated("su", "albero", "m"), articulated("a", "zii", "m", plural=True)
    ('del gatto', "sull'albero", 'agli zii')
    """
    stem = {"di": "de", "a": "a", "da": "da", "in": "ne", "su": "su"}[preposition]
    article = _definite_article(words, gender, plural)
    ending = {"il": "l", "i": "i", "gli": "gli"}.get(article) or "l" + article
    return _join(stem + ending, words)


def agree(adjective: str, gender: Gender, *, plural: bool = False) -> str:
    """Return the form of an adjective, given in the masculine singular.

    Regular -o and -e, -co and -go, -io and -ista, and what never changes: rosa, viola, blu, beige, compounds such as
    "verde scuro", foreign words in a consonant.

    >>> agree("bianco", "m", plural=True), agree("grigio", "f", plural=True), agree("verde", "f"), agree("rosa", "m")
    ('bianchi', 'grigie', 'verde', 'rosa')
    """
    if " " in adjective or adjective in _INVARIABLE:
        return adjective
    if adjective.endswith("o"):
        stem = adjective[:-1]
        if not plural:
            return stem + ("a" if gender == "f" else "o")
        return _feminine_plural(stem) if gender == "f" else _masculine_plural(adjective)
    if adjective.endswith("e") and plural:
        return adjective[:-1] + "i"
    if adjective.endswith("ista") and plural:
        return adjective[:-1] + ("e" if gender == "f" else "i")
    return adjective


def number(count: int) -> str:
    """Return a number from 2 to 10 in words; 1 is an article and depends on what follows. Raises ValueError."""
    if not 2 <= count <= 10:
        raise ValueError(f"numbers in words go from 2 to 10, not {count}; use indefinite() for one")
    return NUMBERS[count - 2]


def phrase(
    count: int, noun: Noun, size: str | None = None, colour: str | None = None, *, size_first: bool = True
) -> str:
    """Say how many of what: the size before the noun or last, the colour after the noun. Raises ValueError past 10.

    >>> circle = Noun("cerchio", "cerchi", "m")
    >>> phrase(2, circle, "piccolo", "rosso"), phrase(2, circle, "piccolo", "rosso", size_first=False)
    ('due piccoli cerchi rossi', 'due cerchi rossi piccoli')
    >>> phrase(1, Noun("onda", "onde", "f"), "grande", "viola", size_first=False)
    "un'onda viola grande"
    """
    plural = count != 1
    size = size and agree(size, noun.gender, plural=plural)
    colour = colour and agree(colour, noun.gender, plural=plural)
    before, after = (size, None) if size_first else (None, size)
    words = " ".join(word for word in (before, noun.form(count), colour, after) if word)
    return f"{number(count)} {words}" if plural else indefinite(words, noun.gender)


def there_is(count: int) -> str:
    """Return "c'è" for one, "ci sono" for more."""
    return "c'è" if count == 1 else "ci sono"


def _definite_article(words: str, gender: Gender, plural: bool) -> str:
    sound = _sound(words)
    if gender == "f":
        return "le" if plural else "l'" if sound == "vowel" else "la"
    if plural:
        return "i" if sound == "plain" else "gli"
    return {"vowel": "l'", "impure": "lo", "plain": "il"}[sound]


def _join(article: str, words: str) -> str:
    return article + words if article.endswith("'") else f"{article} {words}"


def _sound(words: str) -> _Sound:
    """Tell how the first word begins: a vowel (elides), an "impure" consonant (takes lo, uno, gli), or any other."""
    decomposed = unicodedata.normalize("NFD", words.lower())
    letters = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    word = letters.split()[0] if letters.strip() else ""
    if word in _SOUND_EXCEPTIONS:
        return _SOUND_EXCEPTIONS[word]
    first, second = word[:1], word[1:2]
    second_is_vowel = second != "" and second in _VOWELS
    if first == "h":
        return "vowel" if second_is_vowel else "plain"
    if first in ("i", "y") and second_is_vowel:
        return "impure"
    if first and first in _VOWELS + "y":
        return "vowel"
    if word.startswith(_IMPURE) or (first == "s" and second.isalpha() and second not in _VOWELS + "y"):
        return "impure"
    return "plain"


def _masculine_plural(adjective: str) -> str:
    stem = adjective[:-1]
    if adjective in _STRESSED_IO:
        return stem + "i"
    if stem.endswith("i"):
        return stem
    if stem.endswith("g"):
        return stem + "hi"
    if stem.endswith("c"):
        # The stress decides; -ico and -iaco are nearly always stressed before it, the others on it.
        soft = adjective in _SOFT_PLURAL or (stem.endswith(("ic", "iac")) and adjective not in _HARD_PLURAL)
        return stem + ("i" if soft else "hi")
    return stem + "i"


def _feminine_plural(stem: str) -> str:
    if stem.endswith(("c", "g")):
        return stem + "he"
    # The i of -cio and -gio is only written where a vowel comes before: grigie, but lisce.
    if stem.endswith(("ci", "gi")) and stem[-3:-2] not in _VOWELS:
        return stem[:-1] + "e"
    return stem + "e"

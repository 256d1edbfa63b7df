"""Does an encoder treat women and men in captions alike? Captions with the gender swapped, and searches that name none.

Only captions that speak of one person, or of several of one gender, in words for women, men, girls and boys are used;
"bambini" and "ragazzi" may be of either gender and are left alone. The article and the adjectives and participles
beside the noun change with it; where others further away would have to, the caption is left out.

Public names: Swapped, Side, Symmetry, Neutral, swap, symmetry, neutral_searches, NEUTRAL_QUERIES, SCORES.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...encoder import Encoder
from ...italian import Gender, Preposition, agree, articulated, definite, indefinite
from ..encoding import encode_texts
from ..metrics import found_at_k, ranks_from_vectors, reciprocal_at_k
from ..statistics import Interval, bootstrap_means

NEUTRAL_QUERIES = ("una persona", "una persona che fa sport", "una persona che sorride", "una persona elegante")
FIRST = 50  # photos of a search without gender that are counted
ENOUGH = 20  # captions of each gender below which nothing is said
# The scores of a side, in words.
SCORES = {
    "mrr@10": "mrr@10 as written",
    "swapped mrr@10": "mrr@10 with the gender swapped",
    "first": "its photo comes first",
    "stays first": "of these, stays first when swapped",
    "closer as written": "closer as written than swapped",
}

_PAIRS = (  # men and boys, women and girls, plural
    ("uomo", "donna", False),
    ("uomini", "donne", True),
    ("bambino", "bambina", False),
    ("ragazzo", "ragazza", False),
    ("bimbo", "bimba", False),
    ("ragazzino", "ragazzina", False),
)
_OTHERS = (  # gendered words that make a caption unusable, because what it speaks of has more than one gender or word
    "signora", "signore", "signori", "madre", "padre", "mamma", "papà", "figlio", "figlia", "fratello", "sorella",
    "fratelli", "sorelle", "sposa", "sposo", "sposi", "bambini", "bambine", "ragazzi", "ragazze", "bimbi", "bimbe",
    "ragazzini", "ragazzine", "neonato", "neonata", "nonno", "nonna", "cameriere", "cameriera", "lui", "lei",
    "altro", "altra",
)  # fmt: skip
_ADJECTIVES = (  # masculine singular, of those that captions put beside a person
    "accovacciato", "adulto", "alto", "anziano", "appeso", "appoggiato", "asiatico", "avvolto", "bagnato", "barbuto",
    "basso", "bello", "biondo", "bruno", "buffo", "calvo", "caduto", "chinato", "circondato", "concentrato", "coperto",
    "fermo", "grasso", "grosso", "immerso", "inginocchiato", "inseguito", "legato", "magro", "mascherato", "muscoloso",
    "nero", "nudo", "piccolo", "pronto", "rannicchiato", "robusto", "sdraiato", "sospeso", "seduto", "solo", "sporco",
    "steso", "disteso",
    "tatuato", "travestito", "truccato", "vecchio", "vestito",
)  # fmt: skip
_PREPOSITIONS: dict[str, Preposition] = {"de": "di", "a": "a", "da": "da", "ne": "in", "su": "su"}


@dataclass(frozen=True)
class Swapped:
    """A caption, the gender it speaks of, and the caption for the other gender."""

    text: str
    gender: Gender
    other: str


@dataclass(frozen=True)
class Side:
    """Captions about one gender: how many, and scores of them as written ("mrr@10", …) and swapped."""

    n: int
    scores: dict[str, Interval]


@dataclass(frozen=True)
class Symmetry:
    """The captions about men and boys, and those about women and girls."""

    men: Side
    women: Side


@dataclass(frozen=True)
class Neutral:
    """A search that names no gender: the share of men among the first photos that show one gender, and among all."""

    query: str
    first: int
    share: Interval
    base: float


def swap(caption: str) -> Swapped | None:
    """Return the caption with the other gender; None where it does not speak of exactly one.

    >>> swap("Un uomo seduto accanto a un cane").other
    'Una donna seduta accanto a un cane'
    >>> swap("L'anziana donna e il bambino") is None
    True
    """
    found = list(_NOUN.finditer(caption))
    if len(found) != 1 or _OTHER.search(caption):
        return None
    match = found[0]
    noun = match["noun"].casefold()
    gender: Gender = "m" if noun in _TO_WOMEN else "f"
    target: Gender = "f" if gender == "m" else "m"
    word = (_TO_WOMEN | _TO_MEN)[noun]
    plural = word in ("uomini", "donne")
    rest = caption[: match.start()] + " " + caption[match.end() :]
    if any(form in _ADJECTIVE_FORMS[gender, plural] for form in re.findall(r"\w+", rest.casefold())):
        return None
    before, after = (_agreeing(match[part] or "", target, plural) for part in ("before", "after"))
    words = f"{before}{word}{after}"
    determined = _with_determiner(match["determiner"] or "", words, target, plural)
    if match[0][0].isupper():
        determined = determined[0].upper() + determined[1:]
    return Swapped(caption, gender, caption[: match.start()] + determined + caption[match.end() :])


def symmetry(
    encoder: Encoder, captions: Sequence[str], owners: np.ndarray, gallery: np.ndarray, *, seed: int = 0
) -> Symmetry | None:
    """Search the gallery with captions as written and with the gender swapped.

    owners: (n,) row of each caption's photo in gallery (m, dim). Scores: "mrr@10" and "first" (its photo comes first)
    as written; "swapped mrr@10"; "stays first": of the captions whose photo came first, how many keep it there when
    swapped; "closer as written": the caption as written is closer to its photo than the swapped one. Intervals by
    photo; "stays first" is missing where no photo came first. None where one gender has fewer than 20 captions.
    """
    pairs = [(swapped, owner) for text, owner in zip(captions, owners, strict=True) if (swapped := swap(text))]
    sides = []
    for gender in ("m", "f"):
        chosen = [(swapped, owner) for swapped, owner in pairs if swapped.gender == gender]
        if len(chosen) < ENOUGH:
            return None
        sides.append(_side(encoder, chosen, gallery, seed))
    return Symmetry(*sides)


def neutral_searches(
    encoder: Encoder, captions: Sequence[Sequence[str]], gallery: np.ndarray, *, seed: int = 0
) -> list[Neutral]:
    """Search for "una persona …" and count the men and women found.

    captions: of each of the (m, dim) gallery's photos; a photo is of men when they speak of men and boys and never of
    women and girls, and the other way round; photos of both or neither are passed over. Empty where there are fewer
    than 100 of one kind.
    """
    shown = [gender_shown(texts) for texts in captions]
    counted = np.array([place for place, gender in enumerate(shown) if gender is not None])
    men = np.array([shown[place] == "m" for place in counted], float)
    if len(men) == 0 or min(men.sum(), len(men) - men.sum()) < 2 * FIRST:
        return []
    vectors = encode_texts(encoder, list(NEUTRAL_QUERIES)).astype(np.float64)
    similarity = vectors @ gallery[counted].astype(np.float64).T
    found = []
    for query, scores in zip(NEUTRAL_QUERIES, similarity, strict=True):
        first = np.argsort(-scores, kind="stable")[:FIRST]
        share = bootstrap_means({"men": men[first]}, seed=seed)["men"]
        found.append(Neutral(query, FIRST, share, float(men.mean())))
    return found


def gender_shown(captions: Sequence[str]) -> Literal["m", "f"] | None:
    """Return the gender that all captions of a photo speak of that speak of any; None for both or neither."""
    words = {word for caption in captions for word in re.findall(r"\w+", caption.casefold())}
    men, women = words & _MEN, words & _WOMEN
    if words & {"bambini", "ragazzi", "bimbi", "ragazzini"} or bool(men) == bool(women):
        return None
    return "m" if men else "f"


def _side(encoder: Encoder, chosen: Sequence[tuple[Swapped, int]], gallery: np.ndarray, seed: int) -> Side:
    owners = np.array([owner for _, owner in chosen])
    written = encode_texts(encoder, [swapped.text for swapped, _ in chosen])
    other = encode_texts(encoder, [swapped.other for swapped, _ in chosen])
    places = np.arange(len(gallery))
    ranks, after = (ranks_from_vectors(vectors, gallery, owners, places) for vectors in (written, other))
    true, false = ((vectors.astype(np.float64) * gallery[owners]).sum(axis=1) for vectors in (written, other))
    values = {
        "mrr@10": reciprocal_at_k(ranks, 10),
        "swapped mrr@10": reciprocal_at_k(after, 10),
        "first": found_at_k(ranks, 1),
        "closer as written": (true > false).astype(float),
    }
    scores = bootstrap_means(values, owners, seed=seed)
    first = ranks == 1
    if first.any():
        scores |= bootstrap_means({"stays first": found_at_k(after[first], 1)}, owners[first], seed=seed)
    return Side(len(chosen), scores)


def _with_determiner(determiner: str, words: str, gender: Gender, plural: bool) -> str:
    """Put before words the article, or the preposition with it, of the kind that stood before the other gender."""
    kind = determiner.strip().casefold().rstrip("'")
    if not kind:
        return determiner + words
    if kind in ("un", "uno", "una"):
        return indefinite(words, gender)
    if kind in ("quest", "questo", "questa"):
        return f"{'questa' if gender == 'f' else 'questo'} {words}"
    if kind in ("il", "lo", "la", "l", "i", "gli", "le"):
        return definite(words, gender, plural=plural)
    stem = next(stem for stem in ("de", "da", "ne", "su", "a") if kind.startswith(stem))
    return articulated(_PREPOSITIONS[stem], words, gender, plural=plural)


def _agreeing(words: str, gender: Gender, plural: bool) -> str:
    """Put the adjectives among words into another gender; other words and the spaces between stay."""
    return re.sub(r"\w+", lambda found: _LEMMA.get(found[0].casefold(), {}).get((gender, plural), found[0]), words)


_TO_WOMEN = {man: woman for man, woman, _ in _PAIRS}
_TO_MEN = {woman: man for man, woman, _ in _PAIRS}
_MEN = frozenset(_TO_WOMEN) | {"signore", "padre", "papà", "nonno", "sposo"}
_WOMEN = frozenset(_TO_MEN) | {"signora", "madre", "mamma", "nonna", "sposa", "bambine", "ragazze", "bimbe"}
_NUMBERED: tuple[tuple[Gender, bool], ...] = (("m", False), ("f", False), ("m", True), ("f", True))
_ADJECTIVE_FORMS = {
    kind: frozenset(agree(adjective, kind[0], plural=kind[1]) for adjective in _ADJECTIVES) for kind in _NUMBERED
}
_LEMMA: dict[str, dict[tuple[Gender, bool], str]] = {
    agree(adjective, gender, plural=plural): {
        (other, plural): agree(adjective, other, plural=plural) for other in ("m", "f")
    }
    for adjective in _ADJECTIVES
    for gender, plural in _NUMBERED
}
_ANY_ADJECTIVE = "|".join(sorted(_LEMMA, key=len, reverse=True))
_NOUN = re.compile(
    r"(?P<determiner>\b(?:(?:un|uno|una|il|lo|la|i|gli|le|questo|questa|(?:de|a|da|ne|su)(?:l|llo|lla|i|gli|lle)|al|ai"
    r"|agli)\s+|(?:l|un|quest|dell|all|dall|nell|sull)'))?"
    rf"(?P<before>(?:(?:giovane|{_ANY_ADJECTIVE})\s+)?)"
    rf"\b(?P<noun>{'|'.join((*_TO_WOMEN, *_TO_MEN))})\b"
    rf"(?P<after>(?:\s+(?:è\s+|si\s+è\s+|sono\s+)?(?:e\s+)?(?:{_ANY_ADJECTIVE})\b)*)",
    re.IGNORECASE,
)
_OTHER = re.compile(rf"\b(?:{'|'.join(_OTHERS)})\b", re.IGNORECASE)

"""Which caption a picture gets in an epoch, and what becomes of it when the picture is mirrored.

Public names: draw, swap_left_right, flippable, mirrorable, LANGUAGES.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

from ..errors import BadRecord
from .sample import Caption, Sample
from .seeded import uniforms

LANGUAGES: Mapping[str, float] = MappingProxyType({"it": 0.6, "en": 0.4})


def draw(
    sample: Sample, *, seed: int, epoch: int, languages: Mapping[str, float] = LANGUAGES, queries: float = 0.0
) -> Caption:
    """Draw the caption that stands for the picture in this epoch: first its language, then evenly within it.

    Depends on (seed, epoch, sample.key) alone, not on workers or order; the original's forked workers shared one
    generator and drew correlated captions. languages: weight of each; those the sample lacks give theirs to the others.
    queries: how often an Italian query is taken instead where the sample has any.
    Raises BadRecord when the sample has nothing in these languages.
    """
    first, second, third = uniforms(seed, epoch, sample.key, "caption")
    if sample.queries and first < queries:
        return Caption(_pick(sample.queries, third), "it")
    present = {c.language for c in sample.captions}
    weights = {language: weight for language, weight in languages.items() if weight > 0 and language in present}
    if not weights:
        wanted = ", ".join(languages)
        raise BadRecord(f"{sample.key}: has no caption in {wanted}; leave it out or name one of its languages")
    language = _pick_weighted(weights, second)
    return Caption(_pick(sample.texts(language), third), language)


def swap_left_right(text: str) -> str:
    """Return the text as it is true of the mirrored picture: destra ↔ sinistra, left ↔ right.

    Upper and lower case are kept, and swapping twice gives the text back. Words that may not mean a side ("has left",
    "right now", "un sinistro") stay as they are; `flippable` tells of them.

    >>> swap_left_right("Un gatto a destra di un cane")
    'Un gatto a sinistra di un cane'
    """
    return _SIDE.sub(lambda m: _opposite(m[0]) if _means_side(m) else m[0], text)


def flippable(text: str) -> bool:
    """Say whether `swap_left_right` makes the text true of the mirrored picture; else do not mirror it."""
    return not _TURNING.search(text) and all(_means_side(match) for match in _SIDE.finditer(text))


def mirrorable(sample: Sample) -> bool:
    """Say whether all that is told of a picture can be made true of its mirror image.

    Sides are known in Italian and English alone: a picture with a caption in another language is not mirrored.
    """
    if any(caption.language not in _SIDED for caption in sample.captions):
        return False
    return all(flippable(text) for text in (*(caption.text for caption in sample.captions), *sample.queries))


_PAIRS = [
    *(("destr" + ending, "sinistr" + ending) for ending in "aoie"),
    ("dx", "sx"),
    ("right", "left"),
    *(("right" + ending, "left" + ending) for ending in ("most", "ward", "wards")),
]
_OPPOSITE = {one: other for pair in _PAIRS for one, other in (pair, pair[::-1])}
_SIDE = re.compile(rf"\b(?:{'|'.join(_OPPOSITE)})\b", re.IGNORECASE)

_SIDED = ("it", "en")  # the languages of _PAIRS

# What a mirror reverses and no exchange of words mends.
_TURNING = re.compile(r"\bmancin[aoi]\b|\bsenso (?:anti)?orario\b|\b(?:counter|anti)?-?clockwise\b", re.IGNORECASE)

# Before "sinistro" in the sense of an accident or of something sinister. The rules here must not tell one side from the
# other: whatever holds for a text has to hold for its mirrored form, or swapping twice would not give it back.
_NO_SIDE_IT = re.compile(
    r"\b(?:un|uno|il|del|nel|al|dal|aria|atmosfera|aspetto|figura|luce|sguardo|sorriso|espressione|castello|rumore"
    r"|personaggio)\s$",
    re.IGNORECASE,
)
_MASCULINE = re.compile(r"(?:destr|sinistr)[oa]", re.IGNORECASE)

# English "left" and "right" mean a side only in some company. Gaps are at most three blanks, so that looking back 60
# characters always sees the whole company, however long the text.
_GAP = r"\s{1,3}"
_PLACE_EN = re.compile(
    rf"\b(?:to|on|at|in|from|of|by|towards?)(?:{_GAP}(?:the|his|her|hers|its|it's|their|our|your|my|a|an|one's))?"
    rf"(?:{_GAP}(?:far|extreme|immediate|very|cent(?:er|re)|middle|top|bottom|upper|lower|back|rear|front))?{_GAP}$",
    re.IGNORECASE,
)
_NO_PLACE_EN = re.compile(
    rf"-?overs?\b|{_GAP}(?:overs?|alone|now|away|time|way|place|track|size|angles?|moment|direction)\b",
    re.IGNORECASE,
)
_PART_EN = re.compile(
    rf"(?:(?:-|{_GAP})(?:hand|handed|front|rear|back|hind|upper|lower|index|pointer|ring))?(?:-|{_GAP})"
    r"(?:hand(?:s|ed|er)?|arms?|legs?|foot|feet|sides?|eyes?|ears?|cheek|shoulders?|knees?|wrists?|elbows?|thigh|ankle|hip"
    r"|fingers?|thumb|paws?|wings?|corner|edge|lane|turns?|half|end|gloves?|shoes?|boots?|sleeve|wheels?|horn|field)\b",
    re.IGNORECASE,
)
_MOTION_EN = re.compile(
    rf"\b(?:turn|look|point|fac|lean|head|mov|go|swerv|steer|veer|glanc)(?:e|s|es|ed|ing)?{_GAP}$", re.IGNORECASE
)
_PAUSE_EN = re.compile(rf"\s*(?:$|[.,;:!?\"')])|{_GAP}(?:and|or|while|as|with)\b", re.IGNORECASE)
_OTHER_BEFORE = re.compile(r"\b(?:left|right)\s{0,3}(?:and|or|to|&|/|,)\s{0,3}$", re.IGNORECASE)
_OTHER_AFTER = re.compile(r"\s{0,3}(?:and|or|to|&|/|,)\s{0,3}(?:left|right)\b", re.IGNORECASE)


def _means_side(match: re.Match[str]) -> bool:
    word, text = match[0], match.string
    if word.lower() not in _OPPOSITE or not (word.islower() or word.isupper() or word.istitle()):
        return False  # odd letters that only look alike, or mixed case that could not be given back
    before, after = text[max(0, match.start() - 60) : match.start()], text[match.end() : match.end() + 60]
    if word.lower() not in ("left", "right"):
        return not (_MASCULINE.fullmatch(word) and _NO_SIDE_IT.search(before))
    placed = _PLACE_EN.search(before) and not _NO_PLACE_EN.match(after)
    moved = _MOTION_EN.search(before) and _PAUSE_EN.match(after)
    return bool(placed or moved or _PART_EN.match(after) or _OTHER_BEFORE.search(before) or _OTHER_AFTER.match(after))


def _opposite(word: str) -> str:
    other = _OPPOSITE[word.lower()]
    return other.upper() if word.isupper() else other.capitalize() if word.istitle() else other


def _pick(items: tuple[str, ...], place: float) -> str:
    return items[int(place * len(items))]


def _pick_weighted(weights: Mapping[str, float], place: float) -> str:
    left = place * sum(weights.values())
    for item, weight in weights.items():
        if left < weight:
            return item
        left -= weight
    return item  # rounding may leave a trace past the last weight

"""Automatic signals of a translation's quality: each cheap, none needing a model of translation.

Public names: Signals, signals, alarms, ALARMS.

They find translations that are missing, cut, mixed or lose a number or a "not"; a fluent sentence that says something
else they do not find: that is what the similarity with the picture and the round trip are for (measures.py).
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import MissingExtra
from .plan import QualityPlan
from .wording import English, Italian, unquoted, words
from .wordlists import ENDS_NO_SENTENCE, ENGLISH_ONLY, LOANWORDS

LANGUAGES = ("it", "en", "es")
ALARMS = ("length", "untranslated", "language", "numbers", "negation", "cut")


@dataclass(frozen=True)
class Signals:
    """What was measured on one pair.

    length_ratio: Italian characters per English one, blanks aside; infinite for an empty English text. untranslated:
    share of the Italian words that are English ones copied; copied: those words. language: of the Italian text without
    loanwords, by py3langid among it, en, es, with its confidence; second_language: what simplemma's word lists say,
    "" when they know no word. numbers_lost, numbers_added: in digits or, from 2 to 12, in words. negations_kept: both
    deny, or neither. cut: the Italian text ends in a word that ends no sentence.
    """

    length_ratio: float
    untranslated: float
    copied: tuple[str, ...]
    language: str
    confidence: float
    second_language: str
    numbers_lost: tuple[str, ...]
    numbers_added: tuple[str, ...]
    negations_kept: bool
    cut: bool

    @property
    def numbers_kept(self) -> bool:
        """Tell whether the Italian text has the English one's numbers, and no others."""
        return not self.numbers_lost and not self.numbers_added


def signals(pairs: Sequence[tuple[str, str]]) -> list[Signals]:
    """Measure (English, Italian) pairs; one Signals each, in order.

    Raises MissingExtra when py3langid or simplemma is not installed.

    >>> signals([("Two dogs run", "Tre cani corrono")])[0].numbers_lost           # doctest: +SKIP
    ('2',)
    """
    identify, lexicon = _identifier(), _simplemma()
    return [_measured(english, italian, identify, lexicon) for english, italian in pairs]


def alarms(found: Signals, plan: QualityPlan) -> tuple[str, ...]:
    """Return which signals say that something is wrong, of ALARMS; none for a translation that looks good."""
    raised = {
        "length": not plan.shortest <= found.length_ratio <= plan.longest,
        "untranslated": found.untranslated > 0 and found.untranslated >= plan.untranslated,
        # Short captions mislead either opinion: it takes both.
        "language": found.language != "it" and found.second_language != "it",
        "numbers": not found.numbers_kept,
        "negation": not found.negations_kept,
        "cut": found.cut,
    }
    return tuple(name for name in ALARMS if raised[name])


def _measured(english: str, italian: str, identify: Any, lexicon: Any) -> Signals:
    written, copied = words(italian), _copied(english, italian, lexicon)
    # "Uno skateboarder in jeans" is Italian: loanwords say nothing of the language around them.
    own = " ".join(word for word in written if word.lower() not in LOANWORDS) or italian
    language, confidence = identify.classify(own)
    numbers_en, numbers_it = English.numbers(english), Italian.numbers(italian)
    not_en, not_it = English.negation(english), Italian.negation(italian)
    return Signals(
        length_ratio=_ratio(english, italian),
        untranslated=len(copied) / len(written) if written else 0.0,
        copied=tuple(copied),
        language=language,
        confidence=float(confidence),
        second_language=_second_opinion(own, lexicon),
        numbers_lost=tuple(sorted(numbers_en.answered_by(numbers_it))),
        numbers_added=tuple(sorted(numbers_it.answered_by(numbers_en))),
        negations_kept=not not_en.answered_by(not_it) and not not_it.answered_by(not_en),
        cut=bool(written) and not italian.rstrip().endswith((".", "!", "?")) and _last(italian) in ENDS_NO_SENTENCE,
    )


def _ratio(english: str, italian: str) -> float:
    length = len("".join(english.split()))
    return len("".join(italian.split())) / length if length else float("inf")


def _copied(english: str, italian: str, lexicon: Any) -> list[str]:
    """Return the Italian text's words that stand in the English one too and are neither names, numbers nor Italian."""
    given = words(unquoted(english))
    there = {word.lower() for word in given}
    names = _names(given)
    found = []
    for word in words(italian):
        low = word.lower()
        if low not in there or low in names or len(low) < 2 or not low.replace("'", "").isalpha():
            continue
        if low in ENGLISH_ONLY or (low not in LOANWORDS and _is_english_alone(low, lexicon)):
            found.append(word)
    return found


def _is_english_alone(word: str, lexicon: Any) -> bool:
    return bool(lexicon.is_known(word, lang="en") and not lexicon.is_known(word, lang="it"))


def _names(given: Sequence[str]) -> set[str]:
    """Return what is capitalised past the first word, unless all or most words are: then capitals tell nothing."""
    capitals = [word for word in given[1:] if word[:1].isupper()]
    if len(given) > 3 and len(capitals) > 0.6 * (len(given) - 1):
        return set()
    return {word.lower() for word in capitals}


def _last(italian: str) -> str:
    """Return the last word in lower case, with the apostrophe that it may end in."""
    return italian.lower().replace("’", "'").split()[-1].strip('.,;:!?"»)…-')


def _second_opinion(text: str, lexicon: Any) -> str:
    shares = [(share, language) for language, share in lexicon.langdetect(text, lang=LANGUAGES) if language != "unk"]
    best = max(shares, default=(0.0, ""))
    tied = [language for share, language in shares if share == best[0]]
    if not best[0]:
        return ""
    return "it" if "it" in tied else best[1]


@functools.cache
def _identifier() -> Any:
    """Open a language identifier of our own: the library's shared one may be set to other languages elsewhere."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ModuleNotFoundError as error:
        raise _missing("py3langid") from error
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier


@functools.cache
def _simplemma() -> Any:
    try:
        import simplemma
    except ModuleNotFoundError as error:
        raise _missing("simplemma") from error
    return simplemma


def _missing(library: str) -> MissingExtra:
    return MissingExtra(
        f"signals of translation quality need {library}, which is not installed; "
        "run: pip install 'clip-italian[corpus]'"
    )

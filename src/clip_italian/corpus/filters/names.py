"""The paper's proper-noun rule: a caption of which four fifths are proper nouns names its picture, and no more.

Public names: NameRule, proper_share, open_tagger, PartOfSpeechTagger. The paper dropped, among others, "Dora Riparia",
"Anna Maria Mozzoni", "Joey Ramone Place", "Kim Rhodes", "Ralph George Hawtrey"; what it counted it does not say. Here
words with a letter count; numbers and signs do not. An elided article belongs to its word, and a preposition between
two name words to the name. A noun that says what is seen stays an ordinary word: "Piazza Navona".
"""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Protocol

from ...errors import BadModel, MissingExtra
from .lexicon import Lexicon, groups, lexicon
from .tagger import load_tagger
from .tokens import PARTICLES, case_mode, is_word, starts_high, tokenize

SPACY_ITALIAN = "it_core_news_sm"

# English and Spanish words that no name is made of; a sentence of another language is the language rule's to refuse.
_FOREIGN = frozenset(word for language, known in groups("telling").items() if language != "it" for word in known)
_ROMAN = re.compile(r"[IVXLC]+")


class PartOfSpeechTagger(Protocol):
    """Whatever tells parts of speech."""

    def tag(self, texts: Sequence[str]) -> list[list[tuple[str, str]]]:
        """Return the words and signs of each text with their UPOS tags; elided words keep their apostrophe."""
        ...


class NameRule:
    """Says how much of a caption is proper nouns, with one of the taggers of `FilterPlan.tagger`."""

    def __init__(self, tagger: str = "own", *, threshold: float = 0.8) -> None:
        """Open the tagger. Raises MissingExtra, BadModel."""
        self.tagger = open_tagger(tagger)
        self.threshold = threshold
        self._lists = lexicon()
        self._own = self.tagger is load_tagger()

    def refuses(self, text: str) -> bool:
        """Say whether the share of proper nouns reaches the threshold; text: cleaned."""
        if self._own and not self._may_be_names(tokenize(text)):
            return False
        return proper_share(self.tagger.tag([text])[0], self._lists) >= self.threshold

    def _may_be_names(self, tokens: list[str]) -> bool:
        """Say whether tagging can find enough proper nouns, which for most captions the letters and lists rule out.

        The tagger gives PROPN to no word without a capital where others have one; a particle may join a name.
        """
        words = [token for token in tokens if is_word(token)]
        if not words or (len(words) == 1 and self._lists.never_name(words[0].lower())):
            return False
        mode = case_mode(tokens)
        ordinary = 0
        for word in words:
            low = word.lower()
            if low in PARTICLES or word.endswith("'"):
                continue
            ordinary += not starts_high(word) if mode == "mixed" else self._lists.never_name(low) or low in _FOREIGN
        joined = sum(word.endswith("'") for word in words)
        return ordinary <= (1 - self.threshold) * max(len(words) - joined, 1) + 1e-9


def proper_share(tagged: Sequence[tuple[str, str]], lists: Lexicon) -> float:
    """Return the share of words that are proper nouns; 0 for a text without words.

    tagged: (word or sign, UPOS) in order.
    """
    words = _joined([(word, tag) for word, tag in tagged if is_word(word)])
    names = [tag == "PROPN" for _, tag in words]
    for i, (word, _) in enumerate(words):
        after_name = i > 0 and names[i - 1]
        if word.lower() in lists.kinds and not after_name:
            names[i] = False
        elif after_name and _ROMAN.fullmatch(word):
            names[i] = True
    for i in _between(words, names):
        names[i] = True
    return sum(names) / len(names) if names else 0.0


def open_tagger(name: str) -> PartOfSpeechTagger:
    """Open "own", "spacy:PIPELINE", or with "auto" spaCy's Italian pipeline where it is installed, else our own.

    Raises MissingExtra when spaCy is wanted and not there, BadModel when it lacks the pipeline or that tags no words.
    """
    if name == "auto":
        name = f"spacy:{SPACY_ITALIAN}" if find_spec("spacy") and find_spec(SPACY_ITALIAN) else "own"
    return load_tagger() if name == "own" else _SpacyTagger(name.removeprefix("spacy:"))


class _SpacyTagger:
    def __init__(self, pipeline: str) -> None:
        try:
            import spacy
        except ImportError:
            raise MissingExtra(
                f"the tagger spacy:{pipeline} needs spaCy, which is not installed; "
                "run: pip install 'clip-italian[corpus]'"
            ) from None
        try:
            self._pipeline = spacy.load(pipeline, exclude=["parser", "ner", "lemmatizer"])
        except OSError:
            raise BadModel(
                f"spaCy has no pipeline {pipeline} here; run: python -m spacy download {pipeline}, "
                'or set tagger = "own" under [filters]'
            ) from None

    def tag(self, texts: Sequence[str]) -> list[list[tuple[str, str]]]:
        documents = self._pipeline.pipe(texts)
        tagged = [[(token.text, token.pos_) for token in document if not token.is_space] for document in documents]
        if any(word and not tag for words in tagged for word, tag in words):
            raise BadModel(
                f"spaCy's pipeline {self._pipeline.meta['name']} gives no parts of speech; take one that does, "
                f"such as {SPACY_ITALIAN}"
            )
        return tagged


def _joined(words: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Join elided words to the next one, whose tag counts: L' | Aquila is one word."""
    joined: list[tuple[str, str]] = []
    for i, (word, tag) in enumerate(words):
        if not (word.endswith(("'", "’")) and i + 1 < len(words)):
            joined.append((word, tag))
    return joined


def _between(words: list[tuple[str, str]], names: list[bool]) -> list[int]:
    """Return the places of particles that have a name word on both sides: Leonardo [da] Vinci."""
    inside = []
    waiting: list[int] | None = None  # particles since the last name word; None when none came before
    for i, (word, _) in enumerate(words):
        if names[i]:
            inside += waiting or []
            waiting = []
        elif word.lower() in PARTICLES and waiting is not None:
            waiting.append(i)
        else:
            waiting = None
    return inside

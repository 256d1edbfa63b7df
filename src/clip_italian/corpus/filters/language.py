"""Is a caption in the language it should be in? py3langid among Italian, English and Spanish, simplemma for doubts.

Public names: LanguageRule. Captions are short, and a letter model takes "Tramonto" for Spanish; so a caption is refused
only when py3langid is sure of another language and simplemma does not know the words, and one that holds words of its
own language alone is not asked about at all.
"""

import math
import re
from functools import lru_cache
from typing import Any

from ...errors import MissingExtra
from .lexicon import groups

LANGUAGES = ("it", "en", "es")

_WORD = re.compile(r"[^\W\d_]+")
_TELLING = {language: frozenset(known) for language, known in groups("telling").items()}


class LanguageRule:
    """Says whether a caption is in another language than wanted."""

    def __init__(self, *, threshold: float, known_words: float) -> None:
        """Take the probability that refuses and the share of known words that saves. Raises MissingExtra."""
        self.threshold = threshold
        self.known_words = known_words
        self._identifier = _identifier()

    def refuses(self, text: str, language: str) -> bool:
        """Say whether the text, cleaned, is surely not in the language: "it", "en", "es"."""
        words = _WORD.findall(text.lower())
        if not words or self._evident(words, language):
            return False
        guess, probability = self.guess(text)
        if guess == language or probability < self.threshold:
            return False
        return self._known(words, language) < max(self.known_words, self._known(words, guess))

    def _evident(self, words: list[str], language: str) -> bool:
        others = [words_ for name, words_ in _TELLING.items() if name != language]
        found = set(words)
        own = len(found & _TELLING.get(language, frozenset()))
        return own > 0 and own >= 2 * sum(len(found & other) for other in others)

    def guess(self, text: str) -> tuple[str, float]:
        """Return py3langid's language and its probability, 0 where it has nothing to go by."""
        language, probability = self._identifier.classify(text)
        return language, probability if math.isfinite(probability) else 0.0

    @staticmethod
    def _known(words: list[str], language: str) -> float:
        from simplemma import is_known

        return sum(is_known(word, lang=language) for word in words) / len(words)


@lru_cache(maxsize=1)
def _identifier() -> Any:
    """Open py3langid's model once a process, restricted to the three languages."""
    try:
        import simplemma  # noqa: F401
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as problem:
        raise MissingExtra(
            f"the language rule needs {problem.name}, which is not installed; run: pip install 'clip-italian[corpus]', "
            'or set without = ["language"] under [filters]'
        ) from None
    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    identifier.set_languages(LANGUAGES)
    return identifier

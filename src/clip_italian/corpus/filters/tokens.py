"""Words and signs of a text, and how it is written.

Public names: tokenize, case_mode, is_word, starts_high, PARTICLES, CaseMode.
"""

import re
from collections.abc import Sequence
from typing import Literal

from .lexicon import words

CaseMode = Literal["mixed", "lower", "title", "upper"]

PARTICLES = frozenset(words("particles"))

_TOKEN = re.compile(r"(?:de|ne|co|po|be)'|[^\W_]+(?:[-&·][^\W_]+)*(?:'(?=[^\W_]))?|[^\w\s]|_")


def tokenize(text: str) -> list[str]:
    """Split a cleaned text as the treebanks do; an elided word keeps its apostrophe: L' | isola.

    >>> tokenize("L'isola di Sant'Elena, 1815")
    ["L'", 'isola', 'di', "Sant'", 'Elena', ',', '1815']
    """
    return _TOKEN.findall(text)


def is_word(token: str) -> bool:
    """Say whether a token holds a letter; numbers and signs do not count when words are counted."""
    return any(map(str.isalpha, token))


def starts_high(token: str) -> bool:
    """Say whether a token begins with a capital."""
    return token[:1].isupper()


def case_mode(tokens: Sequence[str]) -> CaseMode:
    """Tell how a text is written, since capitals mean something in "mixed" alone.

    "lower": no capitals. "upper": capitals only. "title": two or more words beside the particles, and all of them begin
    with a capital, which may be a name, or a heading: the words must tell.
    """
    texts = [token for token in tokens if is_word(token)]
    if not any(letter.isupper() for word in texts for letter in word):
        return "lower"
    if all(word.isupper() for word in texts) and sum(map(len, texts)) > 3:
        return "upper"
    weighty = [word for word in texts if word.lower() not in PARTICLES and len(word) > 1]
    return "title" if len(weighty) > 1 and all(map(starts_high, weighty)) else "mixed"

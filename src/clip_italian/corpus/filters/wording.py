"""Rules of form: length, letters, repetition, letters broken by a wrong encoding.

Public names: too_short, too_long, garbled, few_letters, repeated.
"""

import re
import unicodedata

from .plan import FilterPlan

_WORD = re.compile(r"[^\W\d_]+")
# UTF-8 read as Latin-1 or cp1252: "Ã¨" for "è", "â€™" for an apostrophe; and what stands for a letter that was lost.
_BROKEN = re.compile("\ufffd|Ã[\u0080-\u00bf\u0152-\u2122]|â€|Â[\u00a0-\u00bf]")
_RUN_FREE = "0123456789"  # 1000000 is a number
_MANY_WORDS = 10


def too_short(text: str, plan: FilterPlan) -> bool:
    """Say whether a text has too few words or characters."""
    return len(text) < plan.min_characters or len(text.split()) < plan.min_words


def too_long(text: str, plan: FilterPlan) -> bool:
    """Say whether a text has too many words or characters."""
    return len(text) > plan.max_characters or len(text.split()) > plan.max_words


def garbled(text: str) -> bool:
    """Say whether letters were broken by reading a file in the wrong encoding."""
    return bool(_BROKEN.search(text))


def few_letters(text: str, plan: FilterPlan) -> bool:
    """Say whether too small a share of what is not blank is Latin letters; signs of other scripts do not count."""
    signs = [sign for sign in text if not sign.isspace()]
    letters = sum(_is_latin(sign) for sign in signs)
    return letters < plan.min_letters * max(len(signs), 1)


def repeated(text: str, plan: FilterPlan) -> bool:
    """Say whether a sign or word stands too often in a row, or a long text says few words over and over."""
    before, run = "", 0
    for sign in text:
        run = run + 1 if sign == before else 1
        before = sign
        if run > plan.max_run and sign not in _RUN_FREE:
            return True
    before, run = "", 0
    words = _WORD.findall(text.lower())
    for word in words:
        run = run + 1 if word == before else 1
        before = word
        if run > plan.max_run:
            return True
    return len(words) >= _MANY_WORDS and len(set(words)) < plan.min_variety * len(words)


def _is_latin(sign: str) -> bool:
    if sign.isascii():
        return sign.isalpha()
    return sign.isalpha() and unicodedata.name(sign, "").startswith("LATIN")

"""What the tagger looks at in a word: its letters, its neighbours, the lists, the tags before it.

Public names: Sentence, sentence, features, fixed_tag. After Collins 2002; how the text is written is joined to every
feature of capitals, so that "dora riparia" and "GATTO SUL TETTO" are read by their words.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .tokens import CaseMode, case_mode, is_word

_ENDS = frozenset(".:!?")
_SYMBOLS = frozenset("%€$£°+=&§©®™<>~^|*@#")


@dataclass(frozen=True)
class Sentence:
    """Tokens made ready: lower-case words, shapes, marks of the lists, how the text is written."""

    words: list[str]
    shapes: list[str]
    marks: list[str]
    mode: CaseMode


def sentence(tokens: Sequence[str], marks: Mapping[str, str]) -> Sentence:
    """Prepare tokens; marks as in `Lexicon`."""
    mode = case_mode(tokens)
    words = [token.lower() for token in tokens]
    first = True
    shapes = []
    for token in tokens:
        shapes.append(f"{mode[0]}{_shape(token)}{'^' if first else ''}")
        first = token in _ENDS
    return Sentence(words, shapes, [marks.get(word, "") for word in words], mode)


def fixed_tag(token: str) -> str:
    """Return the tag that the letters alone decide: NUM, PUNCT, SYM; "" for a word."""
    if is_word(token):
        return ""
    if any(map(str.isdigit, token)):
        return "NUM"
    return "SYM" if token in _SYMBOLS or unicodedata.category(token[0]).startswith("S") else "PUNCT"


def features(text: Sentence, i: int, before: str, earlier: str) -> list[str]:
    """Return the features of word i, given the tags of the word before and the one before that ("" at the start)."""
    words, shapes, marks = text.words, text.shapes, text.marks
    word, shape, mark = words[i], shapes[i], marks[i]
    last = words[i - 1] if i else "<"
    follows = i + 1 < len(words)
    following = words[i + 1] if follows else ">"
    return [
        "b",
        f"w {word}",
        f"1{word[-1:]}{shape}",
        f"2{word[-2:]}",
        f"3{word[-3:]}",
        f"4{word[-4:]}",
        f"5{word[-5:]}",
        f"p{word[:2]}",
        f"s{shape}",
        f"m{mark}{shape}",
        f"n{mark}{marks[i + 1] if follows else '>'}{shape[0]}",
        f"o{mark}{marks[i - 1] if i else '<'}{shape[0]}",
        f"q{shape}{shapes[i + 1] if follows else '>'}",
        f"r{shapes[i - 1] if i else '<'}{shape}",
        f"3{word[-3:]}{shape}",
        f"l {last}",
        f"f {following}",
        f"g{following[-3:]}",
        f"t{before}",
        f"u{earlier} {before}",
        f"v{before} {word[-3:]}",
        f"x{before}{shape}{mark}",
        f"y {last} {shape}",
    ]


def _shape(token: str) -> str:
    if token.isupper():
        return "U" if sum(map(str.isalpha, token)) > 1 else "I"
    if token[:1].isupper():
        return "T" if token[1:].islower() else "M"
    if token[:1].isdigit():
        return "d"
    return "l" if token.islower() else "x"

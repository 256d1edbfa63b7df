"""How a text reaches an engine: cleaned, and cut when it is long, the same way for every engine.

Public names: parts, join, LONGEST.
"""

import re

LONGEST = 1000  # characters; four captions in a row, and few enough tokens for a model that reads 512

_SENTENCE_END = re.compile(r"""[.!?…]["'”’»)\]]*\s+""")
_SPACE = re.compile(r"\s+")


def parts(text: str) -> list[str]:
    """Cut a text at sentence ends, else at spaces, into parts of at most LONGEST characters; [] when it is blank.

    Space around the parts is dropped, so that " a dog" and "a dog" are one text. Half a surrogate pair, which no
    encoding can send, becomes "?".
    """
    text = text.encode("utf-8", "replace").decode().strip()
    found, start = [], 0
    while len(text) - start > LONGEST:
        end = _cut(text, start)
        found.append(text[start:end].strip())
        start = end
    found.append(text[start:].strip())
    return [part for part in found if part]


def join(translations: list[str]) -> str:
    """Put the translated parts of a text together."""
    return " ".join(translations)


def _cut(text: str, start: int) -> int:
    for end_of in (_SENTENCE_END, _SPACE):
        ends = [match.end() for match in end_of.finditer(text, start + 1, start + LONGEST)]
        if ends:
            return ends[-1]
    return start + LONGEST

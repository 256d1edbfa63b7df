"""From what a page holds to what a person reads: without markup, entities, footnote marks, credits at the end.

Public names: clean. Takes any text, also a broken one, in time that grows with its length alone; cleaning twice changes
nothing.
"""

import html
import re
import unicodedata

from .boilerplate import CREDIT_AT_END

ROUNDS = 4  # markup within entities within markup; what is nested deeper loses its signs altogether

_SURROGATES = re.compile("[\ud800-\udfff]")
# Signs that are not seen: controls, soft hyphen, joiners, marks of direction, byte order mark, variation selectors.
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f"
    "\ufeff\ufff9-\ufffb]"
)
_QUOTES = str.maketrans(
    {**dict.fromkeys("“”„‟«»″〝〞＂", '"'), **dict.fromkeys("‘’‚‛′ʼ＇`´", "'"), **dict.fromkeys("‐‑", "-"), "…": "..."}
)

_ESCAPED_AMPERSAND = re.compile(r"&(?:(?:amp|AMP|#0{0,4}38|#[xX]0{0,4}26);)+")
_COMMENT = re.compile(r"<!--[^<>]{0,1000}-->")
_NOTE = re.compile(r"<ref\b[^<>]{0,200}(?:/>|>[^<>]{0,500}</ref>)", re.IGNORECASE)
_HIDDEN = re.compile(r"<(script|style)\b[^<>]{0,200}>[^<>]{0,2000}</\1>", re.IGNORECASE)
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,500}>")
_TEMPLATE = re.compile(r"\{\{[^{}]{0,1000}\}\}")
_FILE_LINK = re.compile(r"\[\[(?:file|immagine|image|categoria|category)\s?:[^\[\]]{0,500}\]\]", re.IGNORECASE)
_LINK = re.compile(r"\[\[(?:[^\[\]|]{0,300}\|)?([^\[\]|]{0,300})\]\]")
_OUTER_LINK = re.compile(r"\[(?:https?:)?//[^\s\[\]]{1,500}(?:\s([^\[\]]{0,300}))?\]", re.IGNORECASE)
_BOLD = re.compile(r"'{2,5}(?=[^']|$)")
_PARAMETERS = re.compile(
    r"^\s*(?:(?:thumb|thumbnail|miniatura|min|frame|riquadro|left|right|center|destra|sinistra|centro"
    r"|(?:upright|verticale)(?:=[\d.]{1,5})?|\d{1,4}(?:x\d{1,4})?px|alt=[^|]{0,200})\s?\|)+",
    re.IGNORECASE,
)
_HEADING = re.compile(r"={2,6}([^=]{1,300})={2,6}")
_FOOTNOTE = re.compile(
    r"\[(?:\d{1,3}|[a-z]|(?:n|nota|note|N|nb|Nota|Note)\.?\s?\d{1,3}|senza fonte|citazione necessaria|citation needed"
    r"|non chiaro|modifica|edit|\?|sic)\]"
)
_LIST_MARK = re.compile(r"^(?:[*#:;•·▪►»>|]\s*)+")
_RULES = re.compile(r"__[A-Z]{3,20}__|\{\||\|\}")
_SPACES = re.compile(r"\s+")
_SPACE_BEFORE_SIGN = re.compile(r"\s([,;.!?])(?=\s|$)")
_BRACKETS_EMPTY = re.compile(r"\(\s*[,;]?\s*\)")
_SIGNS = str.maketrans(dict.fromkeys("&<>[]{}|=*#_'", " "))


def clean(text: str) -> str:
    """Return the text as a reader sees it, in NFC, on one line.

    Removed: what cannot be seen or encoded, HTML and wiki markup (the words of links stay), footnote marks ("[27]"),
    list marks, a credit in brackets at the end ("(Foto di Anna Bo)", "(AP Photo)"). Curly quotes become straight ones.

    >>> clean("Il [[Colosseo|grande anfiteatro]]&nbsp;di '''Roma'''[27]  (Foto: ANSA)")
    'Il grande anfiteatro di Roma'
    """
    text = _SURROGATES.sub("", text)
    for _ in range(ROUNDS):
        cleaned = _once(text)
        if cleaned == text:
            return text
        text = cleaned
    # Whoever nests markup this deep writes no caption: the signs go, so that the rest cannot turn into markup again.
    for _ in range(ROUNDS):
        cleaned = _once(text.translate(_SIGNS))
        if cleaned == text:
            break
        text = cleaned
    return text


def _once(text: str) -> str:
    if "&" in text:
        text = _ESCAPED_AMPERSAND.sub("&", text)
        text = _SURROGATES.sub("", html.unescape(text))
    if "<" in text:
        for pattern in (_COMMENT, _NOTE, _HIDDEN, _TAG):
            text = pattern.sub(" ", text)
    text = unicodedata.normalize("NFC", _UNSEEN.sub("", text)).translate(_QUOTES)
    if "[" in text or "{" in text or "|" in text:
        text = _unwiki(text)
    text = _HEADING.sub(r"\1", _BOLD.sub("", text))
    text = _LIST_MARK.sub("", _SPACES.sub(" ", text).strip())
    text = CREDIT_AT_END.sub("", text)
    text = _BRACKETS_EMPTY.sub("", text)
    return _SPACES.sub(" ", _SPACE_BEFORE_SIGN.sub(r"\1", text)).strip()


def _unwiki(text: str) -> str:
    for pattern, instead in (
        (_RULES, " "),
        (_TEMPLATE, " "),
        (_FILE_LINK, " "),
        (_LINK, r"\1"),
        (_OUTER_LINK, r"\1"),
        (_FOOTNOTE, ""),
        (_PARAMETERS, ""),
    ):
        text = pattern.sub(instead, text)
    return text

"""A contact sheet: one PNG of queries and the pictures found for them.

Public names: contact_sheet, Row.
"""

import functools
import importlib.util
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from ..errors import CorruptImage
from ..files import atomic_write
from ..images import ImageLike, open_image, printable

_CELL, _GAP, _MARGIN = 220, 14, 32  # pixels: side of a picture's square, between squares, around the sheet
_TITLE, _CAPTION, _BORDER = 24, 15, 5
_PAGE, _MAT, _INK, _FAINT, _RIGHT = "#ffffff", "#f1f2f4", "#17191c", "#6b7178", "#1f9d55"


@dataclass(frozen=True)
class Row:
    """A query and its pictures, best first. correct: for each picture whether it answers; None when nobody knows."""

    title: str
    pictures: Sequence[ImageLike]
    captions: Sequence[str] = ()
    correct: Sequence[bool] | None = None


def contact_sheet(rows: Sequence[Row], out: Path | str, *, columns: int = 6) -> None:
    """Draw the rows into a PNG at `out`, at most `columns` pictures abreast; correct ones get a green frame.

    A picture that cannot be opened leaves its square empty, with a note. Raises OSError when `out` cannot be written.

    >>> contact_sheet([Row("un gatto", ["a.jpg", "b.jpg"], ["0.31", "0.29"])], "sheet.png")   # doctest: +SKIP
    """
    abreast = max([1, *(min(columns, len(row.pictures)) for row in rows)])
    width = 2 * _MARGIN + max(abreast, 2) * (_CELL + _GAP) - _GAP
    titles = [_wrap(row.title, _font(_TITLE), width - 2 * _MARGIN) for row in rows]
    height = _MARGIN + sum(_height(row, title, columns) for row, title in zip(rows, titles, strict=True))
    page = Image.new("RGB", (width, height), _PAGE)
    draw = ImageDraw.Draw(page)
    top = _MARGIN
    for row, title in zip(rows, titles, strict=True):
        for i, line in enumerate(title):
            draw.text((_MARGIN, top + i * _line(_TITLE)), line, _INK, _font(_TITLE))
        grid = top + len(title) * _line(_TITLE) + _GAP // 2
        for i in range(len(row.pictures)):
            place = (_MARGIN + i % columns * (_CELL + _GAP), grid + i // columns * (_CELL + _line(_CAPTION) + _GAP))
            _draw_picture(page, draw, row, i, place)
        top += _height(row, title, columns)
    with atomic_write(out) as stream:
        page.save(stream, "PNG")


def _draw_picture(page: Image.Image, draw: ImageDraw.ImageDraw, row: Row, i: int, place: tuple[int, int]) -> None:
    left, top = place
    right = row.correct is not None and row.correct[i]
    frame = (left, top, left + _CELL - 1, top + _CELL - 1)
    draw.rectangle(frame, _RIGHT if right else _MAT)
    inner = _CELL - 2 * _BORDER
    if right:
        draw.rectangle((left + _BORDER, top + _BORDER, left + _BORDER + inner - 1, top + _BORDER + inner - 1), _MAT)
    try:
        picture = open_image(row.pictures[i], min_side=_CELL)
    except CorruptImage:
        draw.text((left + _CELL // 2, top + _CELL // 2), "cannot be opened", _FAINT, _font(_CAPTION), anchor="mm")
    else:
        picture = ImageOps.contain(picture, (inner, inner), Image.Resampling.LANCZOS)
        page.paste(picture, (left + (_CELL - picture.width) // 2, top + (_CELL - picture.height) // 2))
    if i < len(row.captions):
        caption = _shorten_inside(row.captions[i], _font(_CAPTION), _CELL)
        draw.text(
            (left + _CELL // 2, top + _CELL + 4), caption, _RIGHT if right else _FAINT, _font(_CAPTION), anchor="ma"
        )


def _height(row: Row, title: Sequence[str], columns: int) -> int:
    lines = -(-len(row.pictures) // columns)
    return len(title) * _line(_TITLE) + _GAP // 2 + lines * (_CELL + _line(_CAPTION) + _GAP) + _MARGIN


def _line(size: int) -> int:
    return round(size * 1.4)


@functools.cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Open a sans-serif font: the system's, else matplotlib's copy if that is installed, else Pillow's own."""
    names = ["DejaVuSans.ttf", "Arial.ttf", "LiberationSans-Regular.ttf", "NotoSans-Regular.ttf"]
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib is not None and matplotlib.origin is not None:
        names.append(str(Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"))
    for name in names:
        try:
            return ImageFont.truetype(name, size)
        except OSError:
            continue
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _drawable(text: str, font: ImageFont.FreeTypeFont) -> str:
    """Spell what the font lacks: è becomes e', as on typewriters, and what has no such spelling a question mark."""
    missing = bytes(font.getmask("\uffff"))
    text = printable(" ".join(text.split()))
    return "".join(c if c == " " or bytes(font.getmask(c)) != missing else _spelled(c) for c in text)


def _spelled(character: str) -> str:
    plain = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    accented = unicodedata.category(unicodedata.normalize("NFKD", character)[-1]) == "Mn"
    return plain + "'" * accented if plain else "?"


def _shorten(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    text = _drawable(text, font)
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text.rstrip() + "…"


def _shorten_inside(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Cut in the middle: names of files often begin, or end, alike."""
    text = _drawable(text, font)
    if font.getlength(text) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        cut = f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"
        if font.getlength(cut) <= width:
            return cut
    return "…"


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Break a title into at most three lines."""
    lines = [""]
    for word in _drawable(text, font).split():
        if lines[-1] and font.getlength(f"{lines[-1]} {word}") > width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    if len(lines) > 3:
        lines = [*lines[:2], " ".join(lines[2:])]
    return [_shorten(line, font, width) for line in lines]

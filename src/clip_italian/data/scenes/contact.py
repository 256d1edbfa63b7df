"""Scenes side by side with their captions, for a person to look at.

Public names: sheet.
"""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from .scene import Scene

_PAD = 8
_LINE = 16


def sheet(drawn: Sequence[Scene], *, columns: int = 6, size: int = 224, boxes: bool = False) -> Image.Image:
    """Return a contact sheet, each scene at `size` pixels over its first caption; boxes: frame every object."""
    font = ImageFont.load_default(13)
    texts = [_wrapped(scene.captions[0], font, size) for scene in drawn]
    lines = max((text.count("\n") + 1 for text in texts), default=0)
    step_x, step_y = size + _PAD, size + lines * _LINE + _PAD
    rows = -(-len(drawn) // columns)
    page = Image.new("RGB", (columns * step_x + _PAD, rows * step_y + _PAD), "white")
    pen = ImageDraw.Draw(page)
    for place, (scene, text) in enumerate(zip(drawn, texts, strict=True)):
        x, y = _PAD + place % columns * step_x, _PAD + place // columns * step_y
        page.paste(scene.draw(size), (x, y))
        if boxes:
            for thing in scene.things:
                left, top, right, bottom = (side * size for side in thing.box)
                pen.rectangle((x + left, y + top, x + right, y + bottom), outline="magenta")
        pen.text((x, y + size + 2), text, fill="black", font=font)
    return page


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)

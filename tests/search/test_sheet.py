"""The contact sheet: size, frames, pictures in their places, and letters of any font."""

from pathlib import Path

import pytest
from PIL import Image, ImageFont

from clip_italian.search import sheet
from clip_italian.search.sheet import Row, contact_sheet

GREEN = (31, 157, 85)


def test_pictures_stand_in_order_with_green_frames_where_right(tmp_path: Path) -> None:
    colours = ["red", "blue", "yellow", "black", "purple"]
    pictures = [Image.new("RGB", (300, 300), colour) for colour in colours]
    rows = [
        Row("perché è così", pictures, ["0.3"] * 5, correct=[True, False, False, True, False]),
        Row("due", pictures[:1]),
    ]
    contact_sheet(rows, tmp_path / "sheet.png", columns=3)
    page = Image.open(tmp_path / "sheet.png").convert("RGB")
    assert page.size == (2 * 32 + 3 * 220 + 2 * 14, page.height)
    first = min(y for y in range(page.height) if page.getpixel((32 + 110, y)) == (255, 0, 0))
    for i, colour in enumerate(colours):
        x, y = 32 + i % 3 * 234, first - 5 + i // 3 * (220 + 21 + 14)
        assert page.getpixel((x + 110, y + 110)) == Image.new("RGB", (1, 1), colour).getpixel((0, 0))
        assert (page.getpixel((x + 2, y + 110)) == GREEN) == (i in (0, 3))


def test_names_are_cut_in_the_middle(tmp_path: Path) -> None:
    drawn = []
    for end in ("pastore", "levriero"):
        rows = [Row("un cane", [Image.new("RGB", (30, 30))], [f"1  {'molto_' * 20}{end}.jpg"])]
        contact_sheet(rows, tmp_path / f"{end}.png")
        drawn.append(Image.open(tmp_path / f"{end}.png").tobytes())
    assert drawn[0] != drawn[1]


def test_missing_pictures_and_no_rows(tmp_path: Path) -> None:
    contact_sheet([Row("un gatto", [tmp_path / "none.jpg", b"broken"], ["a", "b"])], tmp_path / "sheet.png")
    contact_sheet([], tmp_path / "empty.png")
    contact_sheet([Row("parola " * 300, [])], tmp_path / "long.png")
    assert Image.open(tmp_path / "long.png").height < 400


def test_accents_are_drawn_or_spelled(monkeypatch: pytest.MonkeyPatch) -> None:
    poor = ImageFont.load_default(20)
    assert sheet._drawable("Perché\nla città è «blu» …", poor).startswith("Perche' la citta' e' «blu»")
    font = sheet._font(24)
    drawn = sheet._drawable("è", font)
    assert (drawn == "è" and bytes(font.getmask("è")) != bytes(font.getmask("\uffff"))) or drawn == "e'"

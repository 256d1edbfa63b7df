"""The sheet that people rate translations on: a CSV file for a spreadsheet, and a page for a browser.

Public names: Sheet, write_sheet, page.
"""

import base64
import csv
import hashlib
import html
import io
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ...files import atomic_write
from .cells import COLUMNS, guarded
from .sample import Sample, save


@dataclass(frozen=True)
class Sheet:
    """The files of one sheet: table and page go to the raters, the sample stays, since it names the engines."""

    table: Path
    page: Path
    sample: Path


def write_sheet(sample: Sample, path: Path) -> Sheet:
    """Write PATH.csv, PATH.html and PATH.json, each atomically. Raises OSError.

    The CSV is UTF-8 with a byte-order mark, which is how spreadsheets know; cells that they would run as a formula get
    an apostrophe in front. The page needs no network and no other file.
    """
    sheet = Sheet(*(path.with_name(f"{path.name}.{ending}") for ending in ("csv", "html", "json")))
    save(sample, sheet.sample)
    with atomic_write(sheet.table) as stream:
        stream.write(table(sample).encode("utf-8-sig"))
    with atomic_write(sheet.page) as stream:
        stream.write(page(sample).encode())
    return sheet


def table(sample: Sample) -> str:
    """Return the CSV text, the columns to be filled empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for one in sample.translations:
        writer.writerow([one.id, guarded(one.english), guarded(one.italian), "", ""])
    return out.getvalue()


def page(sample: Sample) -> str:
    """Return the page's HTML: its own style, script and data inside, and nothing else allowed to run or load.

    Captions travel as JSON in a data block, in which no character can end the block, and the script puts them on the
    page as text, never as markup. The policy names style and script by their hash: nothing injected would run.
    """
    rows = [{"id": one.id, "english": one.english, "italian": one.italian} for one in sample.translations]
    data = json.dumps({"sample": sample.fingerprint, "columns": COLUMNS, "translations": rows}, ensure_ascii=True)
    for sign in "<>&":
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    style, script = _part("page.css"), _part("page.js")
    policy = (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {"POLICY": html.escape(policy), "STYLE": style, "DATA": data, "SCRIPT": script}
    before, *rest = _part("page.html").split("@@")
    return before + "".join(parts[part] if i % 2 == 0 else part for i, part in enumerate(rest))


def _part(name: str) -> str:
    return (files(__package__) / "page" / name).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()

"""WIT: Wikipedia's pictures with their captions, 37.6 million rows of which a few per cent are Italian.

Public names: Wit, COLUMNS.

The files are gzip tab-separated values with 17 columns and a header, fields quoted only where they need it, as Python's
csv module writes and reads them. Layout: DATA.md of google-research-datasets/wit; Srinivasan et al. 2021.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from ...errors import BadRecord, shortened
from ..record import OnSkip, Record, SourceCaption
from .source import Source, checked_address, find_files, good_captions
from .tsv import rows

COLUMNS = (
    "language",
    "page_url",
    "image_url",
    "page_title",
    "section_title",
    "hierarchical_section_title",
    "caption_reference_description",
    "caption_attribution_description",
    "caption_alt_text_description",
    "mime_type",
    "original_height",
    "original_width",
    "is_main_image",
    "attribution_passes_lang_id",
    "page_changed_recently",
    "context_page_description",
    "context_section_description",
)
# SITE/a/ab/NAME, with thumb/ before and /SIZE-NAME behind for reduced copies.
_UPLOAD = re.compile(
    r"https?://upload\.wikimedia\.org/wikipedia/(?P<site>[a-z-]+)/(?:thumb/)?./../(?P<name>[^/?#]+)(?:/[^/?#]+)?"
)
Which = Literal["reference", "attribution", "alt_text"]


class Wit(Source):
    """Rows of the wanted languages that have a wanted caption and a picture that can be decoded.

    The licence is the data set's own and covers the captions; each photo's own licence and author stand on its file
    page (`attribution`).
    """

    kind: Literal["wit"] = "wit"
    files: tuple[str, ...] = Field(
        default=("wit_v1.train.all-0*.tsv.gz",), description="files, or patterns, under the corpus's folder"
    )
    languages: tuple[str, ...] = Field(default=("it",), min_length=1, description="WIT's language codes")
    captions: tuple[Which, ...] = Field(
        default=("reference",),
        min_length=1,
        description="reference: below the photo on the page (the paper's choice); attribution: on the photo's file "
        "page, taken where WIT found it to be in the row's language; alt_text: the photo's alternative text",
    )
    mime_types: tuple[str, ...] = Field(
        default=("image/jpeg", "image/png", "image/webp", "image/gif", "image/tiff"),
        description="rows with other pictures, such as drawings in SVG, are left out",
    )

    def records(self, root: Path, on_skip: OnSkip) -> Iterator[Record]:
        """Yield the records of all files in order. Raises BadRecord for a missing file or header, MissingExtra."""
        for path in find_files(root, self.files):
            found = rows(path, first=self.languages, on_skip=on_skip)
            header = next(found, None)
            if header is None:
                on_skip(f"{path}: holds no row; fetch it again")
                continue
            names = _header(header[1], path)
            record = self._reader(names, on_skip)
            for number, fields in found:
                where = f"{path}:{number}"
                try:
                    if len(fields) != len(names):
                        raise BadRecord(
                            f"{where}: the row has {len(fields)} columns instead of {len(names)}; mend or remove it"
                        )
                    if made := record(fields, where):
                        yield made
                except BadRecord as error:
                    on_skip(str(error))

    def _reader(self, names: list[str], on_skip: OnSkip) -> Callable[[list[bytes], str], Record | None]:
        """Return what makes a record of a row's fields, None where the row has nothing that is wanted."""
        place = {name: names.index(name) for name in COLUMNS}
        columns = [(which, place[f"caption_{which}_description"]) for which in self.captions]
        mime_types = frozenset(name.encode() for name in self.mime_types)
        mime, passes = place["mime_type"], place["attribution_passes_lang_id"]

        def record(fields: list[bytes], where: str) -> Record | None:
            present = [
                (which, fields[column])
                for which, column in columns
                if fields[column].strip() and (which != "attribution" or fields[passes].lower() == b"true")
            ]
            if not present or fields[mime] not in mime_types:
                return None
            values = [(_decoded(value, where, which), where, f"the {which} caption") for which, value in present]
            captions = good_captions(values, longest=self.longest_caption, on_skip=on_skip, required=False)
            if not captions:
                return None
            return self._record({name: fields[column] for name, column in place.items()}, captions, where)

        return record

    def _record(self, row: dict[str, bytes], captions: list[str], where: str) -> Record:
        language, image, page, title, section = (
            _decoded(row[name], where, name)
            for name in ("language", "image_url", "page_url", "page_title", "hierarchical_section_title")
        )
        image, page = checked_address(image, where), checked_address(page, where)
        return Record(
            source=self.kind,
            key=" ".join((image, page, section)),
            image=image,
            captions=tuple(SourceCaption(caption, language) for caption in captions),
            licence="CC-BY-SA-3.0",
            attribution=_file_page(image) or page,
            page=page,
            extra={
                "page_title": title,
                "section": section,
                "width": _number(row["original_width"]),
                "height": _number(row["original_height"]),
                "main_image": row["is_main_image"].lower() == b"true",
            },
        )


def _header(fields: list[bytes], path: Path) -> list[str]:
    names = [field.decode("utf-8-sig", "replace") for field in fields]
    missing = [name for name in COLUMNS if name not in names]
    if missing or names[0] != COLUMNS[0]:
        what = f"no column {', '.join(missing)}" if missing else f"{shortened(names[0])} as its first column"
        raise BadRecord(f"{path}: its first row has {what}; give WIT's files with their header")
    return names


def _decoded(value: bytes, where: str, name: str) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise BadRecord(f"{where}: {name} is not UTF-8 (byte {error.start + 1}); mend or remove the row") from error


def _number(value: bytes) -> int | None:
    return int(value) if value.isdigit() and len(value) < 10 else None


def _file_page(image: str) -> str:
    """Return the page that names a picture's author and licence, "" when the address does not tell it."""
    if not (match := _UPLOAD.fullmatch(image)):
        return ""
    site = "commons.wikimedia.org" if match["site"] == "commons" else f"{match['site']}.wikipedia.org"
    return f"https://{site}/wiki/File:{match['name']}"

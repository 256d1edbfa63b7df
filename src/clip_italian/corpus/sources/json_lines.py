"""The house's JSON lines: `{"image_path": …, "captions": ["…" or {"it": …, "en": …}], …}`, one picture a line.

Public names: JsonLines.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from ...data.readers.records import is_language, parse_object, text
from ...errors import BadRecord
from ..record import OnSkip, Origin, Record, SourceCaption
from .source import Source, caption_text, checked_address, find_files, relative_name
from .streams import lines

_TOLD = ("licence", "attribution", "page")  # keys of a line that stand above the settings


class JsonLines(Source):
    """A record a line; "image_path" is an address, or a file from the list's folder ("foto/1.jpg", "photos.tar#1.jpg").

    A line's own "licence", "attribution" and "page" count before the settings; other keys go into `extra`. A caption
    that is an object may hold "origin" and "engine", "validated" and "original": an Italian text with an engine is a
    translation, of "original" or of the English text beside it.
    """

    kind: Literal["json-lines"] = "json-lines"
    files: tuple[str, ...] = Field(default=("*.jsonl",), description="files, or patterns, under the corpus's folder")
    languages: tuple[str, ...] = Field(default=("it", "en"), min_length=1, description="captions to take")
    origin: Literal["written", "translated"] = Field(
        default="written", description="how Italian captions came about, where a line does not say"
    )
    engine: str = Field(default="", description="what translated them, where a line does not say")
    licence: str = Field(default="", description="where a line states none")
    attribution: str = Field(default="", description="where a line names nobody")

    def records(self, root: Path, on_skip: OnSkip) -> Iterator[Record]:
        """Yield the records in order; "image_path" is the key. Raises BadRecord for a missing file."""
        seen: set[bytes] = set()  # 16 bytes a picture, so that millions have room
        for path in find_files(root, self.files):
            for number, line in lines(path, on_skip):
                where = f"{path}:{number}"
                try:
                    record = self._record(parse_object(line, where), path, root, where)
                    short = hashlib.blake2b(record.key.encode(), digest_size=16).digest()
                    if short in seen:
                        raise BadRecord(f"{where}: {record.key} had a line before; put all its captions on one line")
                except BadRecord as error:
                    on_skip(str(error))
                else:
                    seen.add(short)
                    yield record

    def _record(self, line: dict[str, Any], path: Path, root: Path, where: str) -> Record:
        key = text(line.pop("image_path", None), where, '"image_path"')
        image = checked_address(key, where) if "://" in key else relative_name(path.parent / key, root)
        found = line.pop("captions", None)
        if not isinstance(found, list):
            raise BadRecord(f'{where}: "captions" is no list; write one in square brackets')
        captions = {c: None for i, item in enumerate(found, 1) for c in self._captions(item, f"{where}: caption {i}")}
        if not captions:
            raise BadRecord(f"{where}: has no caption in {', '.join(self.languages)}; add one or remove the line")
        told = {name: text(line.pop(name), where, f'"{name}"') for name in _TOLD if line.get(name)}
        return Record(
            source=self.kind,
            key=image,
            image=image,
            captions=tuple(captions),
            licence=told.get("licence", self.licence),
            attribution=told.get("attribution", self.attribution),
            page=told.get("page", ""),
            extra=line,
        )

    def _captions(self, item: Any, where: str) -> Iterator[SourceCaption]:
        if isinstance(item, str):
            item = {"it": item}
        if not isinstance(item, dict) or not any(map(is_language, item)):
            raise BadRecord(f'{where} is neither a text nor an object with a language; write {{"it": "…"}}')
        for language in self.languages:
            if language not in item:
                continue
            caption = caption_text(item[language], where, f'"{language}"', self.longest_caption)
            if language != "it":
                yield SourceCaption(caption, language)
                continue
            engine = str(item.get("engine", self.engine))
            origin: Origin = "translated" if engine or item.get("origin", self.origin) == "translated" else "written"
            original = str(item.get("original", item.get("en", ""))) if origin == "translated" else ""
            yield SourceCaption(caption, "it", origin, engine, original, item.get("validated") is True)

"""Wikimedia Commons: the short captions that people write in structured data, in Italian and other languages.

Public names: Commons, file_address.

Reads dumps of MediaInfo entities (commons-DATE-mediainfo.json.gz: a JSON array, one entity a line) and JSON lines of
such entities. Layout: Wikibase's JSON data model; `labels` are the captions, P275 the licence, P170 the author.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field

from ...data.readers.records import parse_object
from ...errors import BadRecord
from ...images import PICTURE_SUFFIXES
from ..record import OnSkip, Record, SourceCaption
from .source import Source, caption_text, find_files
from .streams import lines

# Wikidata's items of the usual licences (P275) and of the public domain (P6216).
_LICENCES = {
    "Q6938433": "CC0-1.0",
    "Q20007257": "CC-BY-4.0",
    "Q18199165": "CC-BY-SA-4.0",
    "Q14947546": "CC-BY-3.0",
    "Q14946043": "CC-BY-SA-3.0",
    "Q18810333": "CC-BY-2.5",
    "Q19113751": "CC-BY-SA-2.5",
    "Q19125117": "CC-BY-2.0",
    "Q19068220": "CC-BY-SA-2.0",
    "Q19652": "https://creativecommons.org/publicdomain/mark/1.0/",
}


class Commons(Source):
    """Files with a caption in one of the languages whose names are those of pictures."""

    kind: Literal["commons"] = "commons"
    files: tuple[str, ...] = Field(
        default=("commons-*-mediainfo.json.*",), description="files, or patterns, under the corpus's folder"
    )
    languages: tuple[str, ...] = Field(
        default=("it",), min_length=1, description="a file is taken with its captions in these, where it has one"
    )

    def records(self, root: Path, on_skip: OnSkip) -> Iterator[Record]:
        """Yield a record an entity, "M" and its page's number being the key. Raises BadRecord for a missing file."""
        signs = [b'"%s"' % language.encode() for language in self.languages]
        for path in find_files(root, self.files):
            for number, line in lines(path, on_skip):
                entity = line.strip().rstrip(b",")
                if entity in (b"[", b"]") or not any(sign in entity for sign in signs):
                    continue  # most lines: not worth parsing
                where = f"{path}:{number}"
                try:
                    if record := self._record(parse_object(entity, where), where):
                        yield record
                except BadRecord as error:
                    on_skip(str(error))

    def _record(self, entity: dict[str, Any], where: str) -> Record | None:
        labels = _object(entity.get("labels"), where, "labels")
        present = [language for language in self.languages if language in labels]
        if not present:
            return None
        title, identity = entity.get("title"), entity.get("id")
        if not isinstance(title, str) or not title.startswith("File:") or not isinstance(identity, str):
            raise BadRecord(f'{where}: has no "id" and "title" of a file; take a dump that has them')
        name = title.removeprefix("File:").strip().replace(" ", "_")
        if PurePosixPath(name).suffix.lower() not in PICTURE_SUFFIXES:
            return None
        captions = [
            SourceCaption(
                caption_text(
                    _object(labels[language], where, f"labels.{language}").get("value"),
                    where,
                    f"labels.{language}",
                    self.longest_caption,
                ),
                language,
            )
            for language in present
        ]
        statements = _object(entity.get("statements"), where, "statements")
        return Record(
            source=self.kind,
            key=identity,
            image=file_address(name),
            captions=tuple(captions),
            licence=_licence(statements),
            attribution=_author(statements) or name.replace("_", " "),
            page=f"https://commons.wikimedia.org/wiki/File:{quote(name)}",
            extra={"file_name": name},
        )


def file_address(name: str) -> str:
    """Return where Commons keeps a file: its folders are the first digits of its name's MD5, blanks underscores.

    >>> file_address("Pane di Altamura.jpg")
    'https://upload.wikimedia.org/wikipedia/commons/2/2c/Pane_di_Altamura.jpg'
    """
    name = name.replace(" ", "_")
    name = name[:1].upper() + name[1:]
    digits = hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()
    return f"https://upload.wikimedia.org/wikipedia/commons/{digits[0]}/{digits[:2]}/{quote(name)}"


def _object(value: Any, where: str, what: str) -> dict[str, Any]:
    if value is None or value == []:  # an empty object is written as an empty list
        return {}
    if not isinstance(value, dict):
        raise BadRecord(f'{where}: "{what}" is no object; take a dump of MediaInfo entities')
    return value


def _values(statements: dict[str, Any], name: str) -> Iterator[dict[str, Any]]:
    found = statements.get(name)
    for statement in found if isinstance(found, list) else []:
        if isinstance(statement, dict):
            yield statement


def _value(snak: Any) -> Any:
    data = snak.get("datavalue") if isinstance(snak, dict) else None
    return data.get("value") if isinstance(data, dict) else None


def _licence(statements: dict[str, Any]) -> str:
    """Return the licence, the first where there are several, or the public domain; "" when none is stated."""
    for name in ("P275", "P6216"):
        for statement in _values(statements, name):
            value = _value(statement.get("mainsnak"))
            item = value.get("id") if isinstance(value, dict) else None
            if isinstance(item, str) and (name == "P275" or item == "Q19652"):
                return _LICENCES.get(item, f"https://www.wikidata.org/wiki/{item}")
    return ""


def _author(statements: dict[str, Any]) -> str:
    """Return the author's name as a text (P2093 of P170), or the author's item."""
    for statement in _values(statements, "P170"):
        qualifiers = statement.get("qualifiers")
        for snak in _values(qualifiers, "P2093") if isinstance(qualifiers, dict) else ():
            if isinstance(name := _value(snak), str):
                return name
        value = _value(statement.get("mainsnak"))
        if isinstance(value, dict) and isinstance(value.get("id"), str):
            return f"https://www.wikidata.org/wiki/{value['id']}"
    return ""

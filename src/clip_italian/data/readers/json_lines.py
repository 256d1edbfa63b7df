"""The house's JSON lines: one picture a line, with its captions.

Public names: read.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import BadRecord
from ..sample import Caption, ImageRef, Sample
from .records import (
    Missing,
    OnSkip,
    PictureMissing,
    captions,
    extras,
    is_file,
    is_language,
    parse_object,
    refuse,
    report_missing,
    text,
    texts,
)
from .tars import index

_MEMBER = re.compile(r"(.+?\.(?:tar|tar\.gz|tgz))#(.+)", re.IGNORECASE | re.DOTALL)


def read(path: Path, *, missing: Missing = "error", on_skip: OnSkip | None = None) -> list[Sample]:
    """Read `{"image_path": …, "captions": [… or {"it": …, "en": …}], "queries": […]}` lines.

    `image_path` is relative to the file, absolute, or `shard.tar#member`, and is the key as it stands. Lines of one
    picture are joined to one sample. "label" is the class; "hard_negatives" are texts, or lists of them. All other
    keys, and these two, are kept in `extra`; so is "captions" as written where it holds notes besides the languages.
    Blank lines are passed over. Raises BadRecord as `readers.read` says.
    """
    places = _Places(path.parent, missing, on_skip)
    joined: dict[str, Sample] = {}
    absent = total = 0
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            total += 1
            try:
                sample = _sample(line.rstrip(), f"{path}:{number}", places)
            except PictureMissing as error:
                if missing == "error":
                    refuse(error, on_skip)
                absent += missing == "skip"
            except BadRecord as error:
                refuse(error, on_skip)
            else:
                first = joined.get(sample.key)
                joined[sample.key] = sample if first is None else _join(first, sample)
    report_missing(str(path), absent, total, on_skip)
    return list(joined.values())


def _sample(line: bytes, where: str, places: "_Places") -> Sample:
    record = parse_object(line, where)
    for key in ("image_path", "captions"):
        if key not in record:
            raise BadRecord(f'{where}: "{key}" is missing; add it or remove the line')
    key = text(record.pop("image_path"), where, '"image_path"')
    found = captions(record["captions"], where)
    queries = texts(record.pop("queries", []), where, '"queries"')
    if not _has_notes(record["captions"]):
        del record["captions"]
    label = record.get("label")
    if label is not None and (type(label) is not int or label < 0):
        raise BadRecord(f'{where}: "label" is {label!r}; a class is a number from 0')
    return Sample(key, places.find(key, where), tuple(found), tuple(queries), label, extras(record, where))


def _has_notes(value: list[Any]) -> bool:
    return any(isinstance(item, dict) and not all(map(is_language, item)) for item in value)


def _join(first: Sample, second: Sample) -> Sample:
    """Add a later line of the same picture: its new captions and queries, and the keys the earlier lines lack."""
    both: tuple[Caption, ...] = tuple(dict.fromkeys(first.captions + second.captions))
    queries = tuple(dict.fromkeys(first.queries + second.queries))
    return replace(first, captions=both, queries=queries, extra={**second.extra, **first.extra})


class _Places:
    """Finds pictures by `image_path`; reads each tar's index once."""

    def __init__(self, folder: Path, missing: Missing, on_skip: OnSkip | None) -> None:
        self.folder, self.missing, self.on_skip = folder, missing, on_skip
        self.tars: dict[Path, dict[str, ImageRef] | None] = {}

    def find(self, image_path: str, where: str) -> ImageRef:
        """Return where the picture lies. Raises PictureMissing unless it is there or such records are to be kept."""
        match = _MEMBER.fullmatch(image_path)
        if match:
            return self._find_member(self.folder / match[1], match[2], where)
        path = self.folder / image_path
        if self.missing != "keep" and not is_file(path):
            raise PictureMissing(f"{where}: there is no picture {path}; check image_path, or fetch the picture")
        return ImageRef(path)

    def _find_member(self, tar: Path, member: str, where: str) -> ImageRef:
        if tar not in self.tars:
            self.tars[tar] = index(tar, on_skip=self.on_skip) if is_file(tar) else None
        members = self.tars[tar]
        if members is not None and member in members:
            return members[member]
        if self.missing == "keep":
            return ImageRef(tar, member)
        lost = f"there is no tar {tar}" if members is None else f"{tar} has no member {member}"
        raise PictureMissing(f"{where}: {lost}; check image_path, or fetch the tar again")

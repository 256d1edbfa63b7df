"""Captions as MSCOCO and MSCOCO-IT give them: one JSON file with `images` and `annotations`.

Public names: read.
"""

import gzip
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from ...errors import BadRecord
from ..sample import Caption, ImageRef, Sample
from .folder import index_pictures
from .records import Missing, OnSkip, PictureMissing, extras, parse_object, refuse, report_missing, text


def read(
    path: Path, *, images: Path | None = None, missing: Missing = "error", on_skip: OnSkip | None = None
) -> list[Sample]:
    """Read `*.json` or `*.json.gz`; ids may be numbers or texts, even mixed in one file. Captions are taken as Italian.

    images: a folder, searched with all below it and in its tars, or a tar; else the file's own folder. Pictures are
    found by name. The key is `file_name`; `extra` has the picture's other fields, its id as `image_id`. Pictures
    without captions are left out, as they stand in no task. Raises BadRecord as `readers.read` says.
    """
    content = parse_object(_content(path), str(path))
    pictures = _pictures(content, path, on_skip)
    captions = _captions(content, path, pictures, on_skip)
    place = path.parent if images is None else images
    present = {} if missing == "keep" and images is None else index_pictures(place, on_skip=on_skip)
    samples: list[Sample] = []
    absent = 0
    for identity, found in captions.items():
        name, extra = pictures[identity]
        image = present.get(PurePosixPath(name).name)
        if image is None and missing == "keep":
            image = ImageRef(place / name)
        if image is None:
            absent += missing == "skip"
            if missing == "error":
                refuse(
                    PictureMissing(f"{path}: there is no picture {name} in {place}; name the folder with it"), on_skip
                )
            continue
        samples.append(Sample(name, image, tuple(found), extra=extra))
    report_missing(str(path), absent, len(captions), on_skip)
    return samples


def _content(path: Path) -> bytes:
    data = path.read_bytes()
    if not path.name.lower().endswith(".gz"):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise BadRecord(f"{path}: the compressed file is damaged or ends early ({error}); fetch it again") from error


def _entries(content: dict[str, Any], name: str, path: Path) -> list[Any]:
    entries = content.get(name)
    if not isinstance(entries, list):
        raise BadRecord(f'{path}: has no list "{name}"; give a file with the layout of MSCOCO\'s captions')
    return entries


def _pictures(content: dict[str, Any], path: Path, on_skip: OnSkip | None) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return name and other fields of each picture by its id as text."""
    found: dict[str, tuple[str, dict[str, Any]]] = {}
    for i, entry in enumerate(_entries(content, "images", path), 1):
        where = f"{path}: picture {i}"
        try:
            identity = _identity(entry, "id", where)
            name = text(entry.get("file_name"), where, '"file_name"')
            if identity in found:
                raise BadRecord(f"{where} has the id {identity} of {found[identity][0]}; give each picture its own")
            others = extras({key: value for key, value in entry.items() if key not in ("id", "file_name")}, where)
        except BadRecord as error:
            refuse(error, on_skip)
            continue
        found[identity] = (name, {**others, "image_id": int(identity) if identity.isdecimal() else identity})
    return found


def _captions(
    content: dict[str, Any], path: Path, pictures: dict[str, tuple[str, dict[str, Any]]], on_skip: OnSkip | None
) -> dict[str, list[Caption]]:
    """Return the captions of each picture by its id, pictures in the file's order."""
    found: dict[str, list[Caption]] = {identity: [] for identity in pictures}
    for i, entry in enumerate(_entries(content, "annotations", path), 1):
        where = f"{path}: annotation {i}"
        try:
            identity = _identity(entry, "image_id", where)
            if identity not in found:
                raise BadRecord(f"{where} is of picture {identity}, which the file does not list; remove it or add it")
            found[identity].append(Caption(text(entry.get("caption"), where, '"caption"')))
        except BadRecord as error:
            refuse(error, on_skip)
    return {identity: captions for identity, captions in found.items() if captions}


def _identity(entry: Any, key: str, where: str) -> str:
    value = entry.get(key) if isinstance(entry, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise BadRecord(f'{where} has no "{key}"; give it a number or a text')
    return str(value).strip()

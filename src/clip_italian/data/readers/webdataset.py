"""WebDataset tars: members that share a name up to its first dot make one sample.

Public names: read.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...errors import BadRecord
from ...images import PICTURE_SUFFIXES
from ..sample import Caption, ImageRef, Sample
from .records import OnSkip, captions, extras, parse_object, refuse, text, texts
from .tars import index

_KEY = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)", re.DOTALL)


def read(tars: Sequence[Path], *, on_skip: OnSkip | None = None) -> list[Sample]:
    """Read tars as one data set: `KEY.jpg` with `KEY.cls` (class number), `KEY.txt` (Italian caption), `KEY.json`.

    The JSON object may hold "captions" and "queries" as in the house's lines, or one "caption"; its other keys are kept
    in `extra`. Other members are passed over. Raises BadRecord as `readers.read` says.
    """
    samples: dict[str, Sample] = {}
    for tar in tars:
        for key, parts in _groups(index(tar, on_skip=on_skip)).items():
            try:
                sample = _sample(key, parts, f"{tar}#{key}")
                if key in samples:
                    raise BadRecord(f"{tar}#{key}: the key stands in {samples[key].image} too; give each its own")
            except BadRecord as error:
                refuse(error, on_skip)
            else:
                samples[key] = sample
    return list(samples.values())


def _groups(members: dict[str, ImageRef]) -> dict[str, dict[str, ImageRef]]:
    """Return the members of each key by their lower-case ending; those a sample has no use for are left out."""
    groups: dict[str, dict[str, ImageRef]] = {}
    for name, ref in members.items():
        match = _KEY.fullmatch(name)
        if match and (f".{match[2].lower()}" in PICTURE_SUFFIXES or match[2].lower() in ("cls", "txt", "json")):
            groups.setdefault(match[1], {})[match[2].lower()] = ref
    return groups


def _sample(key: str, parts: dict[str, ImageRef], where: str) -> Sample:
    pictures = [ref for ending, ref in parts.items() if f".{ending}" in PICTURE_SUFFIXES]
    if len(pictures) != 1:
        count = f"{len(pictures)} pictures" if pictures else "no picture"
        raise BadRecord(f"{where}: has {count}; each key needs one")
    sample = Sample(key, pictures[0])
    if "json" in parts:
        sample = _described(sample, parts["json"].read(), f"{where}.json")
    if "txt" in parts:
        caption = Caption(_decoded(parts["txt"], f"{where}.txt"))
        sample = replace(sample, captions=tuple(dict.fromkeys((*sample.captions, caption))))
    return replace(sample, label=_label(parts["cls"], f"{where}.cls")) if "cls" in parts else sample


def _described(sample: Sample, data: bytes, where: str) -> Sample:
    record: dict[str, Any] = parse_object(data, where)
    found = captions(record.pop("captions"), where) if "captions" in record else []
    if "caption" in record:
        found.append(Caption(text(record.pop("caption"), where, '"caption"')))
    queries = texts(record.pop("queries", []), where, '"queries"')
    return replace(sample, captions=tuple(dict.fromkeys(found)), queries=tuple(queries), extra=extras(record, where))


def _decoded(ref: ImageRef, where: str) -> str:
    try:
        value = ref.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecord(f"{where}: not UTF-8 (place {error.start + 1}); write it as UTF-8") from error
    return text(value, where, "the text")


def _label(ref: ImageRef, where: str) -> int:
    value = _decoded(ref, where)
    if not (value.isascii() and value.isdigit() and len(value) <= 9):
        raise BadRecord(f"{where}: holds {value[:20]!r}; write the number of the class, from 0")
    return int(value)

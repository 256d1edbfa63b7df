"""Readers: from files as people have them to samples.

Owns: the house's JSON lines (json_lines.py), MSCOCO-IT's JSON (coco.py), WebDataset tars (webdataset.py), folders of
pictures (folder.py), the index of a tar (tars.py), and what a bad record does (records.py).

Public names: read, read_all, Missing, OnSkip.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from ...errors import BadRecord
from ..sample import Sample
from . import coco, folder, json_lines, webdataset
from .records import Missing, OnSkip, refuse
from .tars import is_tar


def read(
    path: Path | str, *, images: Path | str | None = None, missing: Missing = "error", on_skip: OnSkip | None = None
) -> list[Sample]:
    """Read one data set, whose kind its name tells; keys are unique within it.

    `*.jsonl`: the house's JSON lines. `*.json`, `*.json.gz`: captions as MSCOCO-IT gives them, pictures under `images`
    (a folder or a tar; else beside the file). `*.tar`, `*.tar.gz`, `*.tgz`: WebDataset. A folder: its one JSON-lines
    file, else its tars as one WebDataset, else its pictures. missing: a record whose picture is not there is an error,
    left out (one message counts them), or kept for its captions. on_skip: without it the first bad record raises
    BadRecord; with it every bad record's message is handed over and reading goes on.

    >>> read("foto/train.jsonl", on_skip=print)[0].captions[0].text        # doctest: +SKIP
    'Un cane nero insegue un cane bianco nella neve'
    """
    path = Path(path)
    try:
        samples = _read(path, Path(images) if images is not None else None, missing, on_skip)
    except OSError as error:
        place = error.filename or path
        raise BadRecord(f"{place}: cannot be read ({error.strerror or error}); check name and rights") from error
    if not samples:
        refuse(BadRecord(f"{path}: holds nothing that could be read; check that it is the right one"), on_skip)
    return samples


def read_all(
    paths: Iterable[Path | str],
    *,
    images: Path | str | None = None,
    missing: Missing = "error",
    on_skip: OnSkip | None = None,
) -> list[Sample]:
    """Read several data sets as one, in order; the options are `read`'s.

    Each key gets the name of its data set's folder in front, "~2" added for a second folder of that name, so that keys
    stay the same when other data sets are added behind. A picture read before is a bad record: it is then most likely
    that one data set was named twice, or that training and validation overlap.
    """
    samples: list[Sample] = []
    origin: dict[str, Path] = {}
    names: dict[Path, str] = {}
    for path in map(Path, paths):
        name = _folder_name(path, names)
        found = [
            replace(sample, key=f"{name}/{sample.key}")
            for sample in read(path, images=images, missing=missing, on_skip=on_skip)
        ]
        again = [sample.key for sample in found if sample.key in origin]
        if again:
            which = ", ".join(again[:3]) + (", …" if len(again) > 3 else "")
            text = f"{path}: {len(again)} of its pictures were read before from {origin[again[0]]} ({which})"
            refuse(BadRecord(f"{text}; name each picture once"), on_skip)
        samples += [sample for sample in found if sample.key not in origin]
        origin |= {sample.key: path for sample in found if sample.key not in origin}
    return samples


def _read(path: Path, images: Path | None, missing: Missing, on_skip: OnSkip | None) -> list[Sample]:
    name = path.name.lower()
    if path.is_dir():
        return _read_folder(path, missing, on_skip)
    if not path.exists():
        raise BadRecord(f"{path}: no such file or folder; check the name")
    if name.endswith(".jsonl"):
        return json_lines.read(path, missing=missing, on_skip=on_skip)
    if name.endswith((".json", ".json.gz")):
        return coco.read(path, images=images, missing=missing, on_skip=on_skip)
    if is_tar(path):
        return webdataset.read([path], on_skip=on_skip)
    raise BadRecord(f"{path}: not a kind that can be read; give a .jsonl, .json, .json.gz, .tar, .tar.gz or a folder")


def _read_folder(path: Path, missing: Missing, on_skip: OnSkip | None) -> list[Sample]:
    visible = sorted(p for p in path.iterdir() if p.is_file() and not p.name.startswith("."))
    lists = [p for p in visible if p.suffix.lower() == ".jsonl"]
    if len(lists) > 1:
        names = ", ".join(p.name for p in lists)
        raise BadRecord(f"{path}: holds {len(lists)} lists of captions ({names}); name the one you mean")
    if lists:
        return json_lines.read(lists[0], missing=missing, on_skip=on_skip)
    tars = [p for p in visible if is_tar(p)]
    return webdataset.read(tars, on_skip=on_skip) if tars else folder.read(path, on_skip=on_skip)


def _folder_name(path: Path, names: dict[Path, str]) -> str:
    """Return the name that tells this data set's folder apart from the others in `names`, and note it there."""
    place = path.resolve()
    place = place if path.is_dir() else place.parent
    if place not in names:
        alike = sum(other.name == place.name for other in names)
        names[place] = f"{place.name}~{alike + 1}" if alike else place.name
    return names[place]

"""Folders of pictures, with or without captions beside them.

Public names: read, index_pictures.
"""

import os
from pathlib import Path, PurePosixPath

from ...errors import BadRecord
from ...images import PICTURE_SUFFIXES
from ..sample import Caption, ImageRef, Sample
from .records import OnSkip, refuse, text
from .tars import index, is_tar


def read(folder: Path, *, on_skip: OnSkip | None = None) -> list[Sample]:
    """Read every picture in a folder and below it, sorted by name; the key is its path from the folder.

    A text file of the same name (`foto.txt` beside `foto.jpg`) holds captions, Italian, one a line. Hidden files and
    folders are passed over, links to folders not followed. Raises BadRecord as `readers.read` says.
    """
    samples = []
    for path in sorted(p for p in _files(folder) if p.suffix.lower() in PICTURE_SUFFIXES):
        try:
            captions = _beside(path.with_suffix(".txt"))
        except BadRecord as error:
            refuse(error, on_skip)
            continue
        samples.append(Sample(path.relative_to(folder).as_posix(), ImageRef(path), captions))
    return samples


def index_pictures(place: Path, *, on_skip: OnSkip | None = None) -> dict[str, ImageRef]:
    """Return where each picture of a tar, or of a folder with all below it and its tars, lies, by its bare name."""
    found: dict[str, ImageRef] = {}
    for path in _files(place) if place.is_dir() else [place]:
        if path.suffix.lower() in PICTURE_SUFFIXES:
            found[path.name] = ImageRef(path)
        elif is_tar(path):
            members = index(path, on_skip=on_skip)
            found |= {PurePosixPath(name).name: ref for name, ref in members.items() if is_picture(name)}
    return found


def is_picture(name: str) -> bool:
    """Tell a picture by its name."""
    return PurePosixPath(name).suffix.lower() in PICTURE_SUFFIXES


def _files(folder: Path) -> list[Path]:
    found = []
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(base, name) for name in sorted(names) if not name.startswith(".")]
    return found


def _beside(path: Path) -> tuple[Caption, ...]:
    if not path.is_file():
        return ()
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise BadRecord(f"{path}: not UTF-8 (place {error.start + 1}); save the file as UTF-8") from error
    return tuple(Caption(text(line, f"{path}:{i}", "the caption")) for i, line in enumerate(lines, 1) if line.strip())

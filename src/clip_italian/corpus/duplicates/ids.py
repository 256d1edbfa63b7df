"""Ids of evaluation pictures, facts that the package carries: one file a set in `evaluation_ids/`.

Public names: EvaluationIds, shipped_ids, read_ids, read_names, write_ids, PREFIX_DIGITS.

A file is text: comments (what, how many, from where), then a line for each kind of id: its name, then the sorted ids,
each as its difference from the one before in base 36. Of an Open Images id, the first eight of its sixteen digits are
kept: another of the nine million Open Images pictures begins like one of 3,600 with a chance of one in a million.

The shipped files were made by this module:

    python -m clip_italian.corpus.duplicates.ids mscoco-it/original xtd10-it/original/test_image_names.txt \
        crossmodal-3600/image_ids.txt src/clip_italian/corpus/duplicates/evaluation_ids
"""

import gzip
import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from itertools import pairwise
from pathlib import Path

from ...errors import BadRecord
from ...files import atomic_write
from .addresses import Identity, identify
from .plan import SetName

PREFIX_DIGITS = 8  # of the sixteen hexadecimal digits of an Open Images id
_KINDS = ("coco", "flickr", "open_images_prefix")
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class EvaluationIds:
    """The ids of one set's pictures; open_images_prefix: the first PREFIX_DIGITS digits, as numbers."""

    name: str
    coco: frozenset[int] = frozenset()
    flickr: frozenset[int] = frozenset()
    open_images_prefix: frozenset[int] = frozenset()

    def match(self, known: Identity) -> str:
        """Say by which id a picture is one of this set's, "" when it is none."""
        if known.coco in self.coco:
            return f"{self.name}: COCO picture {known.coco}"
        if known.flickr in self.flickr:
            return f"{self.name}: Flickr photo {known.flickr}"
        if known.open_images is not None and _prefix(known.open_images) in self.open_images_prefix:
            return f"{self.name}: Open Images picture {known.open_images:016x}"
        return ""

    @classmethod
    def of(cls, name: str, pictures: Iterable[Identity]) -> "EvaluationIds":
        """Gather the ids of pictures."""
        pictures = list(pictures)
        return cls(
            name,
            frozenset(known.coco for known in pictures if known.coco is not None),
            frozenset(known.flickr for known in pictures if known.flickr is not None),
            frozenset(_prefix(known.open_images) for known in pictures if known.open_images is not None),
        )


@lru_cache(maxsize=8)
def shipped_ids(name: SetName) -> EvaluationIds:
    """Return the ids of a set that come with the package."""
    file = resources.files(__package__).joinpath("evaluation_ids", f"{name}.txt.gz")
    return _parse(name, file.read_bytes(), f"{name}.txt.gz")


def read_ids(path: Path) -> EvaluationIds:
    """Read a file that `write_ids` made. Raises BadRecord."""
    try:
        return _parse(path.name.removesuffix(".txt.gz"), path.read_bytes(), str(path))
    except OSError as error:
        raise BadRecord(f"{path}: cannot be read ({error.strerror or error}); check name and rights") from error


def read_names(path: Path) -> EvaluationIds:
    """Read a list of one's own: a file name, address or id of a picture a line, as `identify` understands them.

    Lines that begin with # and empty ones are passed over. Raises BadRecord for a line that names no known picture.
    """
    try:
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise BadRecord(f"{path}: cannot be read ({error}); it is text, or text in gzip, with a name a line") from error
    pictures = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        known = identify(line.strip())
        if not known:
            raise BadRecord(
                f"{path}, line {number}: {line[:60]!r} tells no COCO, Flickr or Open Images id; a line is such as "
                "COCO_val2014_000000000359.jpg, https://www.flickr.com/photos/me/4071979537, d89a4889331ce042"
            )
        pictures.append(known)
    return EvaluationIds.of(path.name.split(".")[0], pictures)


def write_ids(path: Path, ids: EvaluationIds, comments: Iterable[str]) -> None:
    """Write the ids as a file of the kind above, the same bytes for the same ids."""
    lines = [f"# {comment}" for comment in comments]
    for kind in _KINDS:
        numbers = sorted(getattr(ids, kind))
        if numbers:
            steps = [numbers[0], *(after - before for before, after in pairwise(numbers))]
            lines.append(" ".join([kind, *map(_base36, steps)]))
    with atomic_write(path) as stream:
        stream.write(gzip.compress(("\n".join(lines) + "\n").encode(), 9, mtime=0))


def _parse(name: str, data: bytes, place: str) -> EvaluationIds:
    found: dict[str, frozenset[int]] = {}
    try:
        for line in gzip.decompress(data).decode().splitlines():
            if line.startswith("#"):
                continue
            kind, *steps = line.split(" ")
            if kind not in _KINDS:
                raise ValueError(f"{kind[:20]!r} is no kind of id")
            total, numbers = 0, []
            for step in steps:
                total += int(step, 36)
                numbers.append(total)
            found[kind] = frozenset(numbers)
    except (OSError, EOFError, ValueError) as error:
        raise BadRecord(f"{place}: not a file of evaluation ids, or damaged ({error}); install again") from error
    return EvaluationIds(name, **found)


def _prefix(open_images: int) -> int:
    return open_images >> 4 * (16 - PREFIX_DIGITS)


def _base36(number: int) -> str:
    digits = ""
    while number or not digits:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits


def main() -> None:
    """Make the shipped files from the sets' own files."""
    mscoco, xtd10, crossmodal, out = map(Path, sys.argv[1:])
    for part, title in (("dev", "development"), ("test", "test")):
        pictures = []
        for kind in ("unvalidated", "validated"):
            data = json.loads(gzip.decompress((mscoco / f"captions_ita_{part}set_{kind}.json.gz").read_bytes()))
            pictures += [
                Identity(coco=int(image["id"]), flickr=identify(image["url"]).flickr) for image in data["images"]
            ]
        comments = [
            f"MSCOCO-IT, {title} set: ids of its {len(pictures):,} pictures in COCO and as photos on Flickr",
            f"Source: images of captions_ita_{part}set_unvalidated.json and captions_ita_{part}set_validated.json,",
            "github.com/crux82/mscoco-it, commit a17da43 (Scaiella, Croce, Basili 2019)",
        ]
        write_ids(out / f"mscoco-it-{part}.txt.gz", EvaluationIds.of(f"mscoco-it-{part}", pictures), comments)
    pictures = [identify(name) for name in xtd10.read_text().split()]
    comments = [
        f"XTD10: ids of its {len(pictures):,} pictures in COCO",
        "Source: test_image_names.txt, github.com/adobe-research/Cross-lingual-Test-Dataset-XTD10, commit d77ff16",
        "(Aggarwal, Kale 2020)",
    ]
    write_ids(out / "xtd10.txt.gz", EvaluationIds.of("xtd10", pictures), comments)
    names = crossmodal.read_text().split()
    pictures = [identify(name[:PREFIX_DIGITS].ljust(16, "0")) for name in names]
    comments = [
        f"Crossmodal-3600: the first {PREFIX_DIGITS} of 16 digits of its {len(pictures):,} pictures' Open Images ids",
        "Source: web-data/image_ids.txt, github.com/google/crossmodal-3600, commit bb86953 (Thapliyal et al. 2022)",
    ]
    write_ids(out / "crossmodal-3600.txt.gz", EvaluationIds.of("crossmodal-3600", pictures), comments)


if __name__ == "__main__":
    main()

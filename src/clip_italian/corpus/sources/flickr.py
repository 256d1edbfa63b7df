"""Flickr8k and Flickr30k: photos with five English sentences each (Hodosh et al. 2013, Young et al. 2014).

Public names: Flickr.

Three layouts, told by the first line: Flickr8k.token.txt and results_20130124.token (`NAME.jpg#0<tab>sentence`), the
results.csv that goes round with Flickr30k (`image_name| comment_number| comment`), and captions.txt
(`image,caption`, quoted where it has commas).
"""

import csv
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Literal

from pydantic import Field

from ...data.readers.folder import index_pictures
from ...data.sample import ImageRef
from ...errors import BadRecord, shortened
from ..record import OnSkip, Record, SourceCaption
from .source import Source, find_files, good_captions, relative_name
from .streams import lines

_TOKEN = re.compile(r"(?P<name>.+?\.jpg)[^#\t]*#\d+\t(?P<text>.*)", re.IGNORECASE)
# One line of the file that goes round lacks the second bar.
_BARS = re.compile(r"(?P<name>[^|]+\.jpg)\s*\|\s*\d+\s*\|?\s*(?P<text>.*)", re.IGNORECASE)
_PHOTO = re.compile(r"(\d{6,})(?:_[0-9a-f]+)?\.jpg", re.IGNORECASE)


class Flickr(Source):
    """A record a photo, with its sentences; they stand together in these files."""

    kind: Literal["flickr8k", "flickr30k"] = "flickr8k"
    files: tuple[str, ...] = Field(
        default=("*.token*", "results*.csv"), description="files, or patterns, under the corpus's folder"
    )
    images: str = Field(default="images", description="folder or tar with the photos under the corpus's folder")
    only: str | None = Field(
        default=None, description="file that lists the photos to take, one a line, such as Flickr_8k.trainImages.txt"
    )
    language: str = Field(default="en", description="the sentences' language")
    origin: Literal["written", "translated"] = Field(default="written", description="how the sentences came about")
    engine: str = Field(default="", description="what translated them")

    def records(self, root: Path, on_skip: OnSkip) -> Iterator[Record]:
        """Yield the records, the photo's name being the key. Raises BadRecord for missing files and photos' folder."""
        place = root / self.images
        if not place.exists():
            raise BadRecord(f"{place}: no such folder or tar; put the photos there or name it in `images`")
        pictures = index_pictures(place, on_skip=on_skip)
        chosen = None if self.only is None else _listed(root / self.only, on_skip)
        seen: set[str] = set()
        for path in self._found(root):
            for name, group in groupby(_sentences(path, on_skip), key=lambda sentence: sentence[1]):
                sentences = [(number, text) for number, _, text in group]
                if chosen is not None and name not in chosen:
                    continue
                try:
                    yield self._record(name, sentences, path, root, pictures, seen, on_skip)
                except BadRecord as error:
                    on_skip(str(error))

    def _found(self, root: Path) -> list[Path]:
        if self.files != type(self).model_fields["files"].default:
            return find_files(root, self.files)
        for name in self.files:  # either of the usual names will do
            if list(root.glob(name)):
                return find_files(root, (name,))
        return find_files(root, self.files)

    def _record(
        self,
        name: str,
        sentences: list[tuple[int, str]],
        path: Path,
        root: Path,
        pictures: dict[str, ImageRef],
        seen: set[str],
        on_skip: OnSkip,
    ) -> Record:
        where = f"{path}:{sentences[0][0]}"
        if name in seen:
            raise BadRecord(f"{where}: {name} had its sentences before; put all of a photo's lines together")
        seen.add(name)
        if name not in pictures:
            raise BadRecord(f"{where}: there is no photo {name} in {self.images}; fetch it or leave its lines out")
        values = [(sentence, f"{path}:{number}", "the sentence") for number, sentence in sentences]
        texts = good_captions(values, longest=self.longest_caption, on_skip=on_skip)
        picture, photo = pictures[name], _PHOTO.fullmatch(name)
        return Record(
            source=self.kind,
            key=name,
            image=relative_name(picture.path, root) + (f"#{picture.member}" if picture.member else ""),
            captions=tuple(SourceCaption(text, self.language, self.origin, self.engine) for text in texts),
            licence="research and education only, not commercial; photos under their owners' terms on Flickr",
            attribution=f"Flickr photo {photo[1]}" if photo else "Flickr",
            page=f"https://www.flickr.com/photo.gne?id={photo[1]}" if photo else "",
        )


def _sentences(path: Path, on_skip: OnSkip) -> Iterator[tuple[int, str, str]]:
    """Yield line number, photo's name and sentence of each good line."""
    parse: Callable[[str], tuple[str, str] | None] | None = None
    for number, line in lines(path, on_skip):
        try:
            content = line.decode("utf-8-sig").rstrip("\r")
        except UnicodeDecodeError as error:
            on_skip(f"{path}:{number}: not UTF-8 (byte {error.start + 1}); mend or remove the line")
            continue
        if parse is None:
            parse = _layout(content)
            if (parse is not _token and parse(content) is None) or content.startswith(("image_name", "image,")):
                continue  # the header
        found = parse(content)
        if found is None:
            on_skip(f"{path}:{number}: {shortened(content)!r} is no photo's name with a sentence; mend or remove it")
        else:
            yield number, *found


def _layout(first: str) -> Callable[[str], tuple[str, str] | None]:
    if "\t" in first:
        return _token
    return _bars if "|" in first else _commas


def _token(line: str) -> tuple[str, str] | None:
    match = _TOKEN.fullmatch(line)
    return (match["name"].strip(), match["text"]) if match else None


def _bars(line: str) -> tuple[str, str] | None:
    match = _BARS.fullmatch(line)
    return (match["name"].strip(), match["text"]) if match else None


def _commas(line: str) -> tuple[str, str] | None:
    row = next(csv.reader([line]), [])
    return (row[0].strip(), row[1]) if len(row) == 2 and row[0].lower().endswith(".jpg") else None


def _listed(path: Path, on_skip: OnSkip) -> frozenset[str]:
    if not path.is_file():
        raise BadRecord(f"{path}: no such list of photos; check `only`")
    return frozenset(line.decode("utf-8-sig", "replace").strip() for _, line in lines(path, on_skip))

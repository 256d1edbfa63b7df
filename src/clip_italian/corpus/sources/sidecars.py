"""A folder of pictures with captions beside them: `foto.txt` beside `foto.jpg`, one caption a line.

Public names: Folder.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from ...data.readers import folder
from ...errors import BadRecord
from ..record import OnSkip, Record, SourceCaption
from .source import Source, good_captions, relative_name


class Folder(Source):
    """Pictures with at least one caption, in the folder and below it; what a folder cannot tell is set here."""

    kind: Literal["folder"] = "folder"
    folder: str = Field(default="photos", description="the folder, under the corpus's folder")
    language: str = Field(default="it", min_length=2, description="the captions' language")
    origin: Literal["written", "translated"] = Field(default="written", description="how the captions came about")
    engine: str = Field(default="", description="what translated them")
    licence: str = Field(default="", description="an SPDX identifier or an address, where there is one")
    attribution: str = Field(default="", description="whom to name")

    def records(self, root: Path, on_skip: OnSkip) -> Iterator[Record]:
        """Yield a record a picture, sorted; its path is the key. Raises BadRecord without a folder."""
        place = root / self.folder
        if not place.is_dir():
            raise BadRecord(f"{place}: no such folder; put it there or name it in `folder`")
        for sample in folder.read(place, on_skip=on_skip):
            where = str(sample.image)
            if not sample.captions:
                on_skip(f"{where}: has no captions beside it; write them to {sample.image.path.stem}.txt")
                continue
            values = [(caption.text, where, "a caption") for caption in sample.captions]
            texts = good_captions(values, longest=self.longest_caption, on_skip=on_skip, required=False)
            if not texts:
                continue
            yield Record(
                source=self.kind,
                key=relative_name(sample.image.path, root),
                image=relative_name(sample.image.path, root),
                captions=tuple(SourceCaption(text, self.language, self.origin, self.engine) for text in texts),
                licence=self.licence,
                attribution=self.attribution,
            )

"""Conceptual Captions: 3.3 million English captions with the addresses of their pictures (Sharma et al. 2018).

Public names: ConceptualCaptions.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from ...errors import BadRecord
from ..record import OnSkip, Record, SourceCaption
from .source import Source, caption_text, checked_address, find_files
from .streams import lines


class ConceptualCaptions(Source):
    """Lines of caption, tab, address, without header and without quoting; the labelled edition has three columns more.

    Captions are taken as written by people, in English: they are the pages' own alternative texts, with names replaced
    by what they are. Pictures belong to their pages' owners.
    """

    kind: Literal["conceptual-captions"] = "conceptual-captions"
    files: tuple[str, ...] = Field(
        default=("Train*GCC-training*.tsv*",), description="files, or patterns, under the corpus's folder"
    )
    columns: Literal["caption-address", "address-caption"] = Field(
        default="caption-address", description="the other order is that of Conceptual 12M"
    )

    def records(self, root: Path, on_skip: OnSkip) -> Iterator[Record]:
        """Yield a record a line, its address being the key. Raises BadRecord for a missing file."""
        for path in find_files(root, self.files):
            for number, line in lines(path, on_skip):
                try:
                    yield self._record(line, f"{path}:{number}")
                except BadRecord as error:
                    on_skip(str(error))

    def _record(self, line: bytes, where: str) -> Record:
        try:
            fields = line.decode("utf-8-sig").rstrip("\r").split("\t")
        except UnicodeDecodeError as error:
            raise BadRecord(f"{where}: not UTF-8 (byte {error.start + 1}); mend or remove the line") from error
        if len(fields) not in (2, 5):
            raise BadRecord(f"{where}: the line has {len(fields)} columns instead of 2 or 5; mend or remove it")
        caption, address = fields[:2] if self.columns == "caption-address" else (fields[1], fields[0])
        address = checked_address(address, where)
        text = caption_text(caption, where, "the caption", self.longest_caption)
        return Record(
            source=self.kind,
            key=address,
            image=address,
            captions=(SourceCaption(text, "en"),),
            licence="https://github.com/google-research-datasets/conceptual-captions/blob/master/LICENSE",
            attribution="Conceptual Captions, Google LLC",
        )

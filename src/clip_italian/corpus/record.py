"""What every source yields: a picture's address, its captions, and where each comes from.

Public names: Record, SourceCaption, Origin, OnSkip.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from ..files import sha256_parts

Origin = Literal["written", "translated"]
OnSkip = Callable[[str], None]  # takes the message of a row that was passed over: what, where, what to do


@dataclass(frozen=True)
class SourceCaption:
    """A sentence, its language ("it", "en"), and its origin.

    engine: what translated it ("microsoft", "deepl", …), "" when a person wrote it. original: the text that was
    translated, "" when it is not known. validated: a person has checked it.
    """

    text: str
    language: str = "it"
    origin: Origin = "written"
    engine: str = ""
    original: str = ""
    validated: bool = False


@dataclass(frozen=True)
class Record:
    """A picture with its captions, as a source tells of it.

    source: the kind of source, such as "wit". key: names the record within its source, the same in every run. image:
    an http(s) address, or a local file ("foto/1.jpg", "photos.tar#1.jpg"). licence: as the source states it, an SPDX
    identifier or a URL where there is one, "" when it states none. attribution: whom to name. page: where the picture
    stands in public. extra: what else is known, such as coco_id; JSON values.
    """

    source: str
    key: str
    image: str
    captions: tuple[SourceCaption, ...]
    licence: str = ""
    attribution: str = ""
    page: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """32 hexadecimal digits that depend on source and key alone."""
        return sha256_parts([self.source.encode(), self.key.encode("utf-8", "surrogateescape")])[:32]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values that `from_json` reads back."""
        return {**vars(self), "captions": [vars(caption) for caption in self.captions], "extra": dict(self.extra)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""
        return cls(**{**value, "captions": tuple(SourceCaption(**caption) for caption in value["captions"])})

"""What translates: the protocol that engines follow, and how they tell what they could not do.

Public names: Engine, Answer, EngineStopped, QuotaExceeded, Untranslated.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ...errors import ClipItalianError


class EngineStopped(ClipItalianError):
    """An engine cannot go on; everything it translated is in the cache."""


class QuotaExceeded(EngineStopped):
    """The quota of a paid engine is used up; everything that was paid for is in the cache."""


class Untranslated(ClipItalianError):
    """Some texts cannot be translated, all others are.

    translations: in the order of the texts, "" for those that could not be. refused: such a text → why.
    """

    def __init__(self, message: str, translations: list[str], refused: Mapping[str, str]) -> None:
        super().__init__(message)
        self.translations = translations
        self.refused = dict(refused)


@dataclass(frozen=True)
class Answer:
    """What came back for some texts. translations: text → translation. refused: text → why there is none."""

    translations: Mapping[str, str]
    refused: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """Translates texts that are cleaned, not empty, and no longer than wording.LONGEST.

    name: the same for the same translations, and no other. paid: each text sent costs money.
    """

    name: str
    paid: bool

    def batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        """Cut texts into what is sent together and then stored."""
        ...

    def translate(self, texts: list[str]) -> Iterator[Answer]:
        """Translate a batch; every Answer is to be stored before the next is asked for.

        Raises EngineStopped, MissingExtra, BadModel.
        """
        ...

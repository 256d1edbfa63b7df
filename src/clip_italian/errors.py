"""Messages a person can act on: every error says what is wrong, where, and what to do.

Public names: ClipItalianError and its family, shortened. The command line prints the message alone and exits with 1.
"""

SHOWN = 40  # characters of a text in a message


def shortened(text: str) -> str:
    """Return the beginning of a text, for a message."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


class ClipItalianError(Exception):
    """Anything this package refuses or cannot finish; its text is the whole message for the user."""


class CorruptImage(ClipItalianError):
    """A picture cannot be decoded: truncated, not a picture, without pixels, or too large to open safely."""


class BadRecord(ClipItalianError):
    """A line, row or archive member of a data set breaks its format."""


class BadModel(ClipItalianError):
    """A model directory is incomplete, altered, of an unknown kind, or its parts disagree."""


class BadRecipe(ClipItalianError):
    """A recipe holds an unknown key, a wrong value, or settings that contradict each other."""


class BadAlbum(ClipItalianError):
    """An album file is not an album, is of a newer version, or was made with another model."""


class BadLedger(ClipItalianError):
    """A corpus's ledger is missing, no ledger, damaged, or of a newer version."""


class BadPlan(ClipItalianError):
    """A corpus plan holds an unknown key, a wrong value, or names something that is not there."""


class BadLabels(ClipItalianError):
    """A list of class names or templates is empty, repeated, or does not fit the pictures."""


class MissingExtra(ClipItalianError):
    """An optional dependency is not installed; the message says what to install."""


class Busy(ClipItalianError):
    """Another process holds the lock on a file or folder."""


class BadQuery(ClipItalianError):
    """A search asks for nothing: an empty query, or no results."""


class CannotWrite(ClipItalianError):
    """A file cannot be written: the disk is full, or the place may not be written to."""

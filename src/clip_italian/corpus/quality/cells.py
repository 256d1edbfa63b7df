"""Cells of a CSV file that spreadsheets open: none is run as a formula, and each reads back as it was.

Public names: guarded, unguarded, COLUMNS.
"""

COLUMNS = ("id", "english", "italian", "rating", "comment")

# What spreadsheets begin a formula with (OWASP, "CSV Injection"), the full-width forms too. A text that begins with an
# apostrophe gets another one, so that taking it away gives the text.
_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")


def guarded(text: str) -> str:
    """Put an apostrophe before a text that a spreadsheet would run, even after blanks; NUL becomes a blank."""
    text = text.replace("\0", " ")
    return f"'{text}" if text.startswith(_STARTS) or text.lstrip().startswith(_STARTS) else text


def unguarded(text: str) -> str:
    """Return the text that `guarded` was given (NUL aside)."""
    rest = text[1:]
    return rest if text.startswith("'") and guarded(rest) == text else text

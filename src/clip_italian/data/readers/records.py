"""What every reader does with a record: check its texts, and refuse it with a message that says where it stands.

Public names: OnSkip, Missing, PictureMissing, refuse, report_missing, parse_object, text, texts,
captions, extras, is_language, is_file.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ...errors import BadRecord
from ..sample import Caption

OnSkip = Callable[[str], None]
Missing = Literal["error", "skip", "keep"]

# A closed list, because two-letter notes ("id", "by") stand beside captions too.
_LANGUAGES = frozenset({"it", "en", "es", "fr", "de", "pt"})


class PictureMissing(BadRecord):
    """A record whose picture is not where it says."""


def refuse(error: BadRecord, on_skip: OnSkip | None) -> None:
    """Raise the error, or hand its message over where reading is to go on."""
    if on_skip is None:
        raise error
    on_skip(str(error))


def report_missing(where: str, missing: int, total: int, on_skip: OnSkip | None) -> None:
    """Say once how many records were left out because their pictures are not there."""
    if missing and on_skip is not None:
        on_skip(f"{where}: {missing} of {total} records were left out, because their pictures are not there")


def parse_object(data: bytes, where: str) -> dict[str, Any]:
    """Parse one JSON object from UTF-8. Raises BadRecord."""
    try:
        value = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        byte = f"byte 0x{data[error.start]:02x} at place {error.start + 1}"
        raise BadRecord(f"{where}: not UTF-8 ({byte}); save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}" if error.lineno > 1 else f"column {error.colno}"
        raise BadRecord(f"{where}: not JSON ({error.msg}, {place}); mend or remove it") from error
    except (ValueError, RecursionError) as error:
        raise BadRecord(f"{where}: not JSON that can be read ({error}); mend or remove it") from error
    if not isinstance(value, dict):
        raise BadRecord(f"{where}: a JSON {_kind(value)}; write an object in braces")
    return value


def text(value: Any, where: str, what: str) -> str:
    """Return a text without blanks around it. Raises BadRecord when it is none, is empty or is not Unicode."""
    if not isinstance(value, str):
        raise BadRecord(f"{where}: {what} is a {_kind(value)}; write a text in quotes")
    value = value.strip()
    if not value:
        raise BadRecord(f"{where}: {what} is empty; write something or remove it")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise BadRecord(f"{where}: {what} holds a code that is no letter; write it anew")
    return value


def texts(value: Any, where: str, what: str) -> list[str]:
    """Return a list of texts. Raises BadRecord."""
    if not isinstance(value, list):
        raise BadRecord(f"{where}: {what} is a {_kind(value)}; write a list in square brackets")
    return [text(item, where, f"item {i} of {what}") for i, item in enumerate(value, 1)]


def captions(value: Any, where: str) -> list[Caption]:
    """Return the captions of a house record: a string is Italian, an object has one text a language. Raises BadRecord.

    Languages are it, en, es, fr, de and pt; other keys of the object are notes.
    """
    if not isinstance(value, list):
        raise BadRecord(f'{where}: "captions" is a {_kind(value)}; write a list in square brackets')
    found: list[Caption] = []
    for i, item in enumerate(value, 1):
        what = f"caption {i}"
        if not isinstance(item, dict):
            found.append(Caption(text(item, where, what)))
            continue
        languages = [key for key in item if is_language(key)]
        if not languages:
            raise BadRecord(f'{where}: {what} names no language; write {{"it": "…"}}')
        found += [Caption(text(item[key], where, f"{what} ({key})"), key) for key in languages]
    if not found:
        raise BadRecord(f'{where}: "captions" is empty; write one or remove the record')
    return found


def extras(record: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a record's other keys, free but for "hard_negatives": texts, or lists of texts. Raises BadRecord."""
    if "hard_negatives" not in record:
        return record
    value, what = record["hard_negatives"], '"hard_negatives"'
    if isinstance(value, list) and value and all(isinstance(kind, list) for kind in value):
        checked: list[Any] = [texts(kind, where, f"list {i} of {what}") for i, kind in enumerate(value, 1)]
    else:
        checked = [*texts(value, where, what)]
    return record | {"hard_negatives": checked}


def is_language(key: str) -> bool:
    """Tell a caption's language from a note about it."""
    return key in _LANGUAGES


def is_file(path: Path) -> bool:
    """Say whether a file is there; a name that no file could have is not."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _kind(value: Any) -> str:
    names = {dict: "JSON object", list: "list", str: "text", bool: "truth value", int: "number", float: "number"}
    return names.get(type(value), "null")

"""What every source has: checked settings, files by name or pattern, captions without flaws.

Public names: Source, find_files, caption_text, good_captions, checked_address, relative_name, MAX_LINE.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from ...data.readers.records import text
from ...errors import BadRecord, shortened
from ..record import OnSkip

MAX_LINE = 4 << 20  # bytes of a line or row that are ever held; what is longer is passed over
_NO_LETTER = re.compile("[\\0\ud800-\udfff]")
_ADDRESS = re.compile(r"https?://(?:[^\s/?#\[\]]+|\[[0-9a-f:.]+\])(?:[/?#]\S*)?", re.IGNORECASE)


class Source(BaseModel):
    """Settings of a source; unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    longest_caption: int = Field(default=5000, ge=1, description="characters of a caption; longer ones are passed over")


def find_files(root: Path, names: Sequence[str]) -> list[Path]:
    """Return the files under `root` that names or patterns (`*`, `?`, `[…]`) stand for, each once, in their order.

    Raises BadRecord when a name or pattern stands for no file.
    """
    found: dict[Path, None] = {}
    for name in names:
        path = root / name
        if path.is_file():
            matches = [path]
        elif any(sign in name for sign in "*?[") and not Path(name).is_absolute():
            matches = sorted(match for match in root.glob(name) if match.is_file())
        else:
            matches = []
        if not matches:
            raise BadRecord(f"{path}: no such file; put it there or name it in the source's `files`")
        found |= dict.fromkeys(matches)
    return list(found)


def caption_text(value: object, where: str, what: str, longest: int) -> str:
    """Return a caption on one line, blanks joined. Raises BadRecord when it is empty, not a text, or too long."""
    checked = " ".join(value.split()) if isinstance(value, str) else ""
    if not checked or _NO_LETTER.search(checked):
        text(value, where, what)  # says what is wrong
        raise BadRecord(f"{where}: {what} is empty; write something or remove it")
    if len(checked) > longest:
        raise BadRecord(
            f"{where}: {what} has {len(checked)} characters ({shortened(checked)}); at most {longest} are taken "
            "(longest_caption)"
        )
    return checked


def good_captions(
    values: Iterable[tuple[object, str, str]], *, longest: int, on_skip: OnSkip, required: bool = True
) -> list[str]:
    """Return the good ones of a picture's captions, each once; of the others `on_skip` hears.

    values: caption, where it stands, and what it is called there. Raises BadRecord when none is good, if required.
    """
    good: dict[str, None] = {}
    where = ""
    for value, where, what in values:
        try:
            good[caption_text(value, where, what, longest)] = None
        except BadRecord as error:
            on_skip(str(error))
    if required and not good:
        raise BadRecord(f"{where}: the picture has no caption that can be taken; mend or remove it")
    return list(good)


def checked_address(value: str, where: str) -> str:
    """Return an http(s) address. Raises BadRecord when it is none."""
    address = value.strip()
    if not _ADDRESS.fullmatch(address):
        raise BadRecord(f"{where}: {shortened(address)!r} is no http(s) address; mend or remove the row")
    return address


def relative_name(path: Path, root: Path) -> str:
    """Return a file's name from `root`, or the whole path where it lies elsewhere."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)

"""Class names and the sentences they are put into.

Public names: read_labels, read_templates.
"""

from collections.abc import Sequence
from pathlib import Path

from ..errors import BadLabels


def read_labels(source: str | Path, *, column: str | None = None) -> tuple[str, ...]:
    """Read class names, in the order of the class indexes, from a file or from a list such as "gatto,cane".

    A file has one name per line; with tabs in it, it has a header, and `column` says which one holds the names. Raises
    BadLabels, with the line, on an empty or repeated name, and when there is no such file, column, or nothing in it.
    """
    if _is_file(source):
        lines = _lines(Path(source))
        names = _column(source, lines, column) if column or "\t" in lines[0] else list(enumerate(lines, start=1))
        places = [(f"{source}, line {line}", name.strip()) for line, name in names]
    elif "," in str(source):
        places = [(f"class {index} of the list", name.strip()) for index, name in enumerate(str(source).split(","), 1)]
    else:
        raise BadLabels(f"{source}: neither a file nor a list of names with commas between them")
    _refuse_empty_or_repeated(places)
    return tuple(name for _, name in places)


def read_templates(sources: Sequence[str]) -> tuple[str, ...]:
    """Take sentences with {} for the class name, or files with one per line; a repeated sentence counts twice.

    Raises BadLabels on a sentence without {}.

    >>> read_templates(["una foto di {}"])
    ('una foto di {}',)
    """
    templates: list[str] = []
    for source in sources:
        is_file = "{}" not in source and _is_file(source)
        lines = [line.strip() for line in _lines(Path(source))] if is_file else [source]
        for number, template in enumerate(lines, start=1):
            if "{}" not in template:
                where = f"{source}, line {number}" if is_file else "template"
                raise BadLabels(f"{where}: {template!r} has no {{}}; write {{}} where the class name goes")
            templates.append(template)
    if not templates:
        raise BadLabels("no templates; give at least one, '{}' for the bare class name")
    return tuple(templates)


def _is_file(source: str | Path) -> bool:
    try:
        return Path(source).is_file()
    except (OSError, ValueError):  # a list too long to be a file's name
        return False


def _lines(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode("utf-8-sig").rstrip("\r\n").split("\n")
    except UnicodeDecodeError as error:
        raise BadLabels(f"{path}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error


def _column(source: str | Path, lines: list[str], column: str | None) -> list[tuple[int, str]]:
    """Return (line number, name) of one column of a table whose first line is its header."""
    header = lines[0].rstrip("\r").split("\t")
    if column not in header:
        wanted = f"no column {column!r}" if column else "a table; say which column holds the names"
        raise BadLabels(f"{source}: {wanted}; it has {', '.join(header)}")
    place = header.index(column)
    rows = [line.rstrip("\r").split("\t") for line in lines[1:]]
    return [(number, row[place] if place < len(row) else "") for number, row in enumerate(rows, start=2)]


def _refuse_empty_or_repeated(places: list[tuple[str, str]]) -> None:
    if not places:
        raise BadLabels("no class names; a header alone is not enough")
    seen: dict[str, str] = {}
    for place, name in places:
        if not name:
            raise BadLabels(f"{place}: no name; every class needs one, since the line says which class it is")
        if name in seen:
            raise BadLabels(f"{place}: {name!r} is already at {seen[name]}; give the two classes different names")
        seen[name] = place

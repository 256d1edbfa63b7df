"""Class names, the sentences they are put into, and which class a picture shows.

Public names: BARE, read_labels, label_ids, read_templates, default_templates, read_classed,
with_classes.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..data.class_names import LABEL_SETS, label_set
from ..data.readers import read
from ..data.sample import Sample
from ..errors import BadLabels
from ..italian import TEMPLATES

BARE = ("{}",)
_CLASS_COLUMNS = ("wnid", "class", "label")


def read_labels(source: str | Path, *, column: str | None = None, drop_empty: bool = False) -> tuple[str, ...]:
    """Read class names, in the order of the class indexes: a set of ours, a file, or a list such as "gatto,cane".

    The names of a set (one of data.class_names.LABEL_SETS, in any capitals; "./coco" is a file) have their article. A
    file has one name per line; with tabs in it, it has a header, and `column` says which one holds the names.
    drop_empty: nothing between two commas of a list is passed over; only where no one counts the classes. Raises
    BadLabels, with the line, on an empty or repeated name, and when there is no such set, file, column, or nothing in
    it.

    >>> read_labels("cifar10")[:3]
    ('un aereo', "un'automobile", 'un uccello')
    """
    known = _set_named(source)
    if known:
        if column:
            raise BadLabels(f"{source}: this set of names has no columns; leave the column out, or name a file")
        return tuple(one.form.with_article() for one in label_set(known))
    if _is_file(source):
        lines = _lines(Path(source))
        names = _column(source, lines, column) if column or "\t" in lines[0] else list(enumerate(lines, start=1))
        places = [(f"{source}, line {line}", name.strip()) for line, name in names]
    elif "," in str(source):
        listed = [name.strip() for name in str(source).split(",") if name.strip() or not drop_empty]
        places = [(f"name {number} of the list", name) for number, name in enumerate(listed, start=1)]
    else:
        raise BadLabels(
            f'"{source}": neither a file, nor a list (at least two names with a comma between), nor one of the sets of '
            f"names: {', '.join(LABEL_SETS)}"
        )
    _refuse_empty_or_repeated(places)
    return tuple(name for _, name in places)


def label_ids(source: str | Path) -> tuple[str, ...]:
    """Return what tables and folders call the classes of a set of ours, in the same order; nothing for other names.

    >>> label_ids("tiny-imagenet")[0], label_ids("gatto,cane")
    ('n01443537', ())
    """
    known = _set_named(source)
    return tuple(one.wnid for one in label_set(known)) if known else ()


def default_templates(source: str | Path) -> tuple[str, ...]:
    """Return the sentences that go with names from `source`: italian.TEMPLATES where all have their article."""
    return TEMPLATES if _set_named(source) else BARE


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


def with_classes(
    samples: Sequence[Sample],
    images: Path | str,
    names: Sequence[str],
    *,
    ids: Sequence[str] = (),
    table: Path | None = None,
) -> list[Sample]:
    """Give the pictures read from `images` their class, as an index into `names`.

    It comes from `table`, else from the data set itself (.cls), else from the table beside a folder (`album.tsv`
    beside `album`), else from the name of the folder that a picture lies in ("n02123045/7.jpg", "gatto/7.jpg"). A table
    has tabs and a header: column `file` holds a picture's path in its folder, the first of `wnid`, `class` and `label`
    its class: one of `ids`, a name, or its number from 0. Pictures that get no class are handed on as they are. Raises
    BadLabels for a class or a picture that there is not.
    """
    numbers = {name: number for number, name in enumerate(names)} | {id: number for number, id in enumerate(ids)}
    if table is None and all(sample.label is None for sample in samples):
        table = _table_beside(Path(images))
        if table is None:
            folders = (numbers.get(Path(sample.key).parent.name) for sample in samples)
            return [replace(sample, label=label) for sample, label in zip(samples, folders, strict=True)]
    if table is None:
        return list(samples)
    numbers = {str(number): number for number in range(len(names))} | numbers
    told = _classes_in(table, numbers, {sample.key for sample in samples})
    return [replace(sample, label=told.get(sample.key, sample.label)) for sample in samples]


def read_classed(
    images: Path | str, names: Sequence[str], *, ids: Sequence[str] = (), table: Path | None = None
) -> list[Sample]:
    """Read pictures and give them their class, as `with_classes` does. Raises BadLabels, BadRecord."""
    return with_classes(read(images), images, names, ids=ids, table=table)


def _table_beside(images: Path) -> Path | None:
    images = images.resolve()
    table = images.with_name(f"{images.name}.tsv")
    return table if images.is_dir() and table.is_file() else None


def _classes_in(table: Path, numbers: dict[str, int], keys: set[str]) -> dict[str, int]:
    lines = _lines(table)
    header = lines[0].rstrip("\r").split("\t")
    column = next((name for name in _CLASS_COLUMNS if name in header), None)
    if column is None or "file" not in header:
        raise BadLabels(
            f"{table}: a table of classes has a header with file and one of {', '.join(_CLASS_COLUMNS)}; this one has "
            f"{', '.join(header)}"
        )
    told: dict[str, int] = {}
    for (number, file), (_, name) in zip(_column(table, lines, "file"), _column(table, lines, column), strict=True):
        where = f"{table}, line {number}"
        if file not in keys:
            raise BadLabels(f"{where}: {file!r} is not among the pictures")
        if name not in numbers:
            raise BadLabels(f"{where}: {name!r} is none of the {len(set(numbers.values()))} classes")
        told[file] = numbers[name]
    return told


def _set_named(source: str | Path) -> str | None:
    """Return the set of ours that is meant, in whatever capitals; a file called COCO is that file."""
    name = str(source).lower()
    return name if name in LABEL_SETS and (name == str(source) or not _is_file(source)) else None


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
        raise BadLabels("no class names; give at least one, in a file below its header")
    seen: dict[str, str] = {}
    for place, name in places:
        if not name:
            raise BadLabels(f"{place}: no name; every class needs one, since the line says which class it is")
        if name in seen:
            raise BadLabels(f"{place}: {name!r} is already at {seen[name]}; give the two classes different names")
        seen[name] = place

"""Tables and figures as a card writes them.

Public names: Row, table, score.
"""

from collections.abc import Sequence

from ..statistics import Interval

Row = Sequence[object]


def table(header: Row, rows: Sequence[Row]) -> str:
    """Lay out a Markdown table; what a cell holds is put on one line.

    >>> print(table(("a", "b"), [(1, "x | y")]))
    | a | b |
    | --- | --- |
    | 1 | x \\\\| y |
    """
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def score(value: Interval, digits: int = 3) -> str:
    """Write a score with its interval.

    >>> score(Interval(0.5, 0.4, 0.6), 1)
    '0.5 (0.4–0.6)'
    """
    return f"{value.value:.{digits}f} ({value.low:.{digits}f}–{value.high:.{digits}f})"


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")

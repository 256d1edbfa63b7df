"""What a measurement found, as JSON, as a table for the terminal, and as Markdown.

Public names: Part, Result, to_json, table, markdown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.table import Table
from rich.text import Text

from .encoding import Skip
from .statistics import Interval

_PARTS_ABREAST = 3


@dataclass(frozen=True)
class Part:
    """One direction of a task, or one kind of query: its scores by name, such as "mrr@10".

    ranks: (n_queries,) rank of the best right answer, what paired comparisons start from; queries stand in file order,
    those of image_to_text in the order of their pictures' hashes. groups: (n_queries,) what is drawn together for
    intervals, None when every query stands alone.
    """

    name: str
    n_queries: int
    metrics: Mapping[str, Interval]
    ranks: np.ndarray = field(repr=False, compare=False)
    groups: np.ndarray | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Result:
    """A finished measurement.

    name: the encoder's; model: its fingerprint; data: SHA-256 of the pictures and texts measured, in whatever order
    they were listed. n_images: pictures searched or classified. parts: the task's main part first. settings: what else
    decides the scores. skipped: what was left out.
    """

    task: str
    name: str
    model: str
    data: str
    n_images: int
    parts: tuple[Part, ...]
    settings: Mapping[str, Any]
    skipped: tuple[Skip, ...] = ()


def to_json(result: Result) -> dict[str, Any]:
    """Describe a result as plain JSON values; the same measurement always gives the same ones.

    The main part's scores stand under their own names (`mrr@1`, `recall@10`, `accuracy@5`, …), those of the other
    parts under `part/…`: `image_to_text/recall@1`, `short/mrr@10`, `short/n_queries`. Each score is {value, low,
    high}.
    """
    main, *others = result.parts
    document: dict[str, Any] = {
        "task": result.task,
        "name": result.name,
        "model": result.model,
        "data": result.data,
        "n_queries": main.n_queries,
        "n_images": result.n_images,
        "settings": dict(result.settings),
    }
    document |= {metric: asdict(interval) for metric, interval in main.metrics.items()}
    for part in others:
        document[f"{part.name}/n_queries"] = part.n_queries
        document |= {f"{part.name}/{metric}": asdict(interval) for metric, interval in part.metrics.items()}
    document["skipped"] = [asdict(skip) for skip in result.skipped]
    return document


def table(result: Result) -> Group:
    """Lay a result out for an 80-column terminal: a row per score, a column per part, `value [low–high]`."""
    blocks = []
    for start in range(0, len(result.parts), _PARTS_ABREAST):
        title = f"{result.task}: {result.name}, {result.n_images} pictures" if start == 0 else ""
        block = Table(title=Text(title) if title else None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
        header, rows = _grid(result.parts[start : start + _PARTS_ABREAST])
        for index, heading in enumerate(header):
            block.add_column(Text(heading), justify="right" if index else "left", no_wrap=True)
        for row in rows:
            block.add_row(*(Text(cell) for cell in row))
        blocks.append(block)
    return Group(*blocks)


def markdown(result: Result) -> str:
    """Lay a result out as one Markdown table, the same cells as `table`."""
    header, rows = _grid(result.parts)
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _grid(parts: Sequence[Part]) -> tuple[list[str], list[list[str]]]:
    header = [""] + [f"{part.name.replace('_', ' ')} ({part.n_queries})" for part in parts]
    names = list(dict.fromkeys(name for part in parts for name in part.metrics))
    rows = [[name, *(_cell(name, part.metrics.get(name)) for part in parts)] for name in names]
    return header, rows


def _cell(metric: str, interval: Interval | None) -> str:
    if interval is None:
        return ""
    digits = 1 if metric == "median_rank" else 3
    return f"{interval.value:.{digits}f} [{interval.low:.{digits}f}–{interval.high:.{digits}f}]"

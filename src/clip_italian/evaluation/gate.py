"""The gate: what a model's exported form may lose, in points of recall and accuracy.

Public names: GateSet, Score, Gate, with_drawn, measure, table, markdown, to_json, LEAST_PICTURES.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from ..data import scenes as drawing
from ..data.sample import Sample
from ..encoder import Encoder
from ..errors import BadRecord
from ..italian import TEMPLATES
from .encoding import Progress
from .metrics import found_at_k
from .report import Part, Result
from .retrieval import evaluate_retrieval
from .statistics import Interval, bootstrap_means
from .zero_shot import evaluate_zero_shot

RECALL_KS, ACCURACY_KS = (1, 5, 10), (1, 5)
LEAST_PICTURES = 100  # with fewer, one picture moves a score by more than the point that is to be seen
DRAWN_SCENES, DRAWN_THINGS = 200, 240  # pictures; one of them is half a point of a score by picture
DRAWN_SIZE = 224  # pixels a side


@dataclass(frozen=True)
class GateSet:
    """A data set to score on; labels: its classes' names, where it has classes."""

    name: str
    samples: Sequence[Sample]
    labels: Sequence[str] = ()
    templates: Sequence[str] = ("{}",)


@dataclass(frozen=True)
class Score:
    """One score before and after, in points from 0 to 100, over n queries.

    low, high: ends of the 95 % interval of the change, from the same queries before and after.
    """

    data: str
    name: str
    n: int
    before: float
    after: float
    low: float
    high: float

    @property
    def change(self) -> float:
        """After less before, in points; what is lost is below 0."""
        return self.after - self.before


@dataclass(frozen=True)
class Gate:
    """The scores and the points that each may lose at most."""

    scores: tuple[Score, ...]
    limit: float

    @property
    def failed(self) -> tuple[Score, ...]:
        """The scores that lost more than the limit."""
        return tuple(score for score in self.scores if not -score.change <= self.limit + 1e-9)  # NaN fails too


def with_drawn(sets: Sequence[GateSet]) -> list[GateSet]:
    """Return the sets, and drawn scenes for each of the two tasks, retrieval and zero-shot, that none of them has.

    The scenes are always the same ones and need no file: 200 with distinct captions to be found, 240 single things to
    be named among twelve.
    """
    filled = list(sets)
    if not any(_captioned(one) for one in sets):
        scenes = drawing.corpus(DRAWN_SCENES, split="test", size=DRAWN_SIZE)
        filled.append(GateSet("drawn scenes", scenes))
    if not any(one.labels for one in sets):
        things = drawing.corpus(DRAWN_THINGS, split="test", kind="single", size=DRAWN_SIZE)
        bare = [replace(thing, captions=()) for thing in things]  # many are alike: none is to be found by its caption
        filled.append(GateSet("drawn things", bare, list(drawing.class_names()), TEMPLATES))
    return filled


def measure(
    before: Encoder, after: Encoder, sets: Sequence[GateSet], limit: float, *, progress: Progress | None = None
) -> Gate:
    """Score both encoders on every set: retrieval where there are Italian captions, zero-shot where there are labels.

    Raises BadRecord when there is no set, or one with neither captions nor labels, or with fewer than 100 pictures that
    can be read; ValueError for a limit that is no number from 0 up; and as the two evaluations do.
    """
    if not limit >= 0:
        raise ValueError(f"the limit is a number of points from 0 up, not {limit}")
    if not sets:
        raise BadRecord("no data to compare the model on before and after; give some")
    scores: list[Score] = []
    for one in sets:
        scores += _scores(before, after, one, progress)
    return Gate(tuple(scores), limit)


def table(gate: Gate) -> Table:
    """Lay the gate out for an 80-column terminal: a row per data set and one per score, those past the limit marked."""
    block = Table(title=Text(f"before and after, in points; limit {gate.limit:g}"), title_justify="left",
                  box=SIMPLE_HEAD, pad_edge=False)  # fmt: skip
    for index, heading in enumerate(("", *_HEADINGS[2:])):
        block.add_column(heading, justify="right" if index else "left", no_wrap=index > 0)
    shown = ""
    for data, *cells in _rows(gate):
        if data != shown:
            block.add_row(Text(data, style="bold"))
            shown = data
        block.add_row(*(Text(cell) for cell in cells))
    return block


def markdown(gate: Gate) -> str:
    """Lay the gate out as a Markdown table, the same cells as `table`."""
    lines = [list(_HEADINGS), ["---", "---", *["---:"] * 4], *_rows(gate)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + f"\n\nLimit: {gate.limit:g} points.\n"


def to_json(gate: Gate) -> dict[str, Any]:
    """Describe the gate as plain JSON values, points rounded to thousandths."""
    rows = [
        {
            "data": s.data, "score": s.name, "n": s.n, "before": round(s.before, 3), "after": round(s.after, 3),
            "change": {"value": round(s.change, 3), "low": round(s.low, 3), "high": round(s.high, 3)},
        }
        for s in gate.scores
    ]  # fmt: skip
    return {"limit": gate.limit, "passed": not gate.failed, "scores": rows}


_HEADINGS = ("data", "score", "queries", "before", "after", "change [95 %]")


def _rows(gate: Gate) -> list[list[str]]:
    failed = set(gate.failed)
    return [
        [
            s.data, s.name, str(s.n), f"{s.before:.2f}", f"{s.after:.2f}",
            f"{s.change:+.2f} [{s.low:+.2f} to {s.high:+.2f}]" + " !" * (s in failed),
        ]
        for s in gate.scores
    ]  # fmt: skip


def _scores(before: Encoder, after: Encoder, one: GateSet, progress: Progress | None) -> list[Score]:
    pairs: list[tuple[Result, Result, Sequence[int]]] = []
    if _captioned(one):
        first, second = (evaluate_retrieval(e, one.samples, progress=progress) for e in (before, after))
        pairs.append((first, second, RECALL_KS))
    if one.labels:
        first, second = (
            evaluate_zero_shot(e, one.samples, one.labels, one.templates, progress=progress) for e in (before, after)
        )
        pairs.append((first, second, ACCURACY_KS))
    if not pairs:
        raise BadRecord(
            f"{one.name}: has no Italian captions, and no class names were given; there is nothing to score"
        )
    return [score for first, second, ks in pairs for score in _paired(one.name, first, second, ks)]


def _captioned(one: GateSet) -> bool:
    return any(sample.texts("it") for sample in one.samples)


def _paired(data: str, before: Result, after: Result, ks: Sequence[int]) -> list[Score]:
    if before.n_images < LEAST_PICTURES:
        raise BadRecord(f"{data}: {before.n_images} pictures are too few to see a loss; give at least {LEAST_PICTURES}")
    assert before.data == after.data  # both read the same pictures
    metric = "accuracy" if before.task == "zero-shot" else "recall"
    scores = []
    for old, new in zip(before.parts, after.parts, strict=True):
        for k, change in _changes(old, new, ks).items():
            name = f"{metric}@{k}"
            if name in old.metrics:
                title = f"{old.name.replace('_to_', '→')} {name}"
                first, second, low, high = (
                    100 * value for value in (old.metrics[name].value, new.metrics[name].value, change.low, change.high)
                )
                scores.append(Score(data, title, old.n_queries, first, second, low, high))
    return scores


def _changes(old: Part, new: Part, ks: Sequence[int]) -> dict[str, Interval]:
    """Return by k the mean change of what is found among the first k, with its interval."""
    values = {str(k): found_at_k(new.ranks, k) - found_at_k(old.ranks, k) for k in ks}
    return bootstrap_means(values, old.groups)

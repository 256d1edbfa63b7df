"""The gate's options, as `export` and `ship` have them, and the check that they ask for.

Public names: Given, check_of, Data, Images, Labels, LabelColumn, Classes, Templates, Pictures, Limit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from ..data.sample import Sample
    from ..encoder import Encoder
    from ..evaluation.gate import GateSet
    from ..models.onnx_export import Check

Data = Annotated[
    list[Path] | None,
    typer.Option(
        "--data", exists=True, help="Captioned pictures to search before and after; repeatable; else drawn scenes."
    ),
]
Images = Annotated[
    Path | None,
    typer.Option(exists=True, help="Pictures with their class, to classify before and after; else drawn things."),
]
Labels = Annotated[
    str | None, typer.Option(help='The names of these classes: a set (imagenet, coco, …), a file, or "gatto,cane".')
]
LabelColumn = Annotated[str | None, typer.Option(help="The column of names, when the file is a table.")]
Classes = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A table of the pictures' classes.")]
Templates = Annotated[
    list[str] | None, typer.Option("--template", help="A sentence with {} for the class name; repeatable.")
]
Pictures = Annotated[int | None, typer.Option(min=1, help="Score on so many of each set at most, evenly spaced.")]
Limit = Annotated[float, typer.Option(min=0, help="Points that a score may lose at most.")]


@dataclass(frozen=True)
class Given:
    """What was given to score on: the options' values."""

    data: Sequence[Path]
    images: Path | None
    labels: str | None
    label_column: str | None
    classes: Path | None
    templates: Sequence[str]
    pictures: int | None
    limit: float

    def __post_init__(self) -> None:
        if (self.images is None) != (self.labels is None):
            raise typer.BadParameter("--images and --labels go together: pictures and the names of their classes")


def check_of(out: Path, given: Given) -> "Check":
    """Return the check that scores a model before and after, shows the table, and refuses what is past the limit.

    Reads the data now, so that what is wrong with it is told before any work.
    """
    from ..errors import ClipItalianError
    from ..evaluation import gate
    from .evaluate import _progress

    sets = _sets(given)

    def check(before: "Encoder", after: "Encoder") -> tuple[dict[str, Any], str]:
        with _progress() as progress:
            found = gate.measure(before, after, gate.with_drawn(sets), given.limit, progress=progress)
        Console().print(gate.table(found))
        if found.failed:
            worst = min(found.failed, key=lambda score: score.change)
            raise ClipItalianError(
                f"{out}: not written: {worst.name} on {worst.data} changes by {worst.change:+.2f} points, the "
                f"limit is {given.limit:g} (--limit); {len(found.failed)} of {len(found.scores)} scores are past it"
            )
        return gate.to_json(found), gate.markdown(found)

    return check


def _sets(given: Given) -> "list[GateSet]":
    sets = [_captioned(path, given.pictures) for path in given.data]
    if given.images and given.labels:
        sets.append(_labelled(given.images, given.labels, given))
    return sets


def _captioned(path: Path, most: int | None) -> "GateSet":
    from ..data.readers import read
    from ..evaluation.gate import GateSet

    return GateSet(_title(path), _spaced(read(path), most))


def _labelled(path: Path, labels: str, given: Given) -> "GateSet":
    from ..evaluation import labels as class_names
    from ..evaluation.gate import GateSet

    names = class_names.read_labels(labels, column=given.label_column)
    sentences = class_names.read_templates(list(given.templates) or class_names.default_templates(labels))
    samples = class_names.read_classed(path, names, ids=class_names.label_ids(labels), table=given.classes)
    return GateSet(_title(path), _spaced(samples, given.pictures), names, sentences)


def _title(path: Path) -> str:
    place = path.resolve()
    return f"{place.parent.name}/{place.name}"


def _spaced(samples: "Sequence[Sample]", most: int | None) -> "Sequence[Sample]":
    """Take `most` samples at equal distances, all when there are no more."""
    if most is None or len(samples) <= most:
        return samples
    return [samples[place * len(samples) // most] for place in range(most)]

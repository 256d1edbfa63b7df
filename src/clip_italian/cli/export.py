"""`clip-italian export`: a trained model as ONNX files that run without torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console

if TYPE_CHECKING:
    from ..data.sample import Sample
    from ..encoder import Encoder
    from ..evaluation.gate import GateSet


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def export(
        directory: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The model directory.")],
        out: Annotated[Path, typer.Option("--out", help="The folder to make; it must not hold anything yet.")],
        weights: Annotated[
            Literal["float32", "float16", "int8"],
            typer.Option(help="How weights are stored. Computing is float32 always. All but float32 need the gate."),
        ] = "float32",
        data: Annotated[
            list[Path] | None,
            typer.Option("--data", exists=True, help="Captioned pictures to search before and after; repeatable."),
        ] = None,
        images: Annotated[
            Path | None, typer.Option(exists=True, help="Pictures with their class, to classify before and after.")
        ] = None,
        labels: Annotated[
            str | None,
            typer.Option(help='The names of these classes: a set (imagenet, coco, …), a file, or "gatto,cane".'),
        ] = None,
        label_column: Annotated[str | None, typer.Option(help="The column of names, when the file is a table.")] = None,
        classes: Annotated[
            Path | None, typer.Option(exists=True, dir_okay=False, help="A table of the pictures' classes.")
        ] = None,
        template: Annotated[
            list[str] | None, typer.Option("--template", help="A sentence with {} for the class name; repeatable.")
        ] = None,
        pictures: Annotated[
            int | None, typer.Option(min=1, help="Score on so many of each set at most, evenly spaced.")
        ] = None,
        limit: Annotated[float, typer.Option(min=0, help="Points that a score may lose at most.")] = 1.0,
    ) -> None:
        """Write a model as ONNX networks, tokenizer and card; refuse it when it became worse by more than the limit.

        The gate searches --data and classifies --images with the model as it was and as it would be.

        Example: clip-italian export runs/mine --out exported/mine --weights int8 --data dev.jsonl --images dev.tar.gz
        --labels tiny-imagenet
        """
        if (images is None) != (labels is None):
            raise typer.BadParameter("--images and --labels go together: pictures and the names of their classes")
        if weights != "float32" and not (data and images):
            raise typer.BadParameter(
                f"{weights} may cost quality unseen: name captioned pictures with --data, and labelled ones with "
                "--images and --labels (`clip-italian scenes` draws both)",
                param_hint="--weights",
            )
        from ..models.onnx_export import export_model

        sets = [_captioned(path, pictures) for path in data or []]
        if images and labels:
            sets.append(_labelled(images, labels, label_column, classes, template, pictures))
        encoder = export_model(directory, out, weights=weights, check=_gate(out, sets, limit) if sets else None)
        console = Console(soft_wrap=True, highlight=False)
        console.print(
            f"{out}: {encoder.name}, {encoder.dim} dimensions, fingerprint {encoder.fingerprint[:12]}", markup=False
        )
        for path in sorted(out.iterdir()):
            console.print(f"  {path.name}  {path.stat().st_size / 1e6:.1f} MB", markup=False)


def _gate(out: Path, sets: "list[GateSet]", limit: float) -> Any:
    """Return the check that scores a model before and after, shows the table, and refuses what is past the limit."""
    from ..errors import ClipItalianError
    from ..evaluation import gate
    from .evaluate import _progress

    def check(before: "Encoder", after: "Encoder") -> tuple[dict[str, Any], str]:
        with _progress() as progress:
            found = gate.measure(before, after, sets, limit, progress=progress)
        Console().print(gate.table(found))
        if found.failed:
            worst = min(found.failed, key=lambda score: score.change)
            raise ClipItalianError(
                f"{out}: not written: {worst.name} on {worst.data} changes by {worst.change:+.2f} points, the "
                f"limit is {limit:g} (--limit); {len(found.failed)} of {len(found.scores)} scores are past it"
            )
        return gate.to_json(found), gate.markdown(found)

    return check


def _captioned(path: Path, most: int | None) -> "GateSet":
    from ..data.readers import read
    from ..evaluation.gate import GateSet

    return GateSet(_title(path), _spaced(read(path), most))


def _labelled(
    path: Path, labels: str, column: str | None, classes: Path | None, templates: list[str] | None, most: int | None
) -> "GateSet":
    from ..evaluation import labels as class_names
    from ..evaluation.gate import GateSet

    names = class_names.read_labels(labels, column=column)
    sentences = class_names.read_templates(templates or class_names.default_templates(labels))
    samples = class_names.read_classed(path, names, ids=class_names.label_ids(labels), table=classes)
    return GateSet(_title(path), _spaced(samples, most), names, sentences)


def _title(path: Path) -> str:
    place = path.resolve()
    return f"{place.parent.name}/{place.name}"


def _spaced(samples: "Sequence[Sample]", most: int | None) -> "Sequence[Sample]":
    """Take `most` samples at equal distances, all when there are no more."""
    if most is None or len(samples) <= most:
        return samples
    return [samples[place * len(samples) // most] for place in range(most)]

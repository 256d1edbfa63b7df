"""`clip-italian export`: a trained model as ONNX files that run without torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from ..encoder import Encoder
    from ..evaluation.gate import GateSet


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def export(
        directory: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The model directory.")],
        out: Annotated[Path, typer.Option("--out", help="The folder to make; it must not hold anything yet.")],
        int8: Annotated[
            bool, typer.Option("--int8", help="Weights of matrix products in 8 bits; needs --data.")
        ] = False,
        data: Annotated[
            list[Path] | None,
            typer.Option(
                "--data", exists=True, help="Captioned or labelled pictures to score before and after; repeatable."
            ),
        ] = None,
        labels: Annotated[
            str | None, typer.Option(help='Class names for --data with classes: a file, or "gatto,cane".')
        ] = None,
        label_column: Annotated[str | None, typer.Option(help="The column of names, when the file is a table.")] = None,
        template: Annotated[
            list[str] | None, typer.Option("--template", help="A sentence with {} for the class name; repeatable.")
        ] = None,
        limit: Annotated[float, typer.Option(min=0, help="Points that a score may lose at most.")] = 1.0,
    ) -> None:
        """Write a model as ONNX networks, tokenizer and card; refuse it when it became worse by more than the limit.

        Example: clip-italian export runs/mine --out exported/mine --int8 --data dev.jsonl
        """
        if int8 and not data:
            raise typer.BadParameter(
                "8 bits may cost quality unseen: name data to compare on with --data", param_hint="--int8"
            )
        from ..models.onnx_export import export_model

        sets = _sets(data or [], labels, label_column, template)
        console = Console(soft_wrap=True, highlight=False)

        def check(before: "Encoder", after: "Encoder") -> tuple[dict[str, Any], str]:
            from ..errors import ClipItalianError
            from ..evaluation import gate
            from .evaluate import _progress

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

        encoder = export_model(directory, out, int8=int8, check=check if sets else None)
        console.print(
            f"{out}: {encoder.name}, {encoder.dim} dimensions, fingerprint {encoder.fingerprint[:12]}", markup=False
        )
        for path in sorted(out.iterdir()):
            console.print(f"  {path.name}  {path.stat().st_size / 1e6:.1f} MB", markup=False)


def _sets(paths: list[Path], labels: str | None, column: str | None, templates: list[str] | None) -> "list[GateSet]":
    """Read the data sets before anything long starts; those whose pictures all have a class get the labels."""
    from ..data.readers import read
    from ..evaluation.gate import GateSet
    from ..evaluation.labels import read_labels, read_templates

    names = read_labels(labels, column=column) if labels else ()
    sentences = read_templates(templates or ["{}"])
    sets = []
    for path in paths:
        samples = read(path)
        classes = all(sample.label is not None for sample in samples)
        place = path.resolve()
        sets.append(GateSet(f"{place.parent.name}/{place.name}", samples, names if classes else (), sentences))
    return sets

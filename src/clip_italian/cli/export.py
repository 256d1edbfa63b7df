"""`clip-italian export`: a trained model as ONNX files that run without torch."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from . import gating


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def export(
        directory: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The model directory.")],
        out: Annotated[Path, typer.Option("--out", help="The folder to make; it must not hold anything yet.")],
        weights: Annotated[
            Literal["float32", "float16", "int8"],
            typer.Option(
                help="How weights are stored. Computing is float32 always. All but float32 need --data and --images."
            ),
        ] = "float32",
        data: gating.Data = None,
        images: gating.Images = None,
        labels: gating.Labels = None,
        label_column: gating.LabelColumn = None,
        classes: gating.Classes = None,
        template: gating.Templates = None,
        pictures: gating.Pictures = None,
        limit: gating.Limit = 1.0,
    ) -> None:
        """Write a model as ONNX, to run without torch.

        Networks, tokenizer and card; refused when it became worse by more than the limit. The gate searches --data and
        classifies --images with the model as it was and as it would be; without them, drawn scenes.

        Example: clip-italian export runs/mine --out exported/mine --weights int8 --data dev.jsonl --images dev.tar.gz
        --labels tiny-imagenet
        """
        given = gating.Given(data or [], images, labels, label_column, classes, template or [], pictures, limit)
        if weights != "float32" and not (data and images):
            raise typer.BadParameter(
                f"{weights} may cost quality unseen: name captioned pictures with --data, and labelled ones with "
                "--images and --labels (`clip-italian scenes` draws both)",
                param_hint="--weights",
            )
        from ..models.onnx_export import export_model

        encoder = export_model(directory, out, weights=weights, check=gating.check_of(out, given))
        console = Console(soft_wrap=True, highlight=False)
        console.print(
            f"{out}: {encoder.name}, {encoder.dim} dimensions, fingerprint {encoder.fingerprint[:12]}", markup=False
        )
        for path in sorted(out.iterdir()):
            console.print(f"  {path.name}  {path.stat().st_size / 1e6:.1f} MB", markup=False)

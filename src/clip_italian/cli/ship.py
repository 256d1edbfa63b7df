"""`clip-italian ship`: make the folder of a model that the package may carry."""

from pathlib import Path
from typing import Annotated

import typer

from . import gating


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def ship(
        directory: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The model directory.")],
        out: Annotated[Path, typer.Option("--out", help="The folder to make; it must not hold anything yet.")],
        name: Annotated[str | None, typer.Option(help="What the model is called, else the folder's name.")] = None,
        data: gating.Data = None,
        images: gating.Images = None,
        labels: gating.Labels = None,
        label_column: gating.LabelColumn = None,
        classes: gating.Classes = None,
        template: gating.Templates = None,
        pictures: gating.Pictures = None,
        limit: gating.Limit = 1.0,
    ) -> None:
        """Make the folder that the package carries.

        What is ours of a model: learned numbers, networks without weights, description; no package's weights. Put
        together as on a user's machine, it is scored beside the model in torch, and refused when it became worse by
        more than the limit: on --data and --images, or without them on drawn scenes.

        Example: clip-italian ship runs/base --out src/clip_italian/shipped/clip-italian-base --data dev.jsonl
        --images dev.tar.gz --labels tiny-imagenet
        """
        given = gating.Given(data or [], images, labels, label_column, classes, template or [], pictures, limit)
        from ..models.ship import ship as make

        encoder = make(directory, out, name=name, check=gating.check_of(out, given))
        typer.echo(f"{out}: {encoder.name}, {encoder.dim} dimensions, fingerprint {encoder.fingerprint[:12]}")
        for path in sorted(out.iterdir()):
            typer.echo(f"  {path.name}  {path.stat().st_size / 1e6:.2f} MB")

"""`clip-italian ship`: make the folder of a model that the package may carry."""

from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def ship(
        directory: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The model directory.")],
        out: Annotated[Path, typer.Option("--out", help="The folder to make; it must not hold anything yet.")],
        name: Annotated[str | None, typer.Option(help="What the model is called, else the folder's name.")] = None,
    ) -> None:
        """Write what is ours of a model: learned numbers, networks without weights, description. No package's weights.

        Example: clip-italian ship runs/base --out src/clip_italian/shipped/clip-italian-base
        """
        from ..models.ship import ship as make

        encoder = make(directory, out, name=name)
        typer.echo(f"{out}: {encoder.name}, {encoder.dim} dimensions, fingerprint {encoder.fingerprint[:12]}")
        for path in sorted(out.iterdir()):
            typer.echo(f"  {path.name}  {path.stat().st_size / 1e6:.2f} MB")

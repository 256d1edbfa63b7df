"""`clip-italian classify`: say which of some names fits a picture."""

from pathlib import Path
from typing import Annotated

import typer

from .evaluate import Device
from .search import json_text

PUBLISHED = "clip-italian/clip-italian"


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def classify(
        image: Annotated[Path, typer.Argument(help="The picture.")],
        labels: Annotated[str, typer.Option(help="Italian names, with commas between them.")],
        model: Annotated[str, typer.Option(help="Model directory or hub id.")] = PUBLISHED,
        template: Annotated[
            list[str] | None,
            typer.Option(help='A sentence with {} for the name, "una foto di {}"; repeatable.'),
        ] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        device: Device = "cpu",
    ) -> None:
        """Say which of some Italian names fits a picture best.

        Example: clip-italian classify IMG_3.jpg --labels "gatto,cane,cavallo" --model runs/mine
        """
        from ..encoder import load
        from ..italian import TEMPLATES
        from ..search.classify import classify as compare

        encoder = load(model, device=device)
        guesses = compare(encoder, image, [label.strip() for label in labels.split(",")], template or TEMPLATES)
        if as_json:
            found = [guess._asdict() for guess in guesses]
            typer.echo(json_text({"image": str(image), "model": encoder.fingerprint, "labels": found}))
            return
        width = max(len(guess.label) for guess in guesses)
        for guess in guesses:
            bar = "█" * round(30 * guess.probability)
            typer.echo(f"{guess.label:<{width}}  {guess.probability:6.1%}  {bar}")

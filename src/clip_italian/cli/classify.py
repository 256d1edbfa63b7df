"""`clip-italian classify`: say which of some names fits a picture."""

from pathlib import Path
from typing import Annotated

import typer

from ..data.class_names import LABEL_SETS
from .evaluate import Device
from .opening import Model, open_model
from .search import json_text

MANY = 200  # names above which sentences around each take longer than anybody likes to wait


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def classify(
        image: Annotated[Path, typer.Argument(help="The picture.")],
        labels: Annotated[
            str,
            typer.Option(
                help="Italian names with commas between them, a file of names, or a set of ours: "
                f"{', '.join(LABEL_SETS)}."
            ),
        ],
        model: Model = None,
        template: Annotated[
            list[str] | None,
            typer.Option(
                help='A sentence with {} for the name, "una foto di {}"; repeatable. Without it, a few of ours, or the '
                f"name alone where there are more than {MANY}."
            ),
        ] = None,
        k: Annotated[int, typer.Option("-k", min=1, help="How many names to print, the likeliest first.")] = 10,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        device: Device = "cpu",
    ) -> None:
        """Say which of some Italian names fits a picture.

        The shares are among these names: one of them is the largest even where none fits.

        Example: clip-italian classify IMG_3.jpg --labels "gatto,cane,cavallo"
        """
        from ..evaluation.labels import BARE, read_labels
        from ..italian import TEMPLATES
        from ..search.classify import classify as compare

        names = read_labels(labels, drop_empty=True)
        encoder = open_model(model, device)
        if len(names) > MANY:
            typer.echo(f"comparing with {len(names):,} names, some seconds …", err=True)
        guesses = compare(encoder, image, names, template or (TEMPLATES if len(names) <= MANY else BARE))
        if as_json:
            found = [guess._asdict() for guess in guesses[:k]]
            typer.echo(json_text({"image": str(image), "model": encoder.fingerprint, "labels": found}))
            return
        width = max(len(guess.label) for guess in guesses[:k])
        for guess in guesses[:k]:
            bar = "█" * round(30 * guess.probability)
            typer.echo(f"{guess.label:<{width}}  {guess.probability:6.1%}  {bar}")
        if len(guesses) > k:
            typer.echo(f"and {len(guesses) - k:,} names less likely (-k {len(guesses)} shows all)", err=True)
        typer.echo(f"shares among these {len(guesses):,} names; perhaps none of them fits", err=True)

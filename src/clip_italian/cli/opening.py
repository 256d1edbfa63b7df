"""Opening the model of a command, and saying which one it is, on stderr.

Public names: Model, open_model, say_first_use, say_model.
"""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..encoder import Encoder

Model = Annotated[
    str | None,
    typer.Option(
        "--model", help="A model directory, a hub id, or a name that `models` lists; else the package's own model."
    ),
]


def open_model(model: str | None, device: str = "cpu") -> "Encoder":
    """Open a model, the package's own when none is named; says which, and when it has to be put together first."""
    from ..encoder import default_name, load

    name = default_name() if model is None else model  # once: it may have something to say
    say_first_use(name)
    encoder = load(name, device=device)
    say_model(encoder)
    return encoder


def say_first_use(model: str) -> None:
    """Say that a model is put together now, and where: it takes seconds, and only the first time."""
    from ..models import cache, shipped

    if shipped.puts_together(model):
        typer.echo(f"{model}: put together in {cache.cache_folder()} on first use, some seconds …", err=True)


def say_model(encoder: "Encoder") -> None:
    """Say which model answers."""
    typer.echo(f"model: {encoder.name}", err=True)

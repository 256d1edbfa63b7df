"""`clip-italian models`: what comes with the package, and what each model still needs."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from .search import json_text

if TYPE_CHECKING:
    from ..models.shipped import Shipped


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
        """List the models that come with the package.

        Of each: its size and dimensions, where it lies, and what it still needs.

        Example: clip-italian models
        """
        from ..errors import ClipItalianError
        from ..models import shipped

        known = [shipped.listed(name) for name in shipped.NAMES]
        try:
            default, _ = shipped.choose()
        except ClipItalianError:  # said of each model below
            default = ""
        if as_json:
            rows = [asdict(model) | {"folder": str(model.folder), "default": model.name == default} for model in known]
            typer.echo(json_text(rows))
            return
        for model in known:
            typer.echo(model.name + ("  (taken where no --model is named)" if model.name == default else ""))
            for line in _lines(model):
                typer.echo(f"  {line}")


def _lines(model: "Shipped") -> list[str]:
    lines = []
    if model.carried:
        made = f", {model.made / 1e6:.0f} MB when put together" if model.made else ""
        dim = "" if model.dim is None else f"{model.dim} dimensions, "
        lines = [f"{dim}{model.size / 1e6:.1f} MB{made}", f"from {model.origin or model.folder}"]
    if model.missing:
        return [*lines, f"missing: {model.missing}"]
    return [*lines, "ready" if model.ready else "ready to be put together on first use, which takes seconds"]

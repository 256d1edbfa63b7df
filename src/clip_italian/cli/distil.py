"""`clip-italian distil`: from a model, photos and texts to a small model that answers alike."""

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from ..training.distil_setup import Data
    from .reporting import ConsoleReporter

STOPPED = 130


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(distil)


def distil(
    recipe: Annotated[Path, typer.Option(help="A TOML file, see recipes/small-it.toml.")],
    teacher: Annotated[Path, typer.Option(help="The model directory to learn from.")],
    train: Annotated[list[Path], typer.Option(help="Photos, with captions or without; may be given several times.")],
    valid: Annotated[list[Path], typer.Option(help="Captioned photos to validate on.")],
    out: Annotated[Path, typer.Option(help="The run's folder, and the model directory in the end.")],
    texts: Annotated[
        list[str] | None, typer.Option(help="Further texts: .txt, .tsv, each also .gz; table.tsv#2,3 for two columns.")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help='ImageNet\'s classes: "imagenet", or a table of id, ms/fs/mp/fp, name, other names.'),
    ] = None,
    wnids: Annotated[
        Path | None, typer.Option(help="WordNet id of each class that photos of --train are marked with, one a line.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, or cuda for a GPU.")] = "cpu",
    minutes: Annotated[float | None, typer.Option(help="Fit the whole run into so many minutes.")] = None,
    init: Annotated[
        list[Path] | None,
        typer.Option(help="Begin with another run's blocks.safetensors, reading.safetensors or model directory."),
    ] = None,
    only: Annotated[
        Literal["blocks", "reading"] | None, typer.Option(help="End behind this first part of the recipe.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in --out stopped.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a setting: loss.rows=1")] = None,
) -> None:
    """Distil a small model from a larger one.

    Example: clip-italian distil --recipe recipes/small-it.toml --teacher models/photos-it
    --train foto/train.jsonl --valid foto/dev.jsonl --out runs/small
    """
    begun = time.monotonic()
    if minutes is not None and not 0 < minutes < math.inf:
        raise typer.BadParameter("give a number above 0, such as 30", param_hint="--minutes")
    from ..training.distil_recipe import read_distil_recipe
    from ..training.distillation import distil as run
    from .reporting import ConsoleReporter

    settings = read_distil_recipe(recipe, set_ or [])
    reporter = ConsoleReporter()
    reporter.settings(settings.stored())
    data = _read(train, valid, texts or [], labels, wnids, reporter)
    with reporter:
        try:
            outcome = run(
                settings,
                teacher,
                data,
                out,
                device=device,
                minutes=minutes,
                begun=begun,
                resume=resume,
                init=init or [],
                only=only,
                reporter=reporter,
            )
        except KeyboardInterrupt:
            reporter.note(f"stopped; the same command with --resume goes on from what is saved in {out}")
            raise typer.Exit(STOPPED) from None
    took = time.monotonic() - begun
    if outcome.best is None:
        reporter.note(f"{only} done; {took:.0f} s in all; --init {out / f'{only}.safetensors'} begins with it")
        return
    reporter.note(f"best mean MRR@10 {outcome.best:.4f}; {outcome.rate:.0f} pictures/s; {took:.0f} s in all; in {out}")


def _read(
    train: list[Path],
    valid: list[Path],
    texts: list[str],
    labels: str | None,
    wnids: Path | None,
    reporter: "ConsoleReporter",
) -> "Data":
    from ..data.class_names import imagenet, read_class_names
    from ..data.readers import read, read_all
    from ..training.distil_setup import Data
    from ..training.distil_texts import read_lines
    from .train import _name

    skipped: list[str] = []
    samples = read_all(train, on_skip=skipped.append)
    sets = {_name(path): read(path, on_skip=skipped.append) for path in valid}
    for reason in skipped[:5]:
        reporter.note(f"skipped: {reason}")
    if skipped:
        reporter.note(f"{len(skipped)} records skipped")
    names = (imagenet() if labels == "imagenet" else read_class_names(Path(labels))) if labels else ()
    marks = wnids.read_text("utf-8").split() if wnids else ()
    return Data(samples, sets, [read_lines(source) for source in texts], names, marks)

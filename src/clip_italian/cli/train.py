"""`clip-italian train`: from captions and photos to a model directory."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import BadRecipe

if TYPE_CHECKING:
    from ..data.sample import Sample
    from ..training.classes import Labelled
    from ..training.recipe import Recipe
    from .reporting import ConsoleReporter

STOPPED = 130


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(train)


def train(
    recipe: Annotated[Path, typer.Option(help="A TOML file, see recipes/.")],
    train: Annotated[list[Path], typer.Option(help="Data to learn from; may be given several times.")],
    out: Annotated[Path | None, typer.Option(help="The run's folder, and the model directory in the end.")] = None,
    valid: Annotated[list[Path] | None, typer.Option(help="Data to validate on; without it 5 % of --train.")] = None,
    images: Annotated[
        Path | None, typer.Option(exists=True, help="Folder or tar of MSCOCO-IT's pictures, for --train and --valid.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run in --out stopped.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Change a setting: stages.0.epochs=3")] = None,
    device: Annotated[str, typer.Option(help="Where to compute: cpu, or cuda for an NVIDIA GPU.")] = "cpu",
    init: Annotated[
        Path | None, typer.Option(help="Begin from this model directory of the same architecture.", file_okay=False)
    ] = None,
    labelled: Annotated[
        list[Path] | None, typer.Option(help="Pictures of known classes (tars with .cls), for a recipe with classes.")
    ] = None,
    wnids: Annotated[
        Path | None,
        typer.Option(help="WordNet id of each class of --labelled, one a line, in the order of its numbers."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what the recipe would do, measured; no --out.")
    ] = False,
) -> None:
    """Train a dual encoder.

    Example: clip-italian train --recipe recipes/photos-it.toml --train foto/train.jsonl --out runs/mine
    """
    from ..training.memory import keep_memory
    from ..training.recipe import read_recipe
    from .reporting import ConsoleReporter

    keep_memory()
    if out is None and not dry_run:
        raise typer.BadParameter("is missing: say where the run and its model go", param_hint="--out")
    settings = read_recipe(recipe, set_ or [])
    reporter = ConsoleReporter()
    samples, sets = _read(settings, train, valid or [], images, reporter)
    if wnids and not labelled:
        raise typer.BadParameter("has no pictures to go with: name them with --labelled", param_hint="--wnids")
    known = _read_labelled(labelled, wnids, reporter) if labelled else None
    reporter.settings(settings.stored())
    with reporter:
        if out is None or dry_run:
            from ..training.plan import plan
            from ..training.setup import check_device

            check_device(device)
            if device != "cpu":
                reporter.note("steps are measured on the CPU; the GPU is not tried")
            reporter.plan(plan(settings, samples, labelled=known, note=reporter.note, report=reporter.work))
            return
        from ..training.trainer import train as run

        try:
            outcome = run(
                settings, samples, sets, out, resume=resume, device=device, labelled=known, init=init, reporter=reporter
            )
        except KeyboardInterrupt:
            reporter.note(f"stopped; the same command with --resume goes on from what is saved in {out}")
            raise typer.Exit(STOPPED) from None
    from ..training.curve import draw_curve

    reporter.note(f"best {settings.select} {outcome.best:.4f}; the model is in {out}, its curve in {draw_curve(out)}")


def _read_labelled(paths: list[Path], wnids: Path | None, reporter: "ConsoleReporter") -> "Labelled":
    from ..data.readers import read_all
    from ..training.classes import Labelled

    if wnids is None:
        raise typer.BadParameter("is missing: it says which class each number of --labelled is", param_hint="--wnids")
    try:
        ids = wnids.read_text("utf-8").split()
    except UnicodeDecodeError as error:
        raise BadRecipe(
            f"{wnids}: not a text of WordNet ids (place {error.start + 1}); one a line, such as n02124075"
        ) from error
    skipped: list[str] = []
    samples = read_all(paths, on_skip=skipped.append)
    _tell_skipped(skipped, reporter)
    return Labelled.of(samples, ids)


def _read(
    settings: "Recipe", train: list[Path], valid: list[Path], images: Path | None, reporter: "ConsoleReporter"
) -> tuple[list["Sample"], dict[str, list["Sample"]]]:
    from ..data.readers import read, read_all
    from ..data.split import split

    names = Counter(map(_name, valid))
    if twice := [name for name, count in names.items() if count > 1]:
        raise BadRecipe(f"two --valid sets would both be called {twice[0]!r}; rename a file or its folder")
    skipped: list[str] = []
    samples = read_all(train, images=images, on_skip=skipped.append)
    sets = {_name(path): read(path, images=images, on_skip=skipped.append) for path in valid}
    _tell_skipped(skipped, reporter)
    if not valid:
        samples, kept = split(samples, valid=settings.valid_share, seed=settings.seed, by_content=True)
        sets = {"valid": kept}
    return samples, sets


def _tell_skipped(skipped: list[str], reporter: "ConsoleReporter") -> None:
    for reason in skipped[:5]:
        reporter.note(f"skipped: {reason}")
    if skipped:
        reporter.note(f"{len(skipped)} records skipped")


def _name(path: Path) -> str:
    path = path.resolve()
    return path.parent.name if path.stem in ("dev", "valid", "train") else path.stem

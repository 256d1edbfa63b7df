"""`clip-italian demo`: the whole line in one go, on drawn scenes or on one's own photos."""

import os
import shlex
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from .index import report
from .opening import Model, open_model

if TYPE_CHECKING:
    from ..demo.drawn import Measured
    from .reporting import ConsoleReporter

SCENES, LEAST, SHOWN = 9_000, 64, 48  # to learn from, to learn from at least, to search
SIDE = 384  # pixels of a drawn scene that is searched
NEXT = """
Your own photos:       make demo PHOTOS=folder
                       {program} index FOLDER --album foto.db
                       {program} search "un cane sulla spiaggia" --album foto.db
The larger model:      make demo EXTRAS=base
Train on scenes:       make demo-train
Which models:          {program} models
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("demo")(demo)


def demo(
    out: Annotated[Path, typer.Option(help="the folder for all that is made", file_okay=False)] = Path("demo"),
    photos: Annotated[
        Path | None, typer.Option(help="search these photos of yours instead", file_okay=False, exists=True)
    ] = None,
    model: Model = None,
    train: Annotated[
        bool, typer.Option("--train", help="learn from drawn scenes first and search with what was learned")
    ] = False,
    scenes: Annotated[
        int | None,
        typer.Option(
            help=f"scenes to draw: {SHOWN} to search, or with --train to learn from: {SCENES} take five minutes on two "
            "cores, 60000 half an hour",
            min=12,
        ),
    ] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="with --train: change a recipe's setting")] = None,
) -> None:
    """Index drawn scenes, or your photos, and search.

    In seconds, with the package's own model. With --train: draw scenes, learn from their captions, measure, search;
    needs the extra train.

    Example: clip-italian demo --photos ~/Foto
    """
    from .reporting import ConsoleReporter

    if train and (photos is not None or model is not None):
        raise typer.BadParameter("trains a model on drawn scenes: leave --photos and --model out", param_hint="--train")
    if train and scenes is not None and scenes < LEAST:
        raise typer.BadParameter(f"{scenes} are too few to learn from; draw {LEAST} or more", param_hint="--scenes")
    if set_ and not train:
        raise typer.BadParameter("changes the recipe of --train; give that, too", param_hint="--set")
    if photos is not None and scenes is not None:
        raise typer.BadParameter("draws scenes: leave it out with --photos", param_hint="--scenes")
    reporter = ConsoleReporter()
    if train:
        _train(out, scenes or SCENES, set_ or [], reporter)
    else:
        _search(photos, model, out, scenes or SHOWN, reporter)
    reporter.note(NEXT.format(program=_program()))


def _program() -> str:
    """Return what to type for this program: its name where a shell finds it, else its path."""
    called = Path(sys.argv[0])
    found = shutil.which(called.name)
    if found is not None and Path(found).resolve() == called.resolve():
        return called.name
    return shlex.quote(os.path.relpath(called) if called.is_relative_to(Path.cwd()) else str(called))


def _train(out: Path, scenes: int, overrides: list[str], reporter: "ConsoleReporter") -> None:
    from ..demo import drawn
    from ..encoder import load
    from ..training.recipe import read_recipe
    from ..training.trainer import STATE, train

    recipe = read_recipe(drawn.RECIPE, overrides)
    run = out / "model"
    resume = (run / STATE).exists()
    drawn.keep_to(out, recipe, scenes, resume=resume)
    with reporter:
        begun = time.monotonic()
        corpus = drawn.prepare(
            out / "scenes", recipe.pictures.size, scenes=scenes, jobs=os.cpu_count() or 1, report=reporter.work
        )
        reporter.note(f"{scenes} scenes drawn in {time.monotonic() - begun:.0f} s: {corpus.train}")
        begun = time.monotonic()
        samples, valid = drawn.training_samples(corpus)
        train(recipe, samples, {"valid": valid}, run, resume=resume, reporter=reporter)
        reporter.note(f"trained in {time.monotonic() - begun:.0f} s: {run}")
    encoder = load(run)
    _show(drawn.measure(encoder, recipe.pictures.size), reporter)
    sheet = drawn.find(encoder, run, out, recipe.pictures.size)
    reporter.note(f"what Italian queries find in an album of {drawn.ALBUM} scenes: {sheet}")


def _show(measured: "Measured", reporter: "ConsoleReporter") -> None:
    from ..evaluation.report import table

    reporter.note("\nOn scenes whose combinations were never seen in training:")
    for result in (measured.retrieval, measured.zero_shot):
        reporter.console.print(table(result))
    asked = Table("which sentence is true?", "right", "95 % interval")
    for name, score in measured.choices.items():
        asked.add_row(name, f"{score.value:.3f}", f"{score.low:.3f}-{score.high:.3f}")
    reporter.console.print(asked)


def _search(photos: Path | None, model: str | None, out: Path, scenes: int, reporter: "ConsoleReporter") -> None:
    from ..demo import photos as pictures
    from ..demo.pictures import draw
    from ..images import printable

    encoder = open_model(model)
    queries = pictures.QUERIES
    if photos is None:
        photos = out / f"scenes-{scenes}"
        queries = tuple(draw(photos, scenes, size=SIDE))
        reporter.note(f"{scenes} scenes drawn: {photos}")
    with reporter:
        found = pictures.find(
            encoder, model or encoder.name, photos, out, queries=queries,
            progress=lambda p: reporter.work("indexing", p.done, max(p.total, 1)),
        )  # fmt: skip
    for line in report(found.summary, found.album):
        reporter.note(line)
    reporter.note(f"indexed in {found.indexing:.1f} s; {len(queries)} queries, {1000 * found.query:.0f} ms each")
    first, known = found.first
    if known:
        reporter.note(f"{first} of {known} queries find a right picture first")
    reporter.note(f"what they find: {printable(found.sheet)}")
    reporter.note(f'ask yourself: {_program()} search "due gatti" --album {shlex.quote(printable(found.album))}')

"""`clip-italian demo`: the whole line in one go, on drawn scenes or on one's own photos."""

import os
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

if TYPE_CHECKING:
    from ..demo.drawn import Measured
    from .reporting import ConsoleReporter

MODEL = "models/photos-it"
SCENES = 9_000
NEXT = """
Your own photos:       make demo PHOTOS=folder
                       clip-italian index FOLDER --album photos.db --model models/photos-it
                       clip-italian search "un cane sulla spiaggia" --album photos.db
Your own captions:     clip-italian train --recipe recipes/photos-it-laptop.toml --train mine.jsonl --out runs/mine
                       (a line: {"image_path": "foto/1.jpg", "captions": ["Un cane corre sulla spiaggia"]})
The published model:   clip-italian index FOLDER --album photos.db --model clip-italian/clip-italian   (needs a network)
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("demo")(demo)


def demo(
    out: Annotated[Path, typer.Option(help="the folder for all that is made", file_okay=False)] = Path("demo"),
    photos: Annotated[
        Path | None, typer.Option(help="search these photos of yours instead", file_okay=False, exists=True)
    ] = None,
    model: Annotated[str, typer.Option(help="the model for your own photos: a directory or hub id")] = MODEL,
    scenes: Annotated[
        int, typer.Option(help="scenes to learn from: 9000 take five minutes on two cores, 60000 half an hour", min=64)
    ] = SCENES,
    set_: Annotated[list[str] | None, typer.Option("--set", help="change a setting of the recipe")] = None,
) -> None:
    """Show what CLIP-Italian does: draw scenes, learn from their captions, measure, search; or search your own photos.

    Example: clip-italian demo --photos ~/Foto
    """
    from .reporting import ConsoleReporter

    reporter = ConsoleReporter()
    if photos is not None:
        _own_photos(photos, model, out, reporter)
    else:
        _scenes(out, scenes, set_ or [], reporter)
    reporter.note(NEXT)


def _scenes(out: Path, scenes: int, overrides: list[str], reporter: "ConsoleReporter") -> None:
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


def _own_photos(photos: Path, model: str, out: Path, reporter: "ConsoleReporter") -> None:
    from ..demo import photos as own
    from ..encoder import load
    from ..images import printable

    encoder = load(model)
    reporter.note(f"model: {encoder.name}")
    with reporter:
        summary, album, sheet = own.find(
            encoder, model, photos, out, progress=lambda p: reporter.work("indexing", p.done, max(p.total, 1))
        )
    reporter.note(
        f"{summary.added} photos added, {summary.unchanged} unchanged, {len(summary.skipped)} skipped; "
        f"what {len(own.QUERIES)} everyday queries find: {printable(sheet)}"
    )
    reporter.note(f'ask yourself: clip-italian search "due gatti" --album {shlex.quote(printable(album))}')

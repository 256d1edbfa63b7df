"""`clip-italian index`: bring an album up to date with a folder of photos."""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import rich.progress
import typer
from rich.console import Console

from .evaluate import Device
from .opening import open_model, say_first_use, say_model

if TYPE_CHECKING:
    from ..encoder import Encoder
    from ..search.indexing import IndexSummary, Progress

_SHOWN = 20  # skipped files that are listed


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def index(
        folder: Annotated[Path, typer.Argument(help="Folder of photos; its subfolders are read too.")],
        album: Annotated[Path, typer.Option(help="The album file; made if it is not there.")],
        model: Annotated[
            str | None,
            typer.Option(help="Model directory or hub id, else the package's own model; an album remembers it."),
        ] = None,
        retry: Annotated[bool, typer.Option("--retry", help="Try again files that were skipped before.")] = False,
        forget: Annotated[
            bool, typer.Option("--forget", help="Forget photos that are not found even where they are over half.")
        ] = False,
        batch: Annotated[int, typer.Option(min=1, help="Photos encoded and saved at a time.")] = 32,
        workers: Annotated[int | None, typer.Option(min=1, help="Threads that open photos.")] = None,
        device: Device = "cpu",
    ) -> None:
        """Make a folder of photos searchable.

        Run it again after the folder has changed: only what is new or changed is read.

        Example: clip-italian index ~/Foto --album foto.db
        """
        from ..images import PICTURE_SUFFIXES, printable
        from ..search.indexing import IndexSummary, Stopped
        from ..search.indexing import index as bring_up_to_date

        warnings.filterwarnings("ignore", module="PIL")  # what is wrong with a file is told with the skipped ones
        encoder, remembered = _encoder(album, model, device)
        stopped = False
        try:
            with _bar() as bar:
                show = _shower(bar)
                summary = bring_up_to_date(
                    folder, album, encoder, model=remembered, batch=batch, workers=workers, retry=retry, forget=forget,
                    progress=show,
                )  # fmt: skip
        except Stopped as stop:
            summary, stopped = stop.summary, True
        for line in report(summary, album):
            typer.echo(line)
        if summary == IndexSummary():
            kinds = ", ".join(sorted(suffix.removeprefix(".") for suffix in PICTURE_SUFFIXES))
            typer.echo(f"{printable(folder)}: no pictures there, nor in its folders (looked for {kinds})", err=True)
        if stopped:
            typer.echo("stopped; run the same command again to go on from here", err=True)
            raise typer.Exit(130)


def _encoder(album: Path, model: str | None, device: str) -> "tuple[Encoder, str]":
    """Return the album's model, or for a new album the one that was named or the default, and the name to remember."""
    from ..models.shipped import NAMES
    from ..search.album import Album, is_blank

    if not is_blank(album):
        with Album.open(album) as known:
            say_first_use(model or known.model)
            encoder = known.load_encoder(model, device=device)
            say_model(encoder)
            return encoder, known.model
    encoder = open_model(model, device)
    if model is None or model in NAMES:
        return encoder, encoder.name
    return encoder, str(Path(model).resolve()) if Path(model).exists() else model


def _shower(bar: rich.progress.Progress) -> Callable[["Progress"], None]:
    task = bar.add_task("photos", total=None, rate="")

    def show(progress: "Progress") -> None:
        speed = bar.tasks[0].speed
        rate = f"{speed:.1f}/s" if speed else ""
        bar.update(task, completed=progress.done, total=progress.total, rate=rate)

    return show


def _bar() -> rich.progress.Progress:
    text, bar, count = rich.progress.TextColumn, rich.progress.BarColumn, rich.progress.MofNCompleteColumn
    columns = (text("{task.description}"), bar(), count(), text("{task.fields[rate]}"))
    left = rich.progress.TimeRemainingColumn()
    return rich.progress.Progress(*columns, left, console=Console(stderr=True), transient=True)


def report(summary: "IndexSummary", album: Path) -> Iterator[str]:
    """Yield what is said of a run, line by line: counts, skipped files with their faults, photos that are missing."""
    from ..images import printable

    in_album = summary.added + summary.changed + summary.renamed + summary.unchanged
    kinds = ("added", "changed", "renamed", "unchanged", "removed")
    counts = ", ".join(f"{getattr(summary, kind):,} {kind}" for kind in kinds if getattr(summary, kind))
    yield f"{printable(album)}: {_photos(in_album)}" + (f" ({counts})" if counts else "")
    if summary.missing:
        yield (
            f"{_photos(summary.missing)} not found, once over half of the album, and kept: connect the drive they are "
            "on, or let `index --forget` forget them"
        )
    if summary.skipped:
        yield f"{len(summary.skipped):,} skipped:"
        yield from (f"  {printable(skip.path)}: {skip.reason}" for skip in summary.skipped[:_SHOWN])
        if len(summary.skipped) > _SHOWN:
            yield f"  … and {len(summary.skipped) - _SHOWN:,} more"
    if summary.skipped_before:
        yield f"{summary.skipped_before:,} skipped before and not changed since (`index --retry` tries them again)"


def _photos(count: int) -> str:
    return "1 photo" if count == 1 else f"{count:,} photos"

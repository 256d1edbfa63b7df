"""`clip-italian scenes`: draw pictures whose Italian captions say exactly what they show."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from ..data.scenes import Written

SHOWN = 36  # scenes on a contact sheet

Split = Literal["train", "valid", "test"]
Kind = Literal["single", "group", "relation"]


def register(app: typer.Typer) -> None:
    """Add `scenes`."""
    app.command("scenes")(scenes)


def scenes(
    n: Annotated[int, typer.Option("-n", min=1, help="How many scenes.")],
    out: Annotated[Path | None, typer.Option("--out", file_okay=False, help="The folder to write to.")] = None,
    size: Annotated[int, typer.Option(min=16, max=4096, help="Pixels a side.")] = 112,
    split: Annotated[
        Split, typer.Option(help="test: only combinations of shape, colour, count and place that train never shows.")
    ] = "train",
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    kind: Annotated[
        Kind | None, typer.Option(help="Only one object, one group of equal ones, or two groups in a relation.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that draw.")] = 1,
    sheet: Annotated[
        Path | None, typer.Option(dir_okay=False, help=f"Also put the first {SHOWN} on a contact sheet (.png).")
    ] = None,
) -> None:
    """Draw scenes with exact Italian captions.

    Their JSON lines also say where every object is.

    Example: clip-italian scenes --out scenes -n 10000 --sheet scenes.png
    """
    from ..data import scenes as drawn

    if out is None and sheet is None:
        raise typer.BadParameter("give --out, --sheet, or both")
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    if out is not None:
        written = _write(out, n, size, split, seed, kind, jobs, console)
        shards = f"{len(written.shards)} tar" + ("s" if len(written.shards) > 1 else "")
        console.print(f"{n} scenes of {size} × {size}: {written.lines} and {shards}", markup=False)
        if written.classes is not None:
            console.print(f"class names: {written.classes}", markup=False)
    if sheet is not None:
        from ..files import atomic_write

        page = drawn.sheet(list(drawn.scenes(min(n, SHOWN), split=split, seed=seed, kind=kind)))
        with atomic_write(sheet) as stream:
            page.save(stream, "PNG")
        console.print(f"contact sheet: {sheet}", markup=False)


def _write(
    out: Path, n: int, size: int, split: Split, seed: int, kind: Kind | None, jobs: int, console: Console
) -> "Written":
    from ..data.scenes import write

    columns = (TextColumn("scenes"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"))
    start = time.perf_counter()
    with Progress(*columns, TimeRemainingColumn(), console=console) as bars:
        task = bars.add_task("scenes", total=n, rate="")

        def show(done: int, total: int) -> None:
            bars.update(task, completed=done, rate=f"{done / (time.perf_counter() - start):.0f}/s")

        return write(out, n, split=split, seed=seed, size=size, kind=kind, jobs=jobs, progress=show)

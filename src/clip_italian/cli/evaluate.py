"""`clip-italian evaluate`: measure a model on captioned pictures, on classes, or on typed queries."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from .opening import Model, open_model

if TYPE_CHECKING:
    from ..evaluation import encoding, report

SHOWN_SKIPS = 5

Json = Annotated[Path | None, typer.Option("--json", dir_okay=False, help="Also write the scores to this file.")]
Device = Annotated[str, typer.Option(help="Where the model runs: cpu, cuda, …")]


def register(app: typer.Typer) -> None:
    """Add `evaluate retrieval`, `evaluate zero-shot` and `evaluate queries`."""
    evaluate = typer.Typer(no_args_is_help=True, help="Measure a model, with 95 % bootstrap intervals.")
    evaluate.command("retrieval")(retrieval)
    evaluate.command("zero-shot")(zero_shot)
    evaluate.command("queries")(queries)
    app.add_typer(evaluate, name="evaluate")


def retrieval(
    data: Annotated[Path, typer.Option("--data", exists=True, help="JSON lines, MSCOCO-IT JSON, tar or folder.")],
    images: Annotated[Path | None, typer.Option(exists=True, help="Folder or tar of MSCOCO-IT's pictures.")] = None,
    language: Annotated[str, typer.Option(help="Which captions are the queries.")] = "it",
    model: Model = None,
    json: Json = None,
    device: Device = "cpu",
) -> None:
    """Find each caption's picture, and each picture's captions: MRR@k, recall@k, median rank.

    Example: clip-italian evaluate retrieval --model runs/mine --data dev.jsonl --json dev-scores.json
    """
    from ..data.readers import read
    from ..evaluation.retrieval import evaluate_retrieval

    samples = read(data, images=images)
    encoder = open_model(model, device)
    with _progress() as progress:
        result = evaluate_retrieval(encoder, samples, language=language, progress=progress)
    _show(result, json)


def zero_shot(
    images: Annotated[
        Path, typer.Option("--images", exists=True, help="Pictures with their class, such as .jpg + .cls.")
    ],
    labels: Annotated[
        str,
        typer.Option("--labels", help='A set of names (imagenet, coco, …), a file with one a line, or "gatto,cane".'),
    ],
    label_column: Annotated[str | None, typer.Option(help="The column of names, when the file is a table.")] = None,
    template: Annotated[
        list[str] | None,
        typer.Option(
            "--template",
            help="A sentence with {} for the name, or a file of them; repeatable. Without it a set of names goes into "
            "the sentences that classify uses, other names stand alone.",
        ),
    ] = None,
    classes: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="A table of the pictures' classes, with columns file and wnid, class or label; FOLDER.tsv beside the "
            "folder is found.",
        ),
    ] = None,
    model: Model = None,
    json: Json = None,
    device: Device = "cpu",
) -> None:
    """Name what each picture shows from the class names alone: accuracy@k.

    A picture's class: its .cls file in a tar, a table, or the name of its folder.

    Examples: clip-italian evaluate zero-shot --model runs/mine --images dev.tar.gz --labels tiny-imagenet;
    clip-italian evaluate zero-shot --model runs/mine --images album --labels imagenet
    """
    from ..evaluation import labels as class_names
    from ..evaluation.zero_shot import evaluate_zero_shot

    names = class_names.read_labels(labels, column=label_column)
    templates = class_names.read_templates(template or class_names.default_templates(labels))
    ids = class_names.label_ids(labels)
    samples = class_names.read_classed(images, names, ids=ids, table=classes)
    encoder = open_model(model, device)
    with _progress() as progress:
        result = evaluate_zero_shot(encoder, samples, names, templates, progress=progress)
    _show(result, json)


def queries(
    photos: Annotated[Path, typer.Option("--photos", exists=True, file_okay=False, help="The folder searched.")],
    queries: Annotated[
        Path, typer.Option("--queries", exists=True, dir_okay=False, help="Lines of query<TAB>file|file…<TAB>kind.")
    ],
    model: Model = None,
    json: Json = None,
    device: Device = "cpu",
) -> None:
    """Search a folder with typed queries, each with all its right answers: scores by kind of query.

    Example: clip-italian evaluate queries --model runs/mine --photos album --queries album-queries.tsv
    """
    from ..evaluation.retrieval import evaluate_queries

    encoder = open_model(model, device)
    with _progress() as progress:
        result = evaluate_queries(encoder, photos, queries, progress=progress)
    _show(result, json)


def _show(result: "report.Result", json: Path | None) -> None:
    from ..evaluation.report import table, to_json
    from ..files import write_json

    Console().print(table(result))
    if json:
        write_json(json, to_json(result))
    if result.skipped:
        console = Console(stderr=True, soft_wrap=True, highlight=False)
        console.print(f"{len(result.skipped)} left out:")
        for skip in result.skipped[:SHOWN_SKIPS]:
            console.print(f"  {skip.key}: {skip.reason}", markup=False)
        if len(result.skipped) > SHOWN_SKIPS:
            console.print(f"  and {len(result.skipped) - SHOWN_SKIPS} more (all in --json FILE)")


class _Rate(ProgressColumn):
    """How many a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.0f}/s" if task.speed else "")


@contextmanager
def _progress() -> "Iterator[encoding.Progress]":
    """Show a bar per thing encoded, with its rate and the time left, on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks = {what: bars.add_task(what, total=None, visible=False) for what in ("pictures", "texts")}
        yield lambda what, done, total: bars.update(tasks[what], completed=done, total=total, visible=True)

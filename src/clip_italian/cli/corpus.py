"""`clip-italian corpus`: build Italian training data from public sources, look at it, and take things out of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from .search import json_text

if TYPE_CHECKING:
    from ..corpus.corpus import Corpus, Report
    from ..corpus.plan import CorpusPlan
    from ..corpus.statistics import Statistics

Plan = Annotated[Path, typer.Argument(help="The plan, a TOML file (docs/corpus.md).")]
Out = Annotated[
    Path | None,
    typer.Option("--out", file_okay=False, help="The corpus's folder; else one of its name beside the plan."),
]


def register(app: typer.Typer) -> None:
    """Add `corpus` with its commands."""
    corpus = typer.Typer(no_args_is_help=True, help="Build Italian image-caption pairs from public sources.")
    for command in (build, stats, translate, retry, sheet, agreement, forget):
        corpus.command(command.__name__)(command)
    app.add_typer(corpus, name="corpus")


def build(
    plan: Plan,
    out: Out = None,
    until: Annotated[
        str, typer.Option(help="Stop before this stage: filtering, fetching, duplicates, translation, scoring, shards.")
    ] = "",
) -> None:
    """Build the corpus, or go on with it.

    Run it again after ^C, a crash or a change of the plan: what is done is not done again.

    Example: clip-italian corpus build corpus.toml
    """
    from ..corpus.build import STAGES
    from ..corpus.build import build as make
    from ..corpus.statistics import statistics

    if until and until not in STAGES[1:]:
        raise typer.BadParameter(f"{until}: no stage; there are {', '.join(STAGES[1:])}", param_hint="--until")
    read, root, folder = _place(plan, out)
    with _report() as report:
        built = make(read, root, folder, text=plan.read_text("utf-8"), until=until, report=report)
    console = Console(soft_wrap=True, highlight=False)
    with _opened(read, root, folder) as corpus:
        _show(statistics(corpus), console)
    took = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in built.seconds.items() if seconds >= 0.05)
    console.print(f"took: {took}", markup=False)
    if built.shards is None:
        console.print(f"{folder}: stopped before {until}; the same command without --until goes on", markup=False)
        return
    anew = f", {len(built.shards.written)} of them written now" if built.shards.written else ", all as they were"
    console.print(
        f"{folder}: {built.shards.shards} shards{anew}; fingerprint {built.shards.fingerprint[:16]}; see card.html",
        markup=False,
    )


def stats(
    plan: Plan, out: Out = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Say how many samples came how far, and what was refused.

    Example: clip-italian corpus stats corpus.toml
    """
    from ..corpus.statistics import statistics

    with _opened(*_place(plan, out)) as corpus:
        told = statistics(corpus)
    if as_json:
        typer.echo(json_text(told.to_json()))
    else:
        _show(told, Console(soft_wrap=True, highlight=False))


def translate(
    plan: Plan,
    out: Out = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count characters and cost; sends nothing.")] = False,
) -> None:
    """Translate what waits for it, up to where an engine's quota ends.

    Example: clip-italian corpus translate corpus.toml --dry-run
    """
    from ..corpus.stages import translating
    from ..corpus.translation.translator import open_translator
    from ..errors import BadPlan

    read, root, folder = _place(plan, out)
    if read.translation is None:
        raise BadPlan(f"{plan}: has no table [translation]; nothing is translated")
    with (
        _opened(read, root, folder) as corpus,
        open_translator(read.translation, corpus.translations, root) as translator,
    ):
        if dry_run:
            estimate = translator.estimate(translating.waiting(corpus))
            typer.echo(
                f"{estimate.texts:,} texts, {estimate.cached:,} of them translated already; {estimate.characters:,} "
                f"characters to send, {estimate.cost:,.2f} {estimate.currency} with {translator.engine}"
            )
            return
        with _report() as report:
            translating.run(corpus, report, translator)
    typer.echo("translated; `corpus build` goes on from here")


def retry(
    plan: Plan,
    statuses: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STATUS]...", help="How they ended, such as timeout; else all that may pass."),
    ] = None,
    out: Out = None,
) -> None:
    """Fetch again what could not be fetched, and nothing else; then build on.

    Example: clip-italian corpus retry corpus.toml failed
    """
    from ..corpus.build import retry as forget_failures

    with _opened(*_place(plan, out)) as corpus:
        count = forget_failures(corpus, tuple(statuses or ("failed",)))
    typer.echo(f"asked for again: {_many(count, 'address')}")
    build(plan, out)


def sheet(
    plan: Plan,
    to: Annotated[Path, typer.Option("--sheet", help="Where: PATH.csv and PATH.html for raters, PATH.json for us.")],
    out: Out = None,
) -> None:
    """Draw translations for people to rate: a table and a page.

    Example: clip-italian corpus sheet corpus.toml --sheet ratings/it-1
    """
    from ..corpus.quality.sample import draw
    from ..corpus.quality.sheet import write_sheet
    from ..corpus.statistics import translated_pairs

    read, root, folder = _place(plan, out)
    with _opened(read, root, folder) as corpus:
        sample = draw(translated_pairs(corpus), read.quality)
    written = write_sheet(sample, to)
    typer.echo(
        f"{len(sample.translations)} translations: {written.table}, and {written.page} to rate them in a browser"
    )


def agreement(
    plan: Plan,
    sheets: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False, help="A filled CSV per rater.")],
    sample: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The .json written with the sheet.")],
    out: Out = None,
) -> None:
    """Read filled sheets: mean, distribution, and how far the raters agree (Gwet's coefficient); the card shows it.

    Example: clip-italian corpus agreement corpus.toml anna.csv bruno.csv --sample ratings/it-1.json
    """
    from ..corpus.quality.ratings import read_sheets, summarize
    from ..corpus.quality.sample import open_sample
    from ..files import write_json

    read, _, folder = _place(plan, out)
    quality = summarize(read_sheets(open_sample(sample), sheets), read.quality)
    table = Table("", "rated", "mean", "1", "2", "3", "4", "agreement")
    for name, summary in {"all": quality.overall, **quality.strata, **quality.raters}.items():
        mean = "-" if summary.mean is None else f"{summary.mean:.2f}"
        if summary.low is not None:
            mean += f" ({summary.low:.2f}-{summary.high:.2f})"
        found = summary.agreement
        agreed = "-" if found is None else f"{found.value:.3f} ({found.low:.3f}-{found.high:.3f})"
        table.add_row(
            name, str(summary.rated), mean, *(str(summary.distribution.get(i, 0)) for i in (1, 2, 3, 4)), agreed
        )
    Console().print(table)
    if folder.is_dir():
        write_json(folder / "quality.json", quality.to_json())
        typer.echo(f"{folder / 'quality.json'}: the card shows it after the next build")


def forget(
    plan: Plan,
    what: Annotated[str, typer.Argument(help="An address, a picture's or sample's hash, or a domain.")],
    models: Annotated[
        list[Path] | None, typer.Option(exists=True, file_okay=False, help="Folders to look for models in; repeatable.")
    ] = None,
    out: Out = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how much would go.")] = False,
) -> None:
    """Take a picture, or all of a domain, out of everything, for good.

    Out of ledger, pictures, translations, shards, index and card, with all copies; later builds do not take it again.
    Models that learned from the corpus are listed: what they learned stays in them.

    Example: clip-italian corpus forget corpus.toml https://example.org/foto.jpg --models runs
    """
    from ..corpus.build import finish
    from ..corpus.leaving import forget as take_out
    from ..corpus.leaving import meant, trained_on
    from ..encoder import load

    read, root, folder = _place(plan, out)
    encoder = load(read.model) if read.model and not dry_run else None
    with _opened(read, root, folder) as corpus, _report() as report:
        wanted = meant(corpus, what)
        if dry_run:
            typer.echo(f"{_many(len(wanted.entries), 'sample')} would go; nothing was written")
            return
        left = take_out(corpus, wanted)
        shards = finish(corpus, report, encoder)
    if not left.samples:
        typer.echo("the corpus had no sample of it; a tombstone keeps it out from now on", err=True)
    typer.echo(
        f"gone: {_many(left.samples, 'sample')}, {_many(left.pictures, 'picture')}, "
        f"{_many(left.translations, 'translation')}; "
        f"{len(shards.written)} of {shards.shards} shards were written anew"
    )
    places = [path for path in models or (Path("runs"), Path("models")) if path.is_dir()]
    for model in trained_on(read.name, places):
        typer.echo(f"a model that learned from {read.name}: {model}")


def _place(plan: Path, out: Path | None) -> "tuple[CorpusPlan, Path, Path]":
    """Return the plan, where its paths begin, and the corpus's folder."""
    from ..corpus.plan import read_plan

    read = read_plan(plan)
    root = plan.resolve().parent
    return read, root, out.resolve() if out is not None else root / read.name


@contextmanager
def _opened(plan: "CorpusPlan", root: Path, folder: Path) -> "Iterator[Corpus]":
    """Open a corpus that is there. Raises BadLedger when it is not."""
    from ..corpus.corpus import open_corpus
    from ..errors import BadLedger

    if not (folder / "ledger.db").is_file():
        raise BadLedger(f"{folder}: there is no corpus; make it with: clip-italian corpus build PLAN.toml")
    with open_corpus(plan, root, folder) as corpus:
        yield corpus


@contextmanager
def _report() -> "Iterator[Report]":
    from ..corpus.corpus import Report
    from .reporting import ConsoleReporter

    with ConsoleReporter(Console(stderr=True, soft_wrap=True, highlight=False)) as reporter:
        yield Report(reporter.work, reporter.note)


def _show(told: "Statistics", console: Console) -> None:
    table = Table("source", "broken rows", "read", "refused", "under way", "kept", title=told.name)
    for funnel in told.funnels:
        numbers = (funnel.skipped_rows, funnel.read, sum(funnel.lost.values()), funnel.under_way, funnel.kept)
        table.add_row(funnel.source, *(f"{number:,}" for number in numbers))
    console.print(table)
    why = Table("source", "what", "reason", "how many")
    for funnel in told.funnels:
        for what, counts in (("samples", funnel.lost), ("captions", funnel.dropped)):
            for reason, count in counts.items():
                why.add_row(funnel.source, what, reason, f"{count:,}")
    if why.row_count:
        console.print(why)
    split = ", ".join(f"{count:,} {name}" for name, count in told.samples.items())
    console.print(
        f"{_many(sum(told.samples.values()), 'sample')} ({split}), {_many(told.captions, 'caption')}", markup=False
    )


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "es" if noun.endswith("s") else "s")

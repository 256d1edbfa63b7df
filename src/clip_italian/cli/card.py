"""`clip-italian card`: a model card from a model's notes, measurements, and what a person has to say of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from .evaluate import Device, _progress

if TYPE_CHECKING:
    from ..evaluation.card.measured import Card

SCENE_FAILURES = "scenes-failures.jpg"
SHOWN_SCENES = 4
# Of the sheet of scenes, which goes into repositories and packages: pixels, and JPEG's quality.
SCENE_WIDTH, QUALITY = 620, 55


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def card(
        model: Annotated[str, typer.Argument(help="A model directory, a hub id, or a name that `models` lists.")],
        out: Annotated[Path, typer.Option(help="The card to write, such as README.md.")],
        data: Annotated[
            list[str] | None,
            typer.Option(help="NAME=PATH of captions, NAME:CLASSES=PATH of classes, NAME:FOLDER=FILE.tsv of queries."),
        ] = None,
        facts: Annotated[
            Path | None, typer.Option(exists=True, dir_okay=False, help="A TOML file of what no measurement tells.")
        ] = None,
        notes: Annotated[
            Path | None, typer.Option(exists=True, dir_okay=False, help="The model.json whose notes to take.")
        ] = None,
        kept: Annotated[
            Path | None, typer.Option(help="Folder for vectors, scores and the sheet of failures; else OUT's stem.")
        ] = None,
        scenes: Annotated[bool, typer.Option(help="Whether drawn scenes are measured, too.")] = True,
        device: Device = "cpu",
    ) -> None:
        """Measure a model and write its card.

        Example: clip-italian card runs/mine --data mine=dev.jsonl --data tiny-imagenet=dev.tar.gz --out CARD.md
        """
        from ..encoder import load
        from ..evaluation.card import text
        from ..evaluation.card.facts import Facts, read_facts
        from ..evaluation.card.measured import measure, parse_source
        from ..evaluation.card.notes import describe
        from ..evaluation.kept import KeptVectors
        from ..files import atomic_write, write_json

        sources = [parse_source(source) for source in data or []]
        known = read_facts(facts) if facts else Facts()
        encoder = load(model, device=device)
        folder = kept or Path("runs") / "cards" / encoder.fingerprint[:16]
        with _progress() as progress:
            measured = measure(KeptVectors(encoder, folder), sources, with_scenes=scenes, progress=progress)
        described = describe(encoder, _folder(model), notes)
        write_json(folder / "card.json", text.to_json(described, measured))
        drawn = _draw(measured, folder, out)
        with atomic_write(out, "w") as stream:
            stream.write(text.card(described, known, measured, scene_failures=drawn))
        Console(soft_wrap=True, highlight=False).print(
            f"{out}; scores, vectors and sheets of failures, whose photos are their owners': {folder}", markup=False
        )


def _folder(model: str) -> Path:
    """Return the folder of a model, of one that comes with the package too."""
    from ..models import shipped

    return shipped.listed(model).folder if model in shipped.NAMES else Path(model)


def _draw(measured: "Card", folder: Path, out: Path) -> str | None:
    """Draw the sheets of failures: photos into `folder`, scenes beside the card; returns the latter's name there."""
    from ..evaluation.card.captions import worst
    from ..evaluation.card.measured import ASKED
    from ..evaluation.card.text import told_apart
    from ..search.sheet import Row, contact_sheet

    rows = []
    for name, captions in measured.captions.items():
        for category, ranked in worst(captions):
            photos = (ranked.photo, *ranked.first)
            titles = (f"rank {ranked.rank:,}", *(f"{place}. instead" for place in range(1, len(photos))))
            pictures = [photo.image.read() for photo in photos]
            correct = [True, *[False] * len(ranked.first)]
            rows.append(Row(f"{name}, {category}: {ranked.text}", pictures, titles, correct))
    if rows:
        contact_sheet(rows, folder / "failures.png")
    wrong = measured.scenes.wrong if measured.scenes else ()
    drawn = []
    for asked, words in ASKED.items():
        some = [(choice, place) for choice, place in wrong if choice.asked == asked][:SHOWN_SCENES]
        if some:
            differences = [told_apart(choice.texts[choice.right], choice.texts[place]) for choice, place in some]
            drawn.append(Row(words, [choice.image for choice, _ in some], differences))
    if not drawn:
        return None
    whole = (folder / SCENE_FAILURES).with_suffix(".png")
    contact_sheet(drawn, whole)
    _shrink(whole, out.with_name(SCENE_FAILURES))
    return SCENE_FAILURES


def _shrink(sheet: Path, out: Path) -> None:
    """Write a sheet as a small JPEG: a PNG of textured scenes has megabytes."""
    from PIL import Image

    from ..files import atomic_write

    with Image.open(sheet) as page:
        page.thumbnail((SCENE_WIDTH, page.height), Image.Resampling.LANCZOS)
        with atomic_write(out) as stream:
            page.convert("RGB").save(stream, "JPEG", quality=QUALITY)

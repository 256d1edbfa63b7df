"""The demo on drawn scenes: make them, learn from them, measure on combinations never seen, search among them.

Public names: Corpus, Measured, keep_to, prepare, training_samples, measure, find, RECIPE.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ..data import scenes as drawing
from ..data.readers import read
from ..encoder import Encoder
from ..errors import BadRecipe
from ..evaluation.scenes import Measured, measure
from ..files import atomic_write
from ..search.album import Album
from ..search.indexing import index
from ..search.sheet import contact_sheet
from ..training.recipe import Recipe
from .photos import row
from .pictures import draw

__all__ = ["RECIPE", "Corpus", "Measured", "find", "keep_to", "measure", "prepare", "training_samples"]

RECIPE = Path(str(resources.files(__package__) / "scenes.toml"))
VALID, ALBUM = 300, 300

Report = Callable[[str, int, int], None]  # what, done, total


@dataclass(frozen=True)
class Corpus:
    """Where the drawn data sets lie. size: pixels a side."""

    train: Path
    valid: Path
    size: int


def keep_to(out: Path, recipe: Recipe, scenes: int, *, resume: bool) -> None:
    """Note in `out`/demo.json what a new run is made of, or check that a run to be resumed was begun with the same.

    Raises BadRecipe before anything is drawn over what that run learned from.
    """
    noted, made_of = out / "demo.json", {"scenes": scenes, "recipe": json.loads(recipe.identity())}
    text = json.dumps(made_of, ensure_ascii=False, indent=2) + "\n"
    if not resume:
        with atomic_write(noted, "w") as stream:
            stream.write(text)
    elif noted.is_file() and noted.read_text("utf-8") != text:
        raise BadRecipe(
            f"{out}: the run there was begun with another recipe or number of scenes than these {scenes} (its own are "
            f"in {noted}); choose another --out, or delete {out} to begin anew"
        )


def prepare(out: Path, size: int, *, scenes: int, jobs: int, report: Report) -> Corpus:
    """Draw `scenes` training scenes and some for validation into `out`.

    size: pixels a side; jobs: processes that draw.
    """
    train = drawing.write(
        out, scenes, split="train", size=size, jobs=jobs, progress=lambda done, n: report("drawing scenes", done, n)
    )
    return Corpus(train.lines, drawing.write(out, VALID, split="valid", size=size).lines, size)


def find(encoder: Encoder, model: Path, out: Path, size: int) -> Path:
    """Index an album of 300 scenes and write a contact sheet of what queries find there; returns the sheet's path."""
    folder, album_path, sheet = out / "album", out / "album.db", out / "sheet.png"
    queries = draw(folder, ALBUM, size=size * 2)
    index(folder, album_path, encoder, model=str(model))
    with Album.open(album_path) as album:
        contact_sheet([row(album, encoder, asked) for asked in queries], sheet)
    return sheet


def training_samples(corpus: Corpus) -> tuple[list, list]:
    """Read the drawn data sets back as anybody would read theirs."""
    return read(corpus.train), read(corpus.valid)

"""The demo on drawn scenes: make them, learn from them, measure on combinations never seen, search among them.

Public names: Corpus, Measured, keep_to, prepare, training_samples, measure, find, RECIPE.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ..data import scenes as drawing
from ..data.readers import read
from ..data.scenes import Scene
from ..encoder import Encoder
from ..errors import BadRecipe
from ..evaluation.choices import Choice, evaluate_choices
from ..evaluation.report import Result
from ..evaluation.retrieval import evaluate_retrieval
from ..evaluation.statistics import Interval
from ..evaluation.zero_shot import evaluate_zero_shot
from ..files import atomic_write
from ..italian import TEMPLATES
from ..search.album import Album
from ..search.indexing import index
from ..search.query import search
from ..search.sheet import Row, contact_sheet
from ..training.recipe import Recipe

RECIPE = Path(str(resources.files(__package__) / "scenes.toml"))
VALID, TEST, SINGLES, ASKED, ALBUM = 300, 200, 240, 600, 300
ALBUM_SEED = 7

Report = Callable[[str, int, int], None]  # what, done, total

# Short words that somebody might type, and what a scene must hold to answer: shape and colour of one group.
SHORT_QUERIES = (
    ("cuori", "cuore", None),
    ("stelle gialle", "stella", "giallo"),
    ("una freccia rossa", "freccia", "rosso"),
)


@dataclass(frozen=True)
class Corpus:
    """Where the drawn data sets lie. size: pixels a side."""

    train: Path
    valid: Path
    size: int


@dataclass(frozen=True)
class Measured:
    """Scores on scenes of held-out combinations: the paper's two tasks, and forced choices by what is asked."""

    retrieval: Result
    zero_shot: Result
    choices: dict[str, Interval]


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


def measure(encoder: Encoder, size: int) -> Measured:
    """Measure on scenes whose combinations training never showed.

    200 with distinct captions are ranked, 240 single objects classified, 600 asked about colour, count and position.
    """
    retrieval = evaluate_retrieval(encoder, drawing.corpus(TEST, split="test", size=size))
    singles = drawing.corpus(SINGLES, split="test", kind="single", size=size)
    zero_shot = evaluate_zero_shot(encoder, singles, list(drawing.class_names()), TEMPLATES)
    asked = [choice for scene in drawing.scenes(ASKED, split="test") for choice in _choices(scene, size)]
    return Measured(retrieval, zero_shot, evaluate_choices(encoder, asked))


def find(encoder: Encoder, model: Path, out: Path, size: int) -> Path:
    """Index an album of 300 scenes and write a contact sheet of what queries find there; returns the sheet's path."""
    folder, album_path, sheet = out / "album", out / "album.db", out / "sheet.png"
    scenes = list(drawing.scenes(ALBUM, split="test", seed=ALBUM_SEED))
    folder.mkdir(parents=True, exist_ok=True)
    for scene in scenes:
        scene.draw(size * 2).save(folder / f"{scene.key}.jpg", quality=95)
    index(folder, album_path, encoder, model=str(model))
    with Album.open(album_path) as album:
        contact_sheet([_row(album, encoder, query, right) for query, right in _queries(scenes)], sheet)
    return sheet


def training_samples(corpus: Corpus) -> tuple[list, list]:
    """Read the drawn data sets back as anybody would read theirs."""
    return read(corpus.train), read(corpus.valid)


def _choices(scene: Scene, size: int) -> Iterable[Choice]:
    picture = scene.draw(size)
    for kind in drawing.CONTRASTS:
        try:
            texts, right = drawing.contrasts(scene, kind)
        except ValueError:  # nothing of this kind can be asked about the scene
            continue
        names: list[str] = [kind]
        if kind == "count":
            names.append("count 1-4" if right < 4 else "count 5-6")
        for name in names:
            yield Choice(picture, texts, right, name)


def _queries(scenes: list[Scene]) -> list[tuple[str, set[str]]]:
    """Return queries with the keys of the scenes that answer them: short words, and captions of some scenes."""
    queries = []
    for query, shape, colour in SHORT_QUERIES:
        right = {
            scene.key
            for scene in scenes
            if any(group.shape == shape and colour in (None, group.colour) for group in scene.groups)
        }
        queries.append((query, right))
    captioned = [scene for kind in drawing.KINDS for scene in [s for s in scenes if s.kind == kind][:3]]
    return queries + [(scene.captions[0], {scene.key}) for scene in captioned]


def _row(album: Album, encoder: Encoder, query: str, right: set[str]) -> Row:
    hits = search(album, encoder, query, 6)
    correct = [hit.path.stem in right for hit in hits]
    return Row(query, [hit.path for hit in hits], [f"{hit.score:.2f}" for hit in hits], correct)

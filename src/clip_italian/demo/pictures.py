"""A folder of drawn scenes, and Italian queries whose answers in it are known.

Public names: draw, Asked.
"""

from pathlib import Path
from typing import NamedTuple

from ..data import scenes as drawing
from ..data.scenes import Scene

SEED = 7
# Short words that somebody might type, and what a scene must hold to answer: shape and colour of one group.
SHORT_QUERIES = (
    ("cuori", "cuore", None),
    ("stelle gialle", "stella", "giallo"),
    ("una freccia rossa", "freccia", "rosso"),
)


class Asked(NamedTuple):
    """A query, and the names without ending of the pictures that answer it; None when nobody knows."""

    query: str
    right: frozenset[str] | None = None


def draw(folder: Path, count: int, *, size: int) -> list[Asked]:
    """Draw `count` scenes into `folder`, always the same ones; returns what may be asked.

    size: pixels a side. Queries are short words that some scene answers, and captions of some scenes.
    """
    scenes = list(drawing.scenes(count, split="test", seed=SEED))
    folder.mkdir(parents=True, exist_ok=True)
    for scene in scenes:
        scene.draw(size).save(folder / f"{scene.key}.jpg", quality=95)
    return _asked(scenes)


def _asked(scenes: list[Scene]) -> list[Asked]:
    short = [Asked(query, _answers(scenes, shape, colour)) for query, shape, colour in SHORT_QUERIES]
    captioned = [scene for kind in drawing.KINDS for scene in [s for s in scenes if s.kind == kind][:3]]
    return [asked for asked in short if asked.right] + [
        Asked(scene.captions[0], frozenset({scene.key})) for scene in captioned
    ]


def _answers(scenes: list[Scene], shape: str, colour: str | None) -> frozenset[str]:
    return frozenset(
        scene.key
        for scene in scenes
        if any(group.shape == shape and colour in (None, group.colour) for group in scene.groups)
    )

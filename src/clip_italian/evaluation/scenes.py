"""What an encoder knows of drawn scenes: the paper's two tasks, and forced choices on colour, count and position.

The scenes are drawn on the spot, always the same ones; their combinations of shape, colour, number and place are kept
from what training may draw. Public names: Measured, measure, TEST, SINGLES, ASKED.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from ..data import scenes as drawing
from ..data.scenes import Scene
from ..encoder import Encoder
from ..italian import TEMPLATES
from .choices import Choice, picked, score_choices
from .encoding import Progress
from .report import Result
from .retrieval import evaluate_retrieval
from .statistics import Interval
from .zero_shot import evaluate_zero_shot

TEST, SINGLES, ASKED = 200, 240, 600


@dataclass(frozen=True)
class Measured:
    """Scores on held-out combinations.

    choices: by what is asked. wrong: the choices that went wrong, each with the place of the sentence that came first.
    chances: of a blind guess, by what is asked.
    """

    retrieval: Result
    zero_shot: Result
    choices: dict[str, Interval]
    wrong: tuple[tuple[Choice, int], ...]
    chances: dict[str, float]


def measure(encoder: Encoder, size: int, *, progress: Progress | None = None) -> Measured:
    """Rank 200 scenes with distinct captions, name 240 single objects, ask about colour, count and place in 600.

    size: pixels a side.
    """
    retrieval = evaluate_retrieval(encoder, drawing.corpus(TEST, split="test", size=size), progress=progress)
    singles = drawing.corpus(SINGLES, split="test", kind="single", size=size)
    zero_shot = evaluate_zero_shot(encoder, singles, list(drawing.class_names()), TEMPLATES, progress=progress)
    asked = [choice for scene in drawing.scenes(ASKED, split="test") for choice in _choices(scene, size)]
    places = picked(encoder, asked)
    wrong = tuple((choice, place) for choice, place in zip(asked, places, strict=True) if place != choice.right)
    chances = {choice.asked: 1 / len(choice.texts) for choice in asked}
    return Measured(retrieval, zero_shot, score_choices(asked, places), wrong, chances)


def _choices(scene: Scene, size: int) -> Iterator[Choice]:
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

"""The card as Markdown and as JSON, from facts, a model's notes, and what was measured.

Public names: Model, describe, card, to_json, told_apart, ASKED.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...data.sample import Sample
from ...encoder import Encoder
from ...errors import BadModel
from ..report import to_json as result_to_json
from ..statistics import Interval
from .captions import by_category, worst
from .categories import CATEGORIES
from .facts import Facts
from .gender import Side
from .measured import Card

Row = Sequence[object]

DESCRIPTION = "model.json"

_RETRIEVAL = ("mrr@10", "recall@1", "recall@5", "recall@10", "median_rank")
_ACCURACIES = ("accuracy@1", "accuracy@5", "accuracy@10")
ASKED = {
    "colour": "colour",
    "count 1-4": "count, 1 to 4",
    "count 5-6": "count, 5 and 6",
    "left_right": "left or right",
    "above_below": "above or below",
}
_SIDE = {
    "mrr@10": "mrr@10 as written",
    "swapped mrr@10": "mrr@10 with the gender swapped",
    "first": "its photo comes first",
    "stays first": "of these, stays first when swapped",
    "closer as written": "closer as written than swapped",
}


@dataclass(frozen=True)
class Model:
    """What the card says of the model itself. size: bytes on disk, 0 where unknown; notes: model.json's."""

    name: str
    dim: int
    fingerprint: str
    size: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)


def describe(encoder: Encoder, folder: Path, notes: Path | None = None) -> Model:
    """Describe an opened model from the model.json of its folder, if there is one.

    notes: another model.json whose notes to take, as of the run that an exported model comes from. Raises BadModel when
    one of them is no model.json.
    """
    description = _read(folder / DESCRIPTION) if (folder / DESCRIPTION).is_file() else {}
    told = _read(notes) if notes else description
    files = [folder / name for name in (DESCRIPTION, *description.get("files", {}))] if description else []
    size = sum(path.stat().st_size for path in files if path.is_file())
    return Model(encoder.name, encoder.dim, encoder.fingerprint, size, told.get("notes", {}))


def _read(description: Path) -> dict[str, Any]:
    try:
        value = json.loads(description.read_text("utf-8"))
        if not all(isinstance(part, dict) for part in (value, value.get("notes", {}), value.get("files", {}))):
            raise TypeError("its notes or files are no table")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise BadModel(f"{description}: cannot be read ({error}); give a model's {DESCRIPTION}") from error
    return value


def told_apart(true: str, wrong: str) -> str:
    """Return the words in which two sentences differ, "true → wrong".

    >>> told_apart("tre stelle blu", "due stelle blu")
    'tre → due'
    """
    pair = [true.split(), wrong.split()]
    while len(pair[0]) > 1 < len(pair[1]) and pair[0][-1] == pair[1][-1]:
        pair = [words[:-1] for words in pair]
    while len(pair[0]) > 1 < len(pair[1]) and pair[0][0] == pair[1][0]:
        pair = [words[1:] for words in pair]
    return " → ".join(" ".join(words) for words in pair)


def card(model: Model, facts: Facts, measured: Card, *, scene_failures: str | None = None) -> str:
    """Write the card. scene_failures: path of the sheet of failures on drawn scenes, as a link from the card."""
    sections = [
        f"# {facts.title or model.name}",
        facts.about,
        _table(("", ""), _described(model, facts)),
        *_data(facts),
        *_recipe(model.notes),
        "## Results",
        *_results(facts, measured),
        *_categories(measured),
        *_failures(facts, measured, scene_failures),
        *_women_and_men(facts, measured),
        *_not_for(facts),
        *_made(model, measured),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def to_json(model: Model, measured: Card) -> dict[str, Any]:
    """Describe all that was measured as plain JSON values; the same measurement always gives the same ones."""
    document: dict[str, Any] = {"model": asdict(model), "captions": {}, "classes": {}, "queries": {}}
    for name, captions in measured.captions.items():
        document["captions"][name] = {
            "scores": result_to_json(captions.result),
            "mrr@10 by category": {
                category: {"n": n, **asdict(score)} for category, (n, score) in by_category(captions).items()
            },
            "worst": [
                {
                    "category": category,
                    "caption": ranked.text,
                    "photo": ranked.photo.key,
                    "rank": ranked.rank,
                    "first instead": [photo.key for photo in ranked.first],
                }
                for category, ranked in worst(captions)
            ],
        }
    document["classes"] = {name: result_to_json(result) for name, result in measured.classes.items()}
    document["queries"] = {name: result_to_json(result) for name, result in measured.queries.items()}
    document["women and men"] = {name: asdict(symmetry) for name, symmetry in measured.symmetry.items()}
    document["neutral searches"] = {name: [asdict(one) for one in found] for name, found in measured.neutral.items()}
    if measured.scenes is not None:
        document["scenes"] = {
            "retrieval": result_to_json(measured.scenes.retrieval),
            "zero-shot": result_to_json(measured.scenes.zero_shot),
            "choices": {asked: asdict(score) for asked, score in measured.scenes.choices.items()},
        }
    return document


def _described(model: Model, facts: Facts) -> list[Row]:
    size = f"{model.size / 1e6:.1f} MB" if model.size else "not told"
    rows: list[Row] = [("vectors", f"{model.dim} numbers, of length 1"), ("on disk", size)]
    rows += [(part.part, part.what + (f"; {part.licence}" if part.licence else "")) for part in facts.parts]
    rows.append(("made on", facts.made_on or "not told"))
    energy = model.notes.get("energy")
    if energy:
        rows.append(
            ("energy", f"{energy['kwh']:.3g} kWh in {_hours(energy['seconds'])}: {energy['co2e_kg']:.3g} kg CO2e")
        )
        rows.append(("how it was counted", energy["method"]))
    else:
        rows.append(("energy", "was not measured"))
    rows.append(("fingerprint", f"`{model.fingerprint}`"))
    return rows


def _data(facts: Facts) -> Iterable[str]:
    yield "## Data"
    if facts.data:
        rows = [(data.name, data.photos, data.captions, data.terms) for data in facts.data]
        yield _table(("data", "photos", "captions", "terms"), rows)
    else:
        yield "What it learned from is not told."
    yield facts.terms


def _recipe(notes: Mapping[str, Any]) -> Iterable[str]:
    recipe = notes.get("recipe")
    yield "## Recipe"
    if not recipe:
        yield "The model holds no notes of how it was trained."
        return
    figures = notes.get("figures", {})
    told = [f"`{recipe.get('name', '?')}`, seed {recipe.get('seed', '?')}"]
    if "teacher" in notes:
        told.append(f"distilled from {notes['teacher']}")
    if "epoch" in figures:
        told.append(f"kept: epoch {figures['epoch']}" + (f" of stage {figures['stage']}" if "stage" in figures else ""))
    yield "; ".join(told) + ". All settings are in `model.json`."
    stages = recipe.get("stages") or [recipe]
    keys = [
        key for key in ("epochs", "batch", "optimizer", "schedule", "augment", "learn") if any(key in s for s in stages)
    ]
    rows = [(stage.get("name", ""), *(_setting(stage.get(key)) for key in keys)) for stage in stages]
    yield _table(("stage", *keys), rows)


def _results(facts: Facts, measured: Card) -> Iterable[str]:
    yield "95 % intervals, drawn by picture; ties count against the model."
    if measured.captions:
        results = {name: captions.result for name, captions in measured.captions.items()}
        header = ("text to image", *(f"{name}, {result.n_images:,} photos" for name, result in results.items()))
        rows: list[Row] = [
            _scores(metric, [result.parts[0].metrics for result in results.values()]) for metric in _RETRIEVAL
        ]
        back = _scores("mrr@10", [result.parts[1].metrics for result in results.values()])
        yield _table(header, [*rows, ("image to text mrr@10", *back[1:])])
    if measured.classes:
        header = (
            "one of the class names",
            *(f"{n}, {r.n_images:,} photos, {r.settings['n_classes']:,} classes" for n, r in measured.classes.items()),
        )
        rows = [_scores(metric, [r.parts[0].metrics for r in measured.classes.values()]) for metric in _ACCURACIES]
        yield _table(header, rows)
        yield _about_imagenet(facts)
    for name, result in measured.queries.items():
        header = (name, *(f"{part.name} ({part.n_queries})" for part in result.parts))
        yield _table(
            header, [_scores(metric, [part.metrics for part in result.parts]) for metric in ("mrr", "recall@10")]
        )
    if measured.scenes is not None:
        yield _scenes(measured)
    yield "\n\n".join(facts.caveats)


def _scenes(measured: Card) -> str:
    drawn = measured.scenes
    assert drawn is not None
    rows: list[Row] = [
        (
            f"text to image mrr@10 over {drawn.retrieval.n_images} scenes",
            "",
            _score(drawn.retrieval.parts[0].metrics["mrr@10"]),
        ),
        (
            "one of the drawn things, accuracy@1",
            _share(1 / drawn.zero_shot.settings["n_classes"]),
            _score(drawn.zero_shot.parts[0].metrics["accuracy@1"]),
        ),
    ]
    rows += [
        (f"the true sentence of several: {words}", _share(drawn.chances[asked]), _score(drawn.choices[asked]))
        for asked, words in ASKED.items()
        if asked in drawn.choices
    ]
    return _table(("drawn scenes", "chance", "score"), rows)


def _about_imagenet(facts: Facts) -> str:
    if facts.imagenet_labels:
        return (
            "ImageNet's labels trained this model's image tower, or its teacher's, perhaps on these very photos: over "
            "its classes, of which the smaller sets are a part, accuracy is no zero-shot test in the strict sense."
        )
    if facts.imagenet_labels is None:
        return "Whether these classes' labels were seen in training is not told."
    return ""


def _categories(measured: Card) -> Iterable[str]:
    if not measured.captions:
        return
    yield "## By what captions speak of"
    found = {name: by_category(captions) for name, captions in measured.captions.items()}
    rows = [
        (category, *(_counted(scores.get(category)) for scores in found.values()))
        for category in ("all", *CATEGORIES, "none")
    ]
    yield _table(("text to image mrr@10 (captions)", *found), rows)
    yield (
        "A caption belongs to every category of which it holds a word, by lists written for this project "
        "(`evaluation/card/categories.py`); none: a word of none of them."
    )


def _failures(facts: Facts, measured: Card, scene_failures: str | None) -> Iterable[str]:
    rows: list[Row] = []
    for name, captions in measured.captions.items():
        quoted = facts.quote is None or name in facts.quote
        for category, ranked in worst(captions):
            caption = f"“{ranked.text}”" if quoted else f"its caption {ranked.number}"
            instead = ", ".join(_photo(photo) for photo in ranked.first[:1])
            rows.append((category, name, _photo(ranked.photo), caption, f"{ranked.rank:,}", instead))
    if not rows and not scene_failures:
        return
    yield "## Known failures"
    if rows:
        yield "Captions whose photo came last, one of each category and data set, and what came first instead:"
        yield _table(("speaks of", "data", "photo", "caption", "rank", "came first"), rows)
        yield facts.failures
    if scene_failures:
        yield "Drawn scenes where a wrong sentence came first, the first ones of each kind (true → what came first):"
        yield f"![failures on drawn scenes]({scene_failures})"


def _women_and_men(facts: Facts, measured: Card) -> Iterable[str]:
    yield "## Women and men, and other biases"
    if not measured.symmetry and not measured.neutral:
        yield "Not measured: no data set with enough captions about women and about men was given."
    for name, both in measured.symmetry.items():
        yield (
            f"{name}, captions about one person or several of one gender, as written and with the gender swapped "
            "(noun, article, and adjectives beside it; “Un uomo seduto” becomes “Una donna seduta”):"
        )
        sides: tuple[Side, ...] = (both.men, both.women)
        header = ("", f"men and boys ({both.men.n})", f"women and girls ({both.women.n})")
        yield _table(header, [_scores(key, [side.scores for side in sides], words) for key, words in _SIDE.items()])
    if measured.symmetry:
        yield "Like figures in both columns mean that both are treated alike; “closer as written” is 0.5 by chance."
    for name, searches in measured.neutral.items():
        rows = [(f"“{one.query}”", _score(one.share), f"{one.base:.3f}") for one in searches]
        first = searches[0].first
        yield f"{name}, photos whose captions speak of men and boys only or of women and girls only:"
        yield _table(("search", f"share of men among the first {first}", "among all"), rows)
    yield "\n".join(f"- {bias}" for bias in facts.biases)


def _not_for(facts: Facts) -> Iterable[str]:
    yield "## What it is not for"
    yield "\n".join(f"- {use}" for use in facts.not_for) or "Not told."


def _made(model: Model, measured: Card) -> Iterable[str]:
    results = {name: captions.result for name, captions in measured.captions.items()}
    results |= {**measured.classes, **measured.queries}
    yield "## How this card was made"
    yield "By `clip-italian card`, from the model's own notes and from measurements on these data:"
    rows: list[Row] = [
        (name, result.n_images, f"`{result.data[:16]}`", len(result.skipped)) for name, result in results.items()
    ]
    yield _table(("data", "photos", "hash of photos and texts", "left out"), rows) if rows else ""


def _photo(sample: Sample) -> str:
    """Name a photo as its data set does: its file, without the tar it lies in."""
    return f"`{Path(sample.key.rpartition('#')[2]).stem}`"


def _scores(metric: str, columns: Sequence[Mapping[str, Interval]], words: str = "") -> Row:
    digits = 1 if metric == "median_rank" else 3
    cells = [_score(column[metric], digits) if metric in column else "" for column in columns]
    return (words or metric.replace("_", " "), *cells)


def _score(score: Interval, digits: int = 3) -> str:
    return f"{score.value:.{digits}f} ({score.low:.{digits}f}–{score.high:.{digits}f})"


def _counted(scored: tuple[int, Interval] | None) -> str:
    return f"{_score(scored[1])} ({scored[0]:,})" if scored else "no caption"


def _share(value: float) -> str:
    return f"{value:.2f}"


def _hours(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part:g}" for name, part in value.items())
    return "" if value is None else str(value)


def _table(header: Row, rows: Sequence[Row]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")

"""The card as Markdown and as JSON, from facts, a model's notes, and what was measured.

Public names: card, to_json, told_apart.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...data.sample import Sample
from ..report import to_json as result_to_json
from ..statistics import Interval
from . import notes
from .captions import by_category, worst
from .categories import CATEGORIES
from .facts import Facts
from .gender import SCORES, Side
from .markdown import Row, score, table
from .measured import ASKED, Card
from .notes import Model
from .weaknesses import weaknesses

_RETRIEVAL = ("mrr@10", "recall@1", "recall@5", "recall@10", "median_rank")
_ACCURACIES = ("accuracy@1", "accuracy@5", "accuracy@10")


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
        table(("", ""), _described(model, facts)),
        *_data(model, facts),
        *notes.recipe(model, facts),
        "## Results",
        *_results(model, facts, measured),
        *notes.gate(model, facts.supervised),
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
    rows += notes.energy(model.notes, facts)
    rows.append(("fingerprint", f"`{model.fingerprint}`"))
    return rows


def _data(model: Model, facts: Facts) -> Iterable[str]:
    yield "## Data"
    if facts.data:
        rows = [(data.name, data.photos, data.captions, data.terms) for data in facts.data]
        yield table(("data", "photos", "captions", "terms"), rows)
    else:
        yield "What it learned from is not told."
    yield notes.counts(model.notes)
    yield facts.terms


def _results(model: Model, facts: Facts, measured: Card) -> Iterable[str]:
    yield "95 % intervals, drawn by picture; ties count against the model."
    if measured.captions:
        results = {name: captions.result for name, captions in measured.captions.items()}
        header = ("text to image", *(f"{name}, {result.n_images:,} photos" for name, result in results.items()))
        rows: list[Row] = [
            _scores(metric, [result.parts[0].metrics for result in results.values()]) for metric in _RETRIEVAL
        ]
        back = _scores("mrr@10", [result.parts[1].metrics for result in results.values()])
        yield table(header, [*rows, ("image to text mrr@10", *back[1:])])
    if measured.classes:
        header = (
            "one of the class names",
            *(
                f"{name}{' (supervised)' if name in facts.supervised else ''}, {result.n_images:,} photos, "
                f"{result.settings['n_classes']:,} classes"
                for name, result in measured.classes.items()
            ),
        )
        rows = [_scores(metric, [r.parts[0].metrics for r in measured.classes.values()]) for metric in _ACCURACIES]
        yield table(header, rows)
        yield _about_labels(model, facts, measured)
        yield _about_imagenet(facts)
    for name, result in measured.queries.items():
        header = (name, *(f"{part.name} ({part.n_queries})" for part in result.parts))
        yield table(
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
            score(drawn.retrieval.parts[0].metrics["mrr@10"]),
        ),
        (
            "one of the drawn things, accuracy@1",
            _share(1 / drawn.zero_shot.settings["n_classes"]),
            score(drawn.zero_shot.parts[0].metrics["accuracy@1"]),
        ),
    ]
    rows += [
        (f"the true sentence of several: {words}", _share(drawn.chances[asked]), score(drawn.choices[asked]))
        for asked, words in ASKED.items()
        if asked in drawn.choices
    ]
    return table(("drawn scenes", "chance", "score"), rows)


def _about_labels(model: Model, facts: Facts, measured: Card) -> str:
    """Say over which classes the figures are those of a supervised task."""
    if taught := [name for name in measured.classes if name in facts.supervised]:
        return (
            f"The labels of {' and '.join(taught)}'s training part trained this model: over its classes the figures "
            "are those of a supervised task, not of a zero-shot one."
        )
    if not facts.supervised and any(stage.get("labelled") for stage in _stages(model)):
        return (
            "Labels of pictures trained this model (`labelled` in its recipe), of which data set is not told: over "
            "their classes the figures are no zero-shot ones."
        )
    return ""


def _stages(model: Model) -> Sequence[Mapping[str, Any]]:
    return model.notes.get("recipe", {}).get("stages", ())


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
    yield table(("text to image mrr@10 (captions)", *found), rows)
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
    weak = weaknesses(measured)
    if not rows and not scene_failures and not weak:
        return
    yield "## Known failures"
    if weak:
        yield "By the figures of this card:"
        yield "\n".join(f"- {sentence}" for sentence in weak)
    if rows:
        yield "Captions whose photo came last, one of each category and data set, and what came first instead:"
        yield table(("speaks of", "data", "photo", "caption", "rank", "came first"), rows)
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
        yield table(header, [_scores(key, [side.scores for side in sides], words) for key, words in SCORES.items()])
    if measured.symmetry:
        yield "Like figures in both columns mean that both are treated alike; “closer as written” is 0.5 by chance."
    for name, searches in measured.neutral.items():
        rows = [(f"“{one.query}”", score(one.share), f"{one.base:.3f}") for one in searches]
        first = searches[0].first
        yield f"{name}, photos whose captions speak of men and boys only or of women and girls only:"
        yield table(("search", f"share of men among the first {first}", "among all"), rows)
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
    yield table(("data", "photos", "hash of photos and texts", "left out"), rows) if rows else ""


def _photo(sample: Sample) -> str:
    """Name a photo as its data set does: its file, without the tar it lies in."""
    return f"`{Path(sample.key.rpartition('#')[2]).stem}`"


def _scores(metric: str, columns: Sequence[Mapping[str, Interval]], words: str = "") -> Row:
    digits = 1 if metric == "median_rank" else 3
    cells = [score(column[metric], digits) if metric in column else "" for column in columns]
    return (words or metric.replace("_", " "), *cells)


def _counted(scored: tuple[int, Interval] | None) -> str:
    return f"{score(scored[1])} ({scored[0]:,})" if scored else "no caption"


def _share(value: float) -> str:
    return f"{value:.2f}"

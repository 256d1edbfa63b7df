import dataclasses
import io
import json

import numpy as np
from rich.console import Console

from clip_italian.evaluation.encoding import Skip
from clip_italian.evaluation.report import Part, Result, markdown, table, to_json
from clip_italian.evaluation.statistics import Interval

RESULT = Result(
    "retrieval",
    "mine [v2]",
    "f" * 64,
    "d" * 64,
    4,
    (
        Part("text_to_image", 9, {"mrr@1": Interval(0.5, 0.4, 0.61), "median_rank": Interval(2, 1, 3.5)}, np.ones(9)),
        Part("image_to_text", 4, {"mrr@1": Interval(0.25, 0, 1)}, np.ones(4)),
    ),
    {"language": "it"},
    (Skip("a.jpg", "the file ends after 3 bytes"),),
)


def test_json_keeps_the_contract():
    assert json.loads(json.dumps(to_json(RESULT))) == {
        "task": "retrieval",
        "name": "mine [v2]",
        "model": "f" * 64,
        "data": "d" * 64,
        "n_queries": 9,
        "n_images": 4,
        "settings": {"language": "it"},
        "mrr@1": {"value": 0.5, "low": 0.4, "high": 0.61},
        "median_rank": {"value": 2, "low": 1, "high": 3.5},
        "image_to_text/n_queries": 4,
        "image_to_text/mrr@1": {"value": 0.25, "low": 0, "high": 1},
        "skipped": [{"key": "a.jpg", "reason": "the file ends after 3 bytes"}],
    }


def test_markdown_shows_value_and_interval():
    assert markdown(RESULT) == (
        "|  | text to image (9) | image to text (4) |\n"
        "| --- | ---: | ---: |\n"
        "| mrr@1 | 0.500 [0.400–0.610] | 0.250 [0.000–1.000] |\n"
        "| median_rank | 2.0 [1.0–3.5] |  |\n"
    )


def test_table_shows_the_same_cells_and_no_markup():
    screen = io.StringIO()
    Console(file=screen, width=80).print(table(RESULT))
    for cell in ("mine [v2]", "4 pictures", "0.500 [0.400–0.610]", "image to text (4)", "2.0 [1.0–3.5]"):
        assert cell in screen.getvalue()


def test_many_parts_fit_eighty_columns():
    scores = {"precision@10": Interval(0.5, 0.25, 0.75)}
    kinds = [
        Part(name, 10, scores, np.ones(10)) for name in ("all", "short", "descriptive", "negative", "count-position")
    ]
    screen = io.StringIO()
    Console(file=screen, width=80).print(table(dataclasses.replace(RESULT, parts=tuple(kinds))))
    assert screen.getvalue().count("0.500 [0.250–0.750]") == 5 and "count-position (10)" in screen.getvalue()

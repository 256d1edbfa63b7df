"""What a card says a model is weak at: no more and no less than its figures show."""

import numpy as np
import pytest

from clip_italian.evaluation.card.captions import Captions
from clip_italian.evaluation.card.facts import Facts
from clip_italian.evaluation.card.gender import Neutral, Side, Symmetry
from clip_italian.evaluation.card.measured import Card
from clip_italian.evaluation.card.notes import Model
from clip_italian.evaluation.card.text import card
from clip_italian.evaluation.card.weaknesses import weaknesses
from clip_italian.evaluation.report import Part, Result
from clip_italian.evaluation.scenes import Measured
from clip_italian.evaluation.statistics import Interval


def around(value, width=0.05):
    return Interval(value, value - width, value + width)


def result(*parts, **settings):
    return Result("task", "name", "0" * 64, "d" * 64, 100, parts, settings)


def part(name, **metrics):
    return Part(name, 100, metrics, np.ones(100))


def measured(**changes):
    nothing = {"captions": {}, "classes": {}, "queries": {}, "symmetry": {}, "neutral": {}, "scenes": None}
    return Card(**nothing | changes)


def drawn(accuracy, **choices):
    chances = {"colour": 1 / 11, "count 1-4": 1 / 6, "left_right": 0.5, "above_below": 0.5}
    named = result(part("pictures", **{"accuracy@1": around(accuracy)}), n_classes=12)
    return Measured(
        result(part("text_to_image")), named, {k.replace("__", " "): v for k, v in choices.items()}, (), chances
    )


def test_what_is_at_chance_or_below_is_named():
    choices = {"colour": around(0.3), "count 1-4": around(0.1), "left_right": around(0.52), "above_below": around(0.6)}
    found = weaknesses(measured(scenes=drawn(0.5, **choices)))
    assert found == [
        "On drawn scenes worse than a blind guess (count, 1 to 4: 0.100 (0.050–0.150), chance 0.17).",
        "On drawn scenes no better than a blind guess (left or right: 0.520 (0.470–0.570), chance 0.50).",
    ]
    [blind] = weaknesses(measured(scenes=drawn(0.1, colour=around(0.3))))
    assert "what thing it is: 0.100 (0.050–0.150), chance 0.08" in blind
    assert weaknesses(measured(scenes=drawn(0.5, colour=around(0.3)))) == []


def side(n=100, **scores):
    given = {"closer": 0.75, "mrr": 0.4} | scores
    return Side(n, {"closer as written": around(given["closer"]), "mrr@10": around(given["mrr"])})


@pytest.mark.parametrize(
    ("men", "women", "told"),
    [
        ({}, {"closer": 0.51}, ["captions about women and girls lie closer to their photo as written than with the "
                                "gender swapped no more often than by chance: men and boys 0.750 (0.700–0.800), women "
                                "and girls 0.510 (0.460–0.560)."]),
        ({"closer": 0.6}, {"closer": 0.75}, ["captions about women and about men fare unlike, closer as written than "
                                             "swapped: men and boys 0.600"]),
        ({"mrr": 0.5}, {"mrr": 0.3}, ["captions about women and about men fare unlike, mrr@10 as written: men and boys "
                                      "0.500"]),
        ({}, {"closer": 0.7, "mrr": 0.45}, []),
    ],
)  # fmt: skip
def test_women_and_men_treated_unlike_are_named(men, women, told):
    found = weaknesses(measured(symmetry={"flickr": Symmetry(side(**men), side(**women))}))
    assert len(found) == len(told)
    assert all(one.startswith(f"flickr: {words}") for one, words in zip(found, told, strict=True))


def test_searches_that_find_more_of_one_gender_are_named():
    searches = [Neutral("una persona", 50, around(0.65), 0.63), Neutral("una persona elegante", 50, around(0.4), 0.63)]
    [found] = weaknesses(measured(neutral={"flickr": searches}))
    assert found.startswith("flickr: “una persona elegante” finds fewer men than there are: 0.400 (0.350–0.450)")


def test_the_kind_of_query_found_worst_is_named_and_whether_clearly():
    def queries(worst):
        return {"q": result(part("all", mrr=around(0.5)), part("short", mrr=around(0.6)), part("negative", mrr=worst))}

    [clear] = weaknesses(measured(queries=queries(around(0.2))))
    assert clear == (
        "q: of typed queries, those of the kind negative are found worst: mrr 0.200 (0.150–0.250), all 0.500."
    )
    [unclear] = weaknesses(measured(queries=queries(Interval(0.4, 0.2, 0.6))))
    assert unclear.endswith("which may be by chance.")
    assert (
        weaknesses(measured(queries={"q": result(part("all", mrr=around(0.5)), part("short", mrr=around(0.5)))})) == []
    )


def captions(counts):
    """counts: category → (captions, rank of each one's photo)."""
    categories = tuple((category,) for category, (n, _) in counts.items() for _ in range(n))
    ranks = np.array([rank for n, rank in counts.values() for _ in range(n)])
    found = result(part("text_to_image"), part("image_to_text"))
    return Captions(found, (), ranks, np.arange(len(ranks)), categories, np.eye(1), ())


def test_the_category_found_worst_is_named_where_it_has_captions_enough():
    [found] = weaknesses(measured(captions={"f": captions({"people": (80, 1), "count": (60, 4), "sport": (5, 9)})}))
    assert found.startswith(
        "f: of captions, those that speak of count are found worst: mrr@10 0.250 (0.250–0.250), all"
    )
    assert not found.endswith("chance.")


def test_they_stand_among_the_known_failures():
    searches = {"flickr": [Neutral("una persona", 50, around(0.3), 0.63)]}
    text = card(Model("a", 3, "c" * 64), Facts(), measured(neutral=searches))
    assert "## Known failures\n\nBy the figures of this card:\n\n- flickr: “una persona” finds fewer men" in text

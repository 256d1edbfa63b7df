"""The Italian names of ImageNet's classes: complete, told apart, and with the right articles."""

import numpy as np
import pytest

from clip_italian.data.class_names import DRAWN_TEMPLATES, imagenet


def test_there_are_a_thousand_classes_with_a_name_of_their_own():
    names = imagenet()
    assert len(names) == len({name.wnid for name in names}) == 1000
    assert len({name.form.name.casefold() for name in names}) == 1000
    assert [name.wnid for name in names] == sorted(name.wnid for name in names), "ILSVRC's order is that of WordNet ids"


def test_names_are_bare_and_clean():
    for name in imagenet():
        for form in (name.form, *name.others):
            assert form.name == form.name.strip() and form.name, name.wnid
            first = form.name.split()[0].casefold()
            assert first not in ("un", "uno", "una", "il", "lo", "la", "i", "gli", "le"), form.name


@pytest.mark.parametrize(
    ("wnid", "sentence"),
    [
        ("n01443537", "un pesce rosso"),
        ("n01484850", "uno squalo bianco"),
        ("n02364673", "un porcellino d'India"),
        ("n01614925", "un'aquila calva"),
        ("n04356056", "occhiali da sole"),
        ("n07873807", "una pizza"),
        ("n02391049", "una zebra"),
    ],
)
def test_names_take_the_article_that_italian_asks_for(wnid, sentence):
    [name] = [name for name in imagenet() if name.wnid == wnid]
    assert name.form.with_article() == sentence


def test_drawn_texts_are_among_the_possible_ones_and_vary():
    rng = np.random.default_rng(0)
    [pizza] = [name for name in imagenet() if name.wnid == "n07873807"]
    drawn = {pizza.text(rng) for _ in range(200)}
    assert drawn <= pizza.texts()
    assert len(drawn) >= len(set(DRAWN_TEMPLATES)) - 1
    assert "pizza" in drawn

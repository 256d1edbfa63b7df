import builtins
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_italian.corpus.quality import signals as module
from clip_italian.corpus.quality.chrf import chrf
from clip_italian.corpus.quality.measures import round_trip, similarities
from clip_italian.corpus.quality.plan import QualityPlan
from clip_italian.corpus.quality.signals import Signals, alarms, signals
from clip_italian.corpus.quality.wording import English, Italian, words
from clip_italian.errors import MissingExtra

pytest.importorskip("py3langid")
pytest.importorskip("simplemma")

PLAN = QualityPlan()
GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())["chrf"]

GOOD = [
    ("person walking down the aisle", "persona che cammina lungo la navata"),
    ("Two dogs run on the beach", "Due cani corrono sulla spiaggia"),
    ("A couple of kids play frisbee", "Due bambini giocano a frisbee"),
    ("A pair of shoes", "Due scarpe"),
    ("A man without a shirt", "Un uomo a torso nudo"),
    ("A shirtless man", "Un uomo senza maglietta"),
    ("A barefoot child", "Un bambino scalzo"),
    ("The boy doesn't smile", "Il ragazzo non sorride"),
    ("A boy in a Nike shirt in Central Park", "Un ragazzo con una maglietta Nike a Central Park"),
    ("A skateboarder in jeans", "Uno skateboarder in jeans"),
    ('A sign that says "keep out"', 'Un cartello con scritto "keep out"'),
    ("A crowd of 1,000 people", "Una folla di 1.000 persone"),
    ("a score of 2.5 points", "un punteggio di 2,5 punti"),
    ("Player number 07", "Il giocatore numero 7"),
    ("A man on a four-wheeler", "Un uomo su un quad"),
    ("A baby on all fours crawls", "Un bimbo a quattro zampe gattona"),
    ("An unmanned boat", "Una barca senza equipaggio"),
    ("a cat", "un gatto"),
]
BAD = [
    ("untranslated", "a black dog runs in the snow", "a black dog runs in the snow"),
    ("language", "a black dog runs in the snow", "a black dog runs in the snow"),
    ("language", "a black dog runs in the snow", "un perro negro corre por la nieve con las niñas"),
    ("untranslated", "a black dog runs in the snow", "un cane black corre nella neve"),
    ("numbers", "Two dogs run on the beach", "Tre cani corrono sulla spiaggia"),
    ("numbers", "Two dogs run on the beach", "Cani corrono sulla spiaggia chiara"),
    ("numbers", "Dogs run on the long beach", "Due cani corrono sulla spiaggia"),
    ("numbers", "Player number 17 throws", "Il giocatore numero 71 lancia"),
    ("negation", "A man without a helmet", "Un uomo con un casco"),
    ("negation", "A man with a helmet", "Un uomo senza casco"),
    ("negation", "A sleeveless shirt", "Una camicia a maniche"),
    ("length", "A black dog runs in the snow after a ball", "Un cane nero"),
    ("length", "A dog", "Un cane nero che corre felice sulla neve appena caduta"),
    ("cut", "A man with a hat on a bench", "Un uomo con un cappello su una"),
    ("cut", "A man with a hat on a bench", "Un uomo con un cappello dell'"),
    ("length", "", "Un cane"),
    ("length", "A dog", ""),
]


@pytest.mark.parametrize(("english", "italian"), GOOD)
def test_good_translations_raise_no_alarm(english, italian):
    assert alarms(signals([(english, italian)])[0], PLAN) == ()


@pytest.mark.parametrize(("alarm", "english", "italian"), BAD)
def test_bad_translations_raise_theirs(alarm, english, italian):
    assert alarm in alarms(signals([(english, italian)])[0], PLAN)


def test_what_is_measured():
    (found,) = signals([("Two dogs run on the beach", "Three dogs corrono sulla spiaggia")])
    assert found.copied == ("dogs",)
    assert found.untranslated == pytest.approx(1 / 5)
    assert (found.numbers_lost, found.numbers_kept) == (("2",), False)
    (found,) = signals([("abcd ef", "abc d e f g h")])
    assert found.length_ratio == pytest.approx(8 / 6)


@pytest.mark.parametrize(
    ("text", "required"),
    [
        ("two dogs and three cats", {"2", "3"}),
        ("a six-year-old with 2 balls", {"6", "2"}),
        ("12 of the twelve", {"12"}),
        ("one man with another one", set()),
        ("1,234,567 or 0.50", {"1234567", "0.50"}),
        ("a two-piece suit, a 4 wheeler", set()),
    ],
)
def test_english_numbers(text, required):
    assert English.numbers(text).required == required


@pytest.mark.parametrize(
    ("text", "required"),
    [
        ("due cani e tre gatti", {"2", "3"}),
        ("dell'undici maggio", {"11"}),
        ("un uomo e uno zaino", set()),
        ("Dodici persone, 1.234 sedie, 2,5 litri", {"12", "1234", "2.5"}),
        ("una coppia a quattro zampe", set()),
    ],
)
def test_italian_numbers(text, required):
    assert Italian.numbers(text).required == required


def test_words():
    assert words("L’uomo, dall'alto: città — T-shirt, foo_bar!") == [
        "L'uomo",
        "dall'alto",
        "città",
        "T",
        "shirt",
        "foo",
        "bar",
    ]


@pytest.mark.parametrize(
    "settings", [{"shortest": 2.0}, {"weights": "kappa"}, {"sample": 0}, {"untranslated": 1.5}, {"sampel": 10}]
)
def test_settings_are_checked(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        QualityPlan(**settings)


@given(st.text(), st.text())
def test_any_text_can_be_measured(english, italian):
    (found,) = signals([(english, italian)])
    assert isinstance(found, Signals)
    assert 0 <= found.untranslated <= 1
    alarms(found, PLAN)


def test_pairs_keep_their_order_and_stand_alone():
    pairs = [(english, italian) for english, italian in GOOD] + [(english, italian) for _, english, italian in BAD]
    assert signals(pairs) == [signals([pair])[0] for pair in pairs]
    assert signals([]) == []


def test_the_shared_language_identifier_keeps_its_languages():
    import py3langid

    signals([("a dog", "un cane")])
    assert py3langid.classify("Der schnelle braune Fuchs springt über den faulen Hund")[0] == "de"


@pytest.mark.parametrize(("library", "opener"), [("py3langid", "_identifier"), ("simplemma", "_simplemma")])
def test_a_missing_library(monkeypatch, library, opener):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == library:
            raise ModuleNotFoundError(name=library)
        return real(name, *args, **kwargs)

    getattr(module, opener).cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        MissingExtra, match=rf"need {library}, which is not installed; run: pip install 'clip-italian\[corpus\]'"
    ):
        signals([("a dog", "un cane")])


def test_on_captions_translated_with_care(shared):
    lines = (shared / "data" / "flickr8k-it" / "dev.jsonl").read_text("utf-8").splitlines()[:300]
    pairs = [(c["en"], c["it"]) for line in lines for c in json.loads(line)["captions"] if "it" in c]
    good = [bool(alarms(found, PLAN)) for found in signals(pairs)]
    assert np.mean(good) < 0.02
    untranslated = [bool(alarms(found, PLAN)) for found in signals([(en, en) for en, _ in pairs])]
    assert np.mean(untranslated) > 0.99
    halves = [(en, " ".join(it.split()[: len(it.split()) // 2])) for en, it in pairs]
    assert np.mean([bool(alarms(found, PLAN)) for found in signals(halves)]) > 0.9


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: case["hypothesis"][:12])
def test_chrf_as_sacrebleu(case):
    assert chrf(case["hypothesis"], case["reference"]) == pytest.approx(case["score"], abs=1e-12)


@given(st.text(max_size=30), st.text(max_size=30))
def test_chrf_is_a_share(one, other):
    assert 0 <= chrf(one, other) <= 1
    assert chrf(one, one) == pytest.approx(1 if one.split() else 0)


class Shouting:
    """A translator back that knows two sentences."""

    def translate(self, texts):
        return [{"un cane": "A DOG", "un gatto": "a tree"}[text] for text in texts]


def test_round_trip():
    scores = round_trip(Shouting(), [("a dog", "un cane"), ("a cat", "un gatto")])
    assert scores[0] == pytest.approx(1)
    assert scores[1] < 0.3
    assert round_trip(Shouting(), []).shape == (0,)


def test_a_translator_that_loses_a_text():
    class Losing:
        def translate(self, texts):
            return texts[1:]

    with pytest.raises(ValueError, match="gave 1 texts back for 2"):
        round_trip(Losing(), [("a dog", "un cane"), ("a cat", "un gatto")])


class Axes:
    """An encoder whose pictures and texts are names of axes; it remembers its batches."""

    name, dim, fingerprint = "axes", 3, "0" * 64

    def __init__(self):
        self.batches = []

    def encode_images(self, images):
        self.batches.append(len(images))
        return np.eye(3, dtype=np.float32)[[int(image) for image in images]]

    def encode_texts(self, texts):
        return np.eye(3, dtype=np.float32)[[int(text) for text in texts]]


def test_similarities_are_those_of_the_pairs():
    encoder = Axes()
    images, texts = ["0", "1", "2"] * 200, ["0", "2", "2"] * 200
    found = similarities(encoder, images, texts)
    assert found.dtype == np.float32
    assert found.tolist() == [1, 0, 1] * 200
    assert max(encoder.batches) <= 256
    assert similarities(encoder, [], []).shape == (0,)
    with pytest.raises(ValueError, match="600 pictures and 1 texts"):
        similarities(encoder, images, ["0"])

"""One caption per picture and epoch, and destra/sinistra in a mirrored one."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_italian.data.captions import draw, flippable, mirrorable, swap_left_right
from clip_italian.data.sample import Caption, ImageRef, Sample
from clip_italian.data.seeded import generator, uniforms
from clip_italian.errors import BadRecord


def sample_of(key: str, it: int = 2, en: int = 3, queries: int = 0) -> Sample:
    captions = [Caption(f"it{i}", "it") for i in range(it)] + [Caption(f"en{i}", "en") for i in range(en)]
    return Sample(key, ImageRef(Path("x.jpg")), tuple(captions), tuple(f"q{i}" for i in range(queries)))


SAMPLES = [sample_of(f"foto{i}.jpg") for i in range(4000)]


@given(st.permutations(range(60)))
def test_what_is_drawn_does_not_depend_on_order(order):
    straight = [draw(SAMPLES[i], seed=7, epoch=3) for i in range(60)]
    assert [draw(SAMPLES[i], seed=7, epoch=3) for i in order] == [straight[i] for i in order]


def test_what_is_drawn_does_not_depend_on_the_process():
    code = (
        "from pathlib import Path; from clip_italian.data.captions import draw\n"
        "from clip_italian.data.sample import Caption, ImageRef, Sample\n"
        "c = tuple(Caption(f'it{i}', 'it') for i in range(2)) + tuple(Caption(f'en{i}', 'en') for i in range(3))\n"
        "print(*(draw(Sample(f'foto{i}.jpg', ImageRef(Path('x')), c), seed=7, epoch=3).text for i in range(200)))"
    )
    here = [draw(SAMPLES[i], seed=7, epoch=3).text for i in range(200)]
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        there = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        )
        assert there.stdout.split() == here


def test_shares_are_the_asked_ones():
    counts = Counter(draw(sample, seed=1, epoch=0).text for sample in SAMPLES)
    expected = {"it0": 0.3, "it1": 0.3, "en0": 0.4 / 3, "en1": 0.4 / 3, "en2": 0.4 / 3}
    assert set(counts) == set(expected)
    for text, share in expected.items():
        assert abs(counts[text] / len(SAMPLES) - share) < 4 * (share * (1 - share) / len(SAMPLES)) ** 0.5


def test_epochs_and_seeds_draw_independently():
    first = [draw(sample, seed=1, epoch=0) for sample in SAMPLES]
    agreement = 2 * 0.3**2 + 3 * (0.4 / 3) ** 2
    for seed, epoch in ((1, 1), (1, 2), (2, 0)):
        same = sum(a == draw(s, seed=seed, epoch=epoch) for a, s in zip(first, SAMPLES, strict=True)) / len(SAMPLES)
        assert abs(same - agreement) < 0.035
    over_epochs = {draw(SAMPLES[0], seed=1, epoch=epoch).text for epoch in range(60)}
    assert over_epochs == {"it0", "it1", "en0", "en1", "en2"}


def test_a_language_that_is_lacking_gives_its_share_away():
    drawn = Counter(draw(sample_of(f"{i}", en=0), seed=0, epoch=0).text for i in range(400))
    assert set(drawn) == {"it0", "it1"}
    only_english = [draw(s, seed=0, epoch=0, languages={"it": 0, "en": 1}).language for s in SAMPLES[:200]]
    assert set(only_english) == {"en"}


def test_queries_are_drawn_as_often_as_asked():
    samples = [sample_of(f"{i}", queries=2) for i in range(2000)]
    drawn = [draw(s, seed=0, epoch=0, queries=0.25) for s in samples]
    share = sum(c.text.startswith("q") for c in drawn) / 2000
    assert abs(share - 0.25) < 0.04
    assert {c.text for c in drawn} >= {"q0", "q1"}
    assert {c.language for c in drawn if c.text.startswith("q")} == {"it"}
    rest = [c for c in drawn if not c.text.startswith("q")]
    assert abs(sum(c.language == "it" for c in rest) / len(rest) - 0.6) < 0.05
    assert not any(draw(s, seed=0, epoch=0).text.startswith("q") for s in samples)
    assert draw(SAMPLES[0], seed=0, epoch=0, queries=1.0).text[0] != "q"


def test_nothing_to_draw_is_said():
    with pytest.raises(
        BadRecord, match=r"^foto0\.jpg: has no caption in fr; leave it out or name one of its languages$"
    ):
        draw(SAMPLES[0], seed=0, epoch=0, languages={"fr": 1})


def test_generators_differ_by_every_name_and_repeat():
    names = [(0, 0, "a", "augment"), (1, 0, "a", "augment"), (0, 1, "a", "augment"), (0, 0, "b", "augment")]
    names += [(0, 0, "a", "other"), (0, 0, "augment", "a"), (0, 10, "a", "augment"), (10, 0, "a", "augment")]
    assert len({generator(*name).random() for name in names}) == len(names)
    assert generator(*names[0]).random() == generator(*names[0]).random()
    numbers = [u for i in range(3000) for u in uniforms(0, 0, str(i), "test")]
    assert 0 <= min(numbers) < 0.001 < 0.999 < max(numbers) < 1
    assert abs(sum(numbers) / len(numbers) - 0.5) < 0.01


SWAPS = [
    ("Un gatto a destra di un cane", "Un gatto a sinistra di un cane"),
    ("Due cerchi rossi a sinistra di una stella gialla", "Due cerchi rossi a destra di una stella gialla"),
    ("L'uomo a sinistra guarda la donna", "L'uomo a destra guarda la donna"),
    ("Una vasca sulla destra", "Una vasca sulla sinistra"),
    ("Un edificio alla sua sinistra", "Un edificio alla sua destra"),
    ("Da sinistra a destra: un cane, un gatto", "Da destra a sinistra: un cane, un gatto"),
    ("Un pannello sul lato sinistro", "Un pannello sul lato destro"),
    ("L'acqua gli bagna il braccio destro", "L'acqua gli bagna il braccio sinistro"),
    ("Guardano a sinistra, poi a destra", "Guardano a destra, poi a sinistra"),
    ("Gli occhi destri e le mani sinistre", "Gli occhi sinistri e le mani destre"),
    ("la zampa anteriore sinistra", "la zampa anteriore destra"),
    ("Sinistra e destra", "Destra e sinistra"),
    ("SVOLTA A DESTRA", "SVOLTA A SINISTRA"),
    ("in basso a sinistra", "in basso a destra"),
    ("nell'angolo in alto a destra.", "nell'angolo in alto a sinistra."),
    ("verso sinistra!", "verso destra!"),
    ("(a destra)", "(a sinistra)"),
    ("un'auto con guida a destra", "un'auto con guida a sinistra"),
    ("dx", "sx"),
    ("freccia a Dx", "freccia a Sx"),
    ("the dog on the left", "the dog on the right"),
    ("A man to the right of a car.", "A man to the left of a car."),
    ("to his left", "to his right"),
    ("Two men on her right side", "Two men on her left side"),
    ("on it's left side", "on it's right side"),
    ("a ball in his right hand", "a ball in his left hand"),
    ("Left hand up", "Right hand up"),
    ("raises left arm", "raises right arm"),
    ("a left-handed batter", "a right-handed batter"),
    ("making a right hand turn", "making a left hand turn"),
    ("no left turn", "no right turn"),
    ("from left to right", "from right to left"),
    ("looking left and right", "looking right and left"),
    ("left and right", "right and left"),
    ("a boy looks right.", "a boy looks left."),
    ("an arrow pointing left", "an arrow pointing right"),
    ("the leftmost boy", "the rightmost boy"),
    ("moving leftward", "moving rightward"),
    ("in the upper left corner", "in the upper right corner"),
    ("at lower right.", "at lower left."),
    ("the far right lane", "the far left lane"),
    ("licking its left front paw", "licking its right front paw"),
    ("grass on right and pavement on left.", "grass on left and pavement on right."),
    ("umpire on left interrupts", "umpire on right interrupts"),
    ("ON THE RIGHT", "ON THE LEFT"),
]

# Nothing here names a side, or not surely one: the text stays as it is.
KEPT_AND_FLIPPABLE = [
    "Un cane corre nella neve",
    "Un gesto maldestro",
    "Un destriero bianco al galoppo",
    "La destrezza del giocoliere",
    "Un giocoliere ambidestro",
    "A bright room",
    "A fighter in an upright stance",
    "Copyright text on a poster",
    "Leftovers on a plate",
    "She leafs through a book",
    "",
]
KEPT_AND_NOT_FLIPPABLE = [
    "The man has left the room",
    "A suitcase left outside",
    "A bus that was left running",
    "A beach right next to the sea",
    "The dog is right behind him",
    "All right",
    "the luggage is on right now",
    "wrapped up left overs of left over pizza",
    "a sign points right into the wall",
    "Un castello sinistro nella nebbia",
    "Un'aria sinistra",
    "Il luogo del sinistro",
    "Un giocatore mancino",
    "La lancetta gira in senso orario",
    "People walk counterclockwise",
    "a dEsTrA",
    "a deſtra",
]


@pytest.mark.parametrize(("text", "mirrored"), SWAPS)
def test_sides_are_exchanged(text, mirrored):
    assert swap_left_right(text) == mirrored
    assert swap_left_right(mirrored) == text
    assert flippable(text)
    assert flippable(mirrored)


@pytest.mark.parametrize("text", KEPT_AND_FLIPPABLE)
def test_texts_without_a_side_stay(text):
    assert swap_left_right(text) == text
    assert flippable(text)


@pytest.mark.parametrize("text", KEPT_AND_NOT_FLIPPABLE)
def test_doubtful_texts_stay_and_forbid_the_mirror(text):
    assert swap_left_right(text) == text
    assert not flippable(text)


@pytest.mark.parametrize(
    ("captions", "queries", "expected"),
    [
        ([("Un gatto a destra", "it"), ("a cat on the left", "en")], (), True),
        ([("Un gatto a destra", "it")], ("gatto a sinistra",), True),
        ([("Un gatto", "it"), ("un gato a la derecha", "es")], (), False),
        ([("un chat", "fr")], (), False),
        ([("Un gatto", "it"), ("ein Hund", "de")], (), False),
        ([("Un gatto", "it"), ("Un giocatore mancino", "it")], (), False),
        ([("Un gatto", "it")], ("mancino",), False),
        ([], (), True),
    ],
)
def test_a_picture_is_mirrored_where_all_that_is_told_of_it_can_be(captions, queries, expected):
    told = tuple(Caption(text, language) for text, language in captions)
    assert mirrorable(Sample("a", ImageRef(Path("a")), told, queries)) is expected


WORDS = [word for pair in SWAPS for text in pair for word in text.split()]
WORDS += ["Un", "un", "il", "aria", "luce", "senso", "orario", "mancino", "over", "overs", "now", "has", "towards"]
WORDS += ["immediate", "dEstra", "deſtra", "İ", "-", "'"]


@settings(max_examples=400)
@given(st.lists(st.sampled_from(WORDS), max_size=14), st.sampled_from([" ", "  ", "   ", "-"]))
def test_swapping_twice_gives_the_text_back(words, gap):
    text = gap.join(words)
    assert swap_left_right(swap_left_right(text)) == text
    assert flippable(swap_left_right(text)) == flippable(text)


@given(st.text(max_size=60))
def test_any_text_survives_two_swaps(text):
    assert swap_left_right(swap_left_right(text)) == text


def test_a_text_of_ten_thousand_letters_is_no_burden():
    text = "a destra e to the left " * 450
    assert swap_left_right(text) == "a sinistra e to the right " * 450
    assert flippable(text)


def test_sides_in_the_real_captions(shared):
    """Every Italian caption with a side is exchanged; the few left alone are doubtful English ones."""
    italian, english = [], []
    for name in ("flickr8k-it/train.jsonl", "coco-photos/train.jsonl"):
        for line in (shared / "data" / name).read_text("utf-8").splitlines():
            for caption in json.loads(line)["captions"]:
                italian.append(caption.get("it", ""))
                english.append(caption.get("en", ""))
    changed = [t for t in italian if swap_left_right(t) != t]
    assert len(changed) >= 60
    assert sum(not flippable(t) for t in italian) <= 5
    sides = [t for t in english if {"left", "right"} & set(t.lower().replace(".", " ").replace(",", " ").split())]
    exchanged = sum(swap_left_right(t) != t for t in sides)
    assert exchanged >= 0.7 * len(sides)
    assert all(swap_left_right(swap_left_right(t)) == t for t in italian + english)
    assert sum(not flippable(t) for t in english) <= len(sides)

"""Captions with the gender swapped, in correct Italian, and what is counted from them."""

import numpy as np
import pytest

from clip_italian.evaluation.card.gender import gender_shown, neutral_searches, swap, symmetry


@pytest.mark.parametrize(
    ("caption", "other"),
    [
        ("Un uomo seduto accanto a un cane", "Una donna seduta accanto a un cane"),
        ("L'uomo è sdraiato", "La donna è sdraiata"),
        ("Il cane dell'uomo", "Il cane della donna"),
        ("una palla lanciata dal ragazzo", "una palla lanciata dalla ragazza"),
        ("Un anziano uomo", "Un'anziana donna"),
        ("Una giovane donna bionda sorride", "Un giovane uomo biondo sorride"),
        ("Quest'uomo corre", "Questa donna corre"),
        ("Tre donne nude e vestite di rosso", "Tre uomini nudi e vestiti di rosso"),
        ("Gli uomini sono seduti", "Le donne sono sedute"),
        ("Un cane salta addosso alla bambina", "Un cane salta addosso al bambino"),
        ("Bambina con la coda", "Bambino con la coda"),
        ("Un piccolo bambino", "Una piccola bambina"),
        ("Un gruppo di donne", "Un gruppo di uomini"),
    ],
)
def test_a_caption_is_told_of_the_other_gender_and_back(caption, other):
    swapped = swap(caption)
    assert swapped is not None and swapped.other == other
    assert swap(other).other == caption.replace("Quest'uomo", "Questo uomo")
    assert {swapped.gender, swap(other).gender} == {"m", "f"}


@pytest.mark.parametrize(
    "caption",
    [
        "Un cane corre",
        "Un uomo e una donna",
        "Due bambini",  # boys and girls, perhaps
        "Una madre con la bambina",
        "Un uomo con il figlio",
        "Un uomo che sembra seduto",  # would have to change, too far away to be sure of
        "Due uomini, uno dietro l'altro",
        "Un gentiluomo",
    ],
)
def test_other_captions_are_left_alone(caption):
    assert swap(caption) is None


@pytest.mark.parametrize(
    ("captions", "shown"),
    [
        (["Un uomo corre", "Un tizio"], "m"),
        (["Una donna", "La signora"], "f"),
        (["Un uomo", "Una donna"], None),
        (["Due bambini"], None),
        (["Un cane"], None),
        ([], None),
    ],
)
def test_photos_show_the_gender_their_captions_agree_on(captions, shown):
    assert gender_shown(captions) == shown


class Words:
    """Texts are their words: what is done, in 30 directions, and the gender in one more, as heavy as it is given."""

    name, dim, fingerprint = "words", 32, "a" * 64

    def __init__(self, gender):
        self.gender = gender

    def encode_texts(self, texts):
        rows = np.zeros((len(texts), self.dim), np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[int(text.split()[-1]) if text[-1].isdigit() else 31] = 1
            row[30] = self.gender * (("uomo" in text) - ("donna" in text))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


MEN = [f"Un uomo fa {number}" for number in range(25)]
WOMEN = [f"Una donna fa {number}" for number in range(25)]
OWNERS = np.arange(50)


def test_an_encoder_that_knows_the_gender_prefers_captions_as_written():
    knows = Words(0.5)
    both = symmetry(knows, MEN + WOMEN, OWNERS, knows.encode_texts(MEN + WOMEN))
    for side in (both.men, both.women):
        assert side.n == 25
        values = {name: score.value for name, score in side.scores.items()}
        assert values == {
            "mrr@10": 1, "swapped mrr@10": 0.5, "first": 1, "stays first": 0, "closer as written": 1,
        }  # fmt: skip


def test_an_encoder_that_takes_everybody_for_a_man_is_found_out():
    knows = Words(0.5)
    gallery = knows.encode_texts(MEN + [text.replace("Una donna", "Un uomo") for text in WOMEN])
    both = symmetry(knows, MEN + WOMEN, OWNERS, gallery)
    assert both.men.scores["closer as written"].value == 1
    assert both.women.scores["closer as written"].value == 0


def test_with_too_few_of_one_gender_nothing_is_said():
    knows = Words(0.5)
    gallery = knows.encode_texts(MEN + WOMEN)
    assert symmetry(knows, MEN + WOMEN[:19], OWNERS[:44], gallery) is None


def test_searches_without_gender_count_who_comes_first():
    encoder = Words(0)
    towards_men = np.zeros((300, 32), np.float32)
    towards_men[:, 0], towards_men[:150, 31] = 1, 0.5
    towards_men[200:, 31] = 9  # of both, passed over
    captions = [["Un uomo"]] * 100 + [["Una donna"]] * 50 + [["Una donna"]] * 50 + [["Un uomo e una donna"]] * 100
    searches = neutral_searches(encoder, captions, towards_men)
    assert [round(one.share.value, 2) for one in searches] == [1, 1, 1, 1]
    assert searches[0].base == 0.5 and searches[0].first == 50
    assert neutral_searches(encoder, captions[:150], towards_men[:150]) == []

"""What captions speak of, by our lists of words."""

import pytest

from clip_italian.evaluation.card.categories import CATEGORIES, WORDS, categories_of


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Due cani neri corrono accanto a un bambino sulla spiaggia", "people animals places colour count position"),
        ("UN GIOCATORE di tennis serve", "people sport"),
        ("Un orsacchiotto sul letto", ""),  # no bear
        ("Un cagnolino in primo  piano", "animals position"),
        ("Una scritta verdeggiante", ""),  # whole words only
        ("All’interno di una chiesa", "places position"),
        ("Un giovane beve il caffè", "people"),
        ("Un uccello giovane", "animals"),
        ("", ""),
    ],
)
def test_captions_belong_to_every_category_they_name(caption, expected):
    assert categories_of(caption) == tuple(expected.split())


def test_every_word_of_every_list_is_found_alone():
    for category in CATEGORIES:
        first, *phrases = WORDS[category].split("|")
        for words in (*first.split(), *phrases):
            assert category in categories_of(f"qui {words.strip()} ora"), words

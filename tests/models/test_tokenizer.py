"""The wrapper around tokenizers: cutting, padding, and whose names are text."""

import pytest
import tokenizers
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, processors

from clip_italian.errors import BadModel
from clip_italian.models.tokenizer import Tokenizer
from clip_italian.models.tokenizer_training import train_tokenizer

WORDS = ["<s>", "<pad>", "</s>", "<unk>", "un", "gatto", "sul", "divano", "<", ">", "pad"]


def backend(words=WORDS, special=("<pad>", "<s>", "</s>")):
    built = tokenizers.Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, "<unk>"))
    built.pre_tokenizer = pre_tokenizers.Whitespace()
    built.add_special_tokens([word for word in special if word in words])
    built.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    return built


def test_pads_to_the_longest_and_says_what_is_real():
    ids, mask = Tokenizer(backend(), 10).encode(["un gatto", "un gatto sul divano"])
    assert ids.tolist() == [[0, 4, 5, 2, 1, 1], [0, 4, 5, 6, 7, 2]]
    assert mask.tolist() == [[True] * 4 + [False] * 2, [True] * 6]
    assert (ids.dtype, mask.dtype) == (torch.int64, torch.bool)


@given(st.lists(st.sampled_from(["un", "gatto", "cane"]), max_size=30), st.integers(3, 12))
def test_cuts_at_the_length_and_keeps_the_closing_mark(words, length):
    ids, mask = Tokenizer(backend(), length).encode([" ".join(words)])
    assert ids.shape == mask.shape == (1, min(len(words) + 2, length))
    assert (ids[0, 0], ids[0, -1]) == (0, 2)
    assert mask.all()


def test_ten_thousand_characters_are_cut():
    ids, _ = Tokenizer(backend(), 64).encode(["gatto " * 2000, ""])
    assert ids.shape == (2, 64)
    assert ids[1, :3].tolist() == [0, 2, 1]


def test_the_name_of_a_mark_in_a_text_is_text():
    ids, mask = Tokenizer(backend(), 10).encode(["un <pad>"])
    assert ids.tolist() == [[0, 4, 8, 10, 9, 2]]
    assert mask.all()


def test_the_given_backend_is_left_alone():
    own = backend()
    Tokenizer(own, 5)
    assert own.truncation is None
    assert own.padding is None


def test_a_backends_own_cutting_and_padding_do_not_count():
    own = backend()
    own.enable_truncation(4, direction="left")
    own.enable_padding(length=16, direction="left", pad_id=4)
    assert Tokenizer(own, 5).encode(["un gatto sul divano", "un"])[0].tolist() == [[0, 4, 5, 6, 2], [0, 4, 2, 1, 1]]


def test_size_counts_up_to_the_largest_id():
    built = tokenizers.Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": 1, "gatto": 90}, "<unk>"))
    assert Tokenizer(built, 5).size == 91


@pytest.mark.parametrize("length", [0, -1, 2, None, "64", 6.5])
def test_a_length_without_room_for_text_is_refused(length):
    with pytest.raises(BadModel, match="cannot be cut"):
        Tokenizer(backend(), length)


def test_a_tokenizer_without_padding_is_refused():
    with pytest.raises(BadModel, match="no padding piece"):
        Tokenizer(tokenizers.Tokenizer(models.WordLevel({"<unk>": 0, "gatto": 1}, "<unk>")), 5)


def test_what_no_piece_spells_is_told():
    some = Tokenizer(backend(), 10)
    assert some.fault("un gatto") is None and some.fault("un < gatto") is None
    assert some.fault("un cane") == 'cannot read "cane"' and some.fault("gatto кот") == 'cannot read "кот"'
    for text in ("", "  ", "< >"):
        assert some.fault(text) == f'finds no word in "{text}"'


def test_bytes_spell_everything_but_read_latin_letters_and_digits():
    some = Tokenizer(train_tokenizer(["un gatto nero", "due cerchi"] * 2, 300), 10)
    for text in ("gatto", "3", "più", "È", "gatto 🐕", "“gatto”…"):
        assert some.fault(text) is None
    for text, strange in (("un кот", "кот"), ("日本語", "日本語"), ("gatto犬", "gatto犬"), ("x" * 9 + "я" * 99, None)):
        assert some.fault(text) == f'cannot read "{strange or "x" * 9 + "я" * 30 + "…"}"'
    for text in ("🐕", "...", ""):
        assert some.fault(text) == f'finds no word in "{text}"'


def test_a_text_that_would_be_cut_is_told():
    some = Tokenizer(train_tokenizer(["un gatto nero", "due cerchi"] * 2, 300), 10)
    assert some.fault("gatto " * 8) is None
    assert some.fault("gatto " * 9) == "reads 10 pieces of a text, some 6 words, and this has more"


def test_what_is_typed_beside_words_changes_nothing():
    """Capitals, quotation marks, emoji, dots, marks without width, kinds of apostrophes, decomposed accents."""
    plain = "l'anatra nuota perché è felice"
    typed = (
        "L'ANATRA NUOTA PERCHÉ È FELICE",
        "“L’anatra nuota perché è felice…”",
        "🦆 l`anatra nuota perché è felice 🏊🏽‍♂️",
        "l'ana\u00adtra\u200b nuota perche\u0301 e\u0300 felice...",
        "«l´anatra  nuota\tperché è felice»",
    )
    some = Tokenizer(train_tokenizer([plain] * 2, 300), 40)
    assert all((some.arrays([text])[0] == some.arrays([plain])[0]).all() for text in typed)

from hypothesis import given
from hypothesis import strategies as st

from clip_italian.corpus.translation.wording import LONGEST, parts


def test_an_ordinary_text_is_one_part_without_the_space_around_it():
    assert parts("  A dog. A cat!\n") == ["A dog. A cat!"]


def test_a_blank_text_has_no_parts():
    assert parts("") == parts(" \t\n\u00a0") == []


def test_a_long_text_is_cut_at_sentence_ends():
    sentence = "A dog runs on the beach with a ball. "
    found = parts(sentence * 100)
    assert len(found) > 1 and all(part.endswith("ball.") for part in found)


def test_a_long_sentence_is_cut_at_spaces_and_a_long_word_anywhere():
    assert all(part.endswith("dog") for part in parts("dog " * 1000))
    assert parts("x" * 2500) == ["x" * LONGEST, "x" * LONGEST, "x" * 500]


def test_half_a_surrogate_pair_becomes_something_that_can_be_sent():
    assert parts("a \ud83d dog") == ["a ? dog"]


@given(st.text(alphabet=st.sampled_from("ab. !\n\u3000è"), max_size=5000) | st.text())
def test_nothing_but_space_is_lost_and_no_part_is_long(text: str):
    found = parts(text)
    assert all(0 < len(part) <= LONGEST and part == part.strip() for part in found)
    assert "".join("".join(found).split()) == "".join(text.encode("utf-8", "replace").decode().split())


def test_a_megabyte_is_cut_in_no_time_worth_mentioning():
    assert sum(map(len, parts("A dog. " * 150_000))) > 900_000

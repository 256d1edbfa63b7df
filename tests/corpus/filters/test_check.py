import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from clip_italian.corpus.filters.check import LONGEST, Filters, Verdict
from clip_italian.corpus.filters.plan import RULES, FilterPlan


@pytest.fixture(scope="module")
def filters() -> Filters:
    return Filters(FilterPlan())


def test_the_text_comes_back_cleaned_whether_kept_or_not(filters: Filters) -> None:
    texts = ["Un <b>gatto</b>  nero[3]", "Kim Rhodes[1]"]
    assert filters.check(texts) == [Verdict("Un gatto nero", ""), Verdict("Kim Rhodes", "proper nouns")]


def test_the_first_rule_that_refuses_is_the_reason(filters: Filters) -> None:
    both = "Foto: Anna Bo, anna@example.org"  # a credit and an address
    assert filters.check([both])[0].reason == "personal data"
    assert RULES.index("personal data") < RULES.index("credit")
    assert Filters(FilterPlan(without=("personal data", "url"))).check([both])[0].reason == "credit"


@pytest.mark.parametrize(
    ("settings_", "text", "reason"),
    [
        ({"min_words": 2}, "Tramonto", "too short"),
        ({"max_words": 3}, "Un gatto nero dorme", "too long"),
        ({"max_characters": 5}, "Un gatto", "too long"),
        ({"max_run": 1}, "un un gatto", "repeated"),
        ({"min_letters": 0.99}, "gatto 1", "few letters"),
        ({"proper_nouns": 0.5}, "Ritratto di Giuseppe Garibaldi", "proper nouns"),
        ({"without": ("proper nouns", "language")}, "Kim Rhodes", ""),
    ],
)
def test_settings_move_the_limits(settings_: dict[str, object], text: str, reason: str) -> None:
    assert Filters(FilterPlan(**settings_)).check([text])[0].reason == reason


@pytest.mark.parametrize(
    "settings_",
    [
        {"min_word": 2},
        {"proper_nouns": 1.5},
        {"tagger": "spaCy"},
        {"without": ("nouns",)},
        {"min_words": 9, "max_words": 3},
    ],
)
def test_a_wrong_plan_is_refused(settings_: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FilterPlan(**settings_)


def test_every_rule_can_be_left_out() -> None:
    assert Filters(FilterPlan(without=RULES)).check(["", "IMG_1234.jpg"]) == [
        Verdict("", ""),
        Verdict("IMG_1234.jpg", ""),
    ]


def test_english_captions_are_asked_the_rules_that_fit(filters: Filters) -> None:
    texts = ["A dog runs on the beach", "Photo by John Smith", "Kim Rhodes", "Un gatto dorme sul divano"]
    assert [verdict.reason for verdict in filters.check(texts, "en")] == ["", "credit", "", "language"]


def test_another_language_is_an_error(filters: Filters) -> None:
    with pytest.raises(ValueError, match="it, en, es"):
        filters.check(["Ein Hund"], "de")


def test_filters_go_to_other_processes() -> None:
    plan = FilterPlan(max_words=3)
    again = pickle.loads(pickle.dumps(Filters(plan)))
    assert again.plan == plan
    assert again.check(["Un gatto nero dorme"])[0].reason == "too long"


@given(st.text(st.characters(codec=None), max_size=200), st.sampled_from(["it", "en", "es"]))
@settings(max_examples=300, deadline=None)
def test_any_text_gets_a_verdict_and_what_is_kept_is_kept_again(filters: Filters, text: str, language: str) -> None:
    verdict = filters.check([text], language)[0]
    assert verdict.reason in ("", *RULES)
    assert filters.check([verdict.text], language)[0] == verdict


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["1-", "AB12 ", "a.", "via ", "tel. 0 ", "+1 ", "a@a.", "Dora ", "L'", "a_", "foto: "])
def test_a_megabyte_is_too_long_and_no_pattern_runs_away(filters: Filters, unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    verdict = filters.check([text])[0]
    assert verdict.reason == "too long" and len(verdict.text) <= filters.plan.max_characters
    patient = Filters(FilterPlan(max_characters=10**9, max_words=10**9))
    assert patient.check([text[:LONGEST]])[0].reason in ("", *RULES)

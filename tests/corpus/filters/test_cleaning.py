import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_italian.corpus.filters.cleaning import clean

MARKUP = (
    *("<", ">", "</", "<b>", "<ref>", "</ref>", "<!--", "-->", "&", "&amp;", "&lt;", "&#38;", "&#x26;", ";", "amp;"),
    *("[[", "]]", "[", "]", "|", "{{", "}}", "{|", "'", "''", "=", "==", "[27]", "File:", "thumb|", "*", "#", ":"),
    *("(", ")", "Foto: ", "__"),
    *("\u200b", "\ufeff", "\ud800", "\udc00", "e", "\u0301", "\u037e", "\u00a0", "\n", " ", "parola", "«", "’"),
    *("`", ",", "."),
)  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("Un  gatto\n nero\u00a0dorme", "Un gatto nero dorme"),
        ("La citt&agrave; &amp;egrave; bella", "La città è bella"),
        ("Il castello[27] di Fénis[nota 1] [senza fonte]", "Il castello di Fénis"),
        ("citta\u0300 vecchia", "città vecchia"),
        ("Il [[Colosseo|grande anfiteatro]] di [[Roma]]", "Il grande anfiteatro di Roma"),
        ("'''Torre''' ''pendente''", "Torre pendente"),
        ("thumb|left|upright=1.2|Veduta del porto", "Veduta del porto"),
        ("[[File:Gatto.jpg|thumb|200px]] Un gatto {{senza fonte|2010}}", "Un gatto"),
        ('Un cane<ref name="a">Rossi, p. 3</ref> corre<br/>via', "Un cane corre via"),
        ("<script>alert(1)</script>Ponte <i>romano</i>", "Ponte romano"),
        ("«L’isola» “di” Capri", '"L\'isola" "di" Capri'),
        ("* Una barca", "Una barca"),
        ("[https://example.org il faro] di notte", "il faro di notte"),
        ("Una folla in piazza (AP Photo/Anna Bo)", "Una folla in piazza"),
        ("Una folla in piazza. (Mario Rossi/Getty Images)", "Una folla in piazza."),
        ("Un gatto (foto di Mario Rossi)", "Un gatto"),
        ("Un gatto nero (a destra)", "Un gatto nero (a destra)"),
        ("Superficie: 12 km² < 15 km²", "Superficie: 12 km² < 15 km²"),
        ("La partita finì 3-2 [video]", "La partita finì 3-2 [video]"),
        ("gatto\ud800 nero\u200b", "gatto nero"),
    ],
)
def test_what_a_reader_sees_stays(raw: str, wanted: str) -> None:
    assert clean(raw) == wanted


@given(st.one_of(st.text(st.characters(codec=None)), st.lists(st.sampled_from(MARKUP), max_size=40).map("".join)))
@settings(max_examples=400, deadline=None)
def test_cleaning_twice_changes_nothing_and_the_result_can_be_written(raw: str) -> None:
    cleaned = clean(raw)
    assert clean(cleaned) == cleaned
    assert cleaned == " ".join(cleaned.split())
    cleaned.encode("utf-8")


# Each would take minutes to hours with a pattern that looks back; the time-out is the assertion.
@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit", ["<", "<ref>", "[[", "[[a|", "{{", "&#38;", "'''", "==", "[//a ", "( ", "(Foto: ", "\u0301", "<!--"]
)
def test_a_megabyte_of_anything_is_cleaned(unit: str) -> None:
    raw = unit * (1_000_000 // len(unit))
    cleaned = clean(raw)
    assert len(cleaned) <= len(raw)
    assert clean(cleaned) == cleaned

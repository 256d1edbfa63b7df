"""Italian grammar against phrases written by hand."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_italian.italian import TEMPLATES, Noun, agree, articulated, definite, indefinite, number, phrase, there_is

INDEFINITE = [
    "un gatto", "un albero", "un uomo", "un uovo", "un hotel", "un esagono", "un anello", "un iceberg", "un whisky",
    "uno scoiattolo", "uno zaino", "uno gnomo", "uno psicologo", "uno xilofono", "uno yogurt", "uno iettatore",
    "uno pneumatico", "uno sciatore", "uno pterodattilo", "uno Zorro", "uno shampoo", "un sole",
    "un piccolo scoiattolo", "un grande uomo", "uno strano gatto", "un calzino", "un gufo", "un pesce rosso",
]  # fmt: skip
INDEFINITE_FEMININE = [
    "una stella", "un'aquila", "un'onda", "un'ora", "una zebra", "una iena", "una yurta", "una scatola",
    "una psicologa", "un'elica", "un'isola", "una grande arancia", "un'arancia grande", "un'hostess", "una gnoma",
]  # fmt: skip
DEFINITE = [
    ("il gatto", "i gatti"), ("lo zio", "gli zii"), ("l'albero", "gli alberi"), ("lo gnu", "gli gnu"),
    ("lo scoiattolo", "gli scoiattoli"), ("l'uomo", "gli uomini"), ("lo yacht", "gli yacht"), ("lo iodio", "gli iodi"),
    ("lo psicologo", "gli psicologi"), ("lo xenofobo", "gli xenofobi"), ("il sasso", "i sassi"),
    ("l'hotel", "gli hotel"), ("il piccolo zaino", "i piccoli zaini"), ("lo spicchio", "gli spicchi"),
    ("l'io", "gli io"), ("il jeans", "i jeans"),
]  # fmt: skip
DEFINITE_FEMININE = [
    ("la stella", "le stelle"), ("l'onda", "le onde"), ("l'erba", "le erbe"), ("la iena", "le iene"),
    ("la zebra", "le zebre"), ("la scarpa", "le scarpe"), ("l'università", "le università"),
]  # fmt: skip
ARTICULATED = [
    ("di", "gatto", "m", False, "del gatto"), ("di", "zaino", "m", False, "dello zaino"),
    ("di", "albero", "m", False, "dell'albero"), ("di", "gatti", "m", True, "dei gatti"),
    ("di", "alberi", "m", True, "degli alberi"), ("di", "stella", "f", False, "della stella"),
    ("di", "onda", "f", False, "dell'onda"), ("di", "onde", "f", True, "delle onde"),
    ("a", "mare", "m", False, "al mare"), ("a", "specchio", "m", False, "allo specchio"),
    ("a", "ombra", "f", False, "all'ombra"), ("a", "zoo", "m", False, "allo zoo"), ("a", "mari", "m", True, "ai mari"),
    ("da", "dentista", "m", False, "dal dentista"), ("da", "stelle", "f", True, "dalle stelle"),
    ("da", "psicologi", "m", True, "dagli psicologi"), ("in", "mare", "m", False, "nel mare"),
    ("in", "acqua", "f", False, "nell'acqua"), ("in", "stagno", "m", False, "nello stagno"),
    ("in", "boschi", "m", True, "nei boschi"), ("in", "case", "f", True, "nelle case"),
    ("su", "tavolo", "m", False, "sul tavolo"), ("su", "erba", "f", False, "sull'erba"),
    ("su", "scogli", "m", True, "sugli scogli"), ("su", "sedia", "f", False, "sulla sedia"),
    ("su", "tetti", "m", True, "sui tetti"), ("di", "dei", "m", True, "degli dei"),
]  # fmt: skip
ADJECTIVES = [  # masculine and feminine, singular and plural
    "rosso rossa rossi rosse", "verde verde verdi verdi", "blu blu blu blu", "viola viola viola viola",
    "rosa rosa rosa rosa", "beige beige beige beige", "bianco bianca bianchi bianche", "grigio grigia grigi grigie",
    "largo larga larghi larghe", "vecchio vecchia vecchi vecchie", "marrone marrone marroni marroni",
    "arancione arancione arancioni arancioni", "liscio liscia lisci lisce", "saggio saggia saggi sagge",
    "magnifico magnifica magnifici magnifiche", "antico antica antichi antiche", "sporco sporca sporchi sporche",
    "opaco opaca opachi opache", "austriaco austriaca austriaci austriache", "greco greca greci greche",
    "pio pia pii pie", "egoista egoista egoisti egoiste", "sexy sexy sexy sexy", "grande grande grandi grandi",
    "sudicio sudicia sudici sudicie", "dolce dolce dolci dolci", "selvaggio selvaggia selvaggi selvagge",
]  # fmt: skip

CERCHIO, STELLA, ONDA = Noun("cerchio", "cerchi", "m"), Noun("stella", "stelle", "f"), Noun("onda", "onde", "f")
SCUDO, ANELLO = Noun("scudo", "scudi", "m"), Noun("anello", "anelli", "m")
PHRASES = [
    ((1, CERCHIO), "un cerchio"),
    ((1, SCUDO), "uno scudo"),
    ((1, SCUDO, "piccolo"), "un piccolo scudo"),
    ((1, ONDA, None, "rosso"), "un'onda rossa"),
    ((1, ONDA, "grande", "rosso"), "una grande onda rossa"),
    ((2, CERCHIO, "piccolo", "rosso"), "due piccoli cerchi rossi"),
    ((3, STELLA, "grande", "bianco"), "tre grandi stelle bianche"),
    ((4, STELLA, None, "grigio"), "quattro stelle grigie"),
    ((5, ANELLO, None, "bianco"), "cinque anelli bianchi"),
    ((6, STELLA, "piccolo", "viola"), "sei piccole stelle viola"),
    ((10, ONDA, None, "arancione"), "dieci onde arancioni"),
]


@pytest.mark.parametrize(("phrases", "gender"), [(INDEFINITE, "m"), (INDEFINITE_FEMININE, "f")])
def test_indefinite_article(phrases, gender):
    bare = [text.split("'")[1] if text.startswith("un'") else text.split(" ", 1)[1] for text in phrases]
    assert [indefinite(words, gender) for words in bare] == phrases


@pytest.mark.parametrize(("pairs", "gender"), [(DEFINITE, "m"), (DEFINITE_FEMININE, "f")])
def test_definite_article(pairs, gender):
    for singular, plural in pairs:
        bare = singular.split("'")[1] if "'" in singular else singular.split(" ", 1)[1]
        assert definite(bare, gender) == singular
        assert definite(plural.split(" ", 1)[1], gender, plural=True) == plural


@pytest.mark.parametrize(("preposition", "words", "gender", "plural", "expected"), ARTICULATED)
def test_articulated_preposition(preposition, words, gender, plural, expected):
    assert articulated(preposition, words, gender, plural=plural) == expected


@pytest.mark.parametrize("forms", ADJECTIVES)
def test_adjective_agrees(forms):
    adjective = forms.split()[0]
    assert [agree(adjective, g, plural=p) for p in (False, True) for g in ("m", "f")] == forms.split()


def test_compound_colours_never_change():
    assert agree("verde scuro", "f", plural=True) == "verde scuro"


@pytest.mark.parametrize(("arguments", "expected"), PHRASES)
def test_phrase(arguments, expected):
    assert phrase(*arguments) == expected


def test_phrase_with_the_size_last():
    assert phrase(2, CERCHIO, "piccolo", "rosso", size_first=False) == "due cerchi rossi piccoli"
    assert phrase(1, ONDA, "piccolo", "blu", size_first=False) == "un'onda blu piccola"
    assert phrase(1, SCUDO, "grande", size_first=False) == "uno scudo grande"


def test_numbers_and_there_is():
    assert [number(n) for n in range(2, 8)] == ["due", "tre", "quattro", "cinque", "sei", "sette"]
    assert (there_is(1), there_is(2)) == ("c'è", "ci sono")
    for wrong in (-1, 0, 1, 11):
        with pytest.raises(ValueError, match="2 to 10"):
            number(wrong)


def test_templates_take_a_noun_phrase_with_its_article():
    assert len(set(TEMPLATES)) == len(TEMPLATES)
    assert all(template.count("{}") == 1 for template in TEMPLATES)
    assert "una foto di un'aquila" in [template.format("un'aquila") for template in TEMPLATES]


def test_templates_take_plurals_too():
    singular_alone = {"c'è", "vede", "visibile", "compare", "mostrato", "fotografato"}
    for template in TEMPLATES:
        before, after = template.split("{}")
        assert not singular_alone & set(f"{before} {after}".split()), template
    assert "la foto mostra occhiali da sole" in [template.format("occhiali da sole") for template in TEMPLATES]


@given(st.text(max_size=12), st.sampled_from("mf"), st.booleans())
def test_any_text_keeps_its_words(words, gender, plural):
    for said in (indefinite(words, gender), definite(words, gender, plural=plural), articulated("su", words, gender)):
        assert said.endswith(words)
        assert len(said) > len(words)

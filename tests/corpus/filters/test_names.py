"""The proper-noun rule: the paper's examples, captions labelled by hand, spaCy's seam, real captions."""

import json
from pathlib import Path

import pytest

from clip_italian.corpus.filters.lexicon import Lexicon, lexicon
from clip_italian.corpus.filters.names import NameRule, open_tagger, proper_share
from clip_italian.corpus.filters.tagger import load_tagger
from clip_italian.errors import BadModel

PAPER = ("Dora Riparia", "Anna Maria Mozzoni", "Joey Ramone Place", "Kim Rhodes", "Ralph George Hawtrey")


def labelled(part: str) -> list[tuple[bool, str]]:
    lines = (Path(__file__).parent / "captions_labelled.tsv").read_text("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")][1:]
    return [(remove == "1", text) for where, remove, _, text in rows if where == part]


@pytest.fixture(scope="module")
def rule() -> NameRule:
    return NameRule()


@pytest.mark.parametrize("text", PAPER)
def test_the_papers_examples_go(rule: NameRule, text: str) -> None:
    assert rule.refuses(text) and rule.refuses(text.lower()) and rule.refuses(text.upper())


def test_the_papers_names_are_not_in_the_lists() -> None:
    assert not {"riparia", "mozzoni", "ramone", "rhodes", "hawtrey"} & lexicon().marks.keys()


def test_300_captions_are_labelled() -> None:
    assert (len(labelled("dev")), len(labelled("test"))) == (100, 200)


def test_precision_and_recall_on_the_test_part(rule: NameRule) -> None:
    said = [(rule.refuses(text), remove) for remove, text in labelled("test")]
    right, alarms, missed = (said.count(pair) for pair in ((True, True), (True, False), (False, True)))
    assert right / (right + alarms) >= 0.95
    assert right / (right + missed) >= 0.85


@pytest.mark.parametrize(
    ("tagged", "share"),
    [
        ([], 0.0),
        ([(",", "PUNCT"), ("1980", "NUM")], 0.0),
        ([("Roma", "PROPN"), (",", "PUNCT"), ("Italia", "PROPN"), ("1980", "NUM")], 1.0),
        ([("L'", "DET"), ("Aquila", "PROPN")], 1.0),
        ([("Leonardo", "PROPN"), ("da", "ADP"), ("Vinci", "PROPN")], 1.0),
        ([("Anna", "PROPN"), ("a", "ADP"), ("Roma", "PROPN")], 2 / 3),
        ([("Piazza", "PROPN"), ("Navona", "PROPN")], 1 / 2),
        ([("Pancho", "PROPN"), ("Villa", "PROPN")], 1.0),
        ([("Giovanni", "PROPN"), ("XXIII", "NUM")], 1.0),
        ([("Ritratto", "NOUN"), ("di", "ADP"), ("Anna", "PROPN")], 1 / 3),
    ],
)
def test_what_is_counted(tagged: list[tuple[str, str]], share: float) -> None:
    assert proper_share(tagged, lexicon()) == pytest.approx(share)


def test_the_quick_answer_never_differs_from_the_tagger(rule: NameRule) -> None:
    for _, text in labelled("dev") + labelled("test"):
        for way in (str, str.lower, str.upper, str.title):
            written = way(text)
            slow = proper_share(load_tagger().tag([written])[0], lexicon()) >= rule.threshold
            assert rule.refuses(written) <= slow, written


def test_real_captions_stay(rule: NameRule, shared: Path) -> None:
    lines = (shared / "data" / "flickr8k-it" / "dev.jsonl").read_text("utf-8").splitlines()
    texts = [one["it"] for line in lines for one in json.loads(line)["captions"] if "it" in one]
    assert len(texts) > 1000
    for way in (str, str.lower, str.title):
        assert [text for text in texts if rule.refuses(way(text))] == []


def saved_pipeline(folder: Path, tags: dict[str, str]) -> str:
    """Save a spaCy pipeline that tags by a table, and everything else as NOUN."""
    spacy = pytest.importorskip("spacy")
    pipeline = spacy.blank("it")
    ruler = pipeline.add_pipe("attribute_ruler")
    ruler.add([[{"IS_ALPHA": True}], [{"IS_PUNCT": True}]][0:1], {"POS": "NOUN"})
    ruler.add([[{"IS_PUNCT": True}]], {"POS": "PUNCT"})
    for word, tag in tags.items():
        ruler.add([[{"ORTH": word}]], {"POS": tag})
    pipeline.to_disk(folder)
    return f"spacy:{folder}"


def test_spacys_tags_are_taken(tmp_path: Path) -> None:
    name = saved_pipeline(tmp_path / "pipeline", {"Qwert": "PROPN", "Zuiop": "PROPN", "di": "ADP"})
    rule = NameRule(name)
    assert rule.tagger.tag(["Qwert, gatto"]) == [[("Qwert", "PROPN"), (",", "PUNCT"), ("gatto", "NOUN")]]
    assert rule.refuses("Qwert Zuiop") and rule.refuses("Qwert di Zuiop")
    assert not rule.refuses("gatto Zuiop") and not rule.refuses("Kim Rhodes")  # not what our own would say


def test_a_pipeline_that_tags_nothing_is_an_error(tmp_path: Path) -> None:
    spacy = pytest.importorskip("spacy")
    spacy.blank("it").to_disk(tmp_path / "blank")
    with pytest.raises(BadModel, match="no parts of speech"):
        NameRule(f"spacy:{tmp_path / 'blank'}").refuses("Dora Riparia")


def test_a_missing_pipeline_says_how_to_get_it() -> None:
    pytest.importorskip("spacy")
    with pytest.raises(BadModel, match="spacy download it_not_there"):
        open_tagger("spacy:it_not_there")


def test_auto_takes_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clip_italian.corpus.filters.names.find_spec", lambda name: None)
    assert open_tagger("auto") is load_tagger()


def test_an_empty_lexicon_has_no_kinds() -> None:
    empty = Lexicon({}, frozenset(), frozenset())
    assert proper_share([("Piazza", "PROPN"), ("Navona", "PROPN")], empty) == 1.0

import gzip
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from clip_italian.corpus.filters import tagger as tagger_module
from clip_italian.corpus.filters.lexicon import entries, inflected, lexicon, words
from clip_italian.corpus.filters.tagger import TAGS, Tagger, load_tagger, save_weights
from clip_italian.corpus.filters.tokens import case_mode, tokenize
from clip_italian.corpus.filters.train_tagger import accuracy, train
from clip_italian.corpus.filters.treebank import read_treebank
from clip_italian.errors import BadModel, BadRecord

LINE = "{}\t{}\t_\t{}\t_\t_\t_\t_\t_\t_"
SMALL = [
    [("Il", "DET"), ("gatto", "NOUN"), ("dorme", "VERB"), (".", "PUNCT")],
    [("Anna", "PROPN"), ("mangia", "VERB"), ("una", "DET"), ("mela", "NOUN")],
]


def test_a_treebank_is_read_as_it_is_written(tmp_path: Path) -> None:
    rows = [
        *(
            "# text = dell'arte",
            "1-2\tdell'\t" + "\t".join("_" * 8),
            LINE.format(1, "di", "ADP"),
            LINE.format(2, "l'", "DET"),
        ),
        *(LINE.format(3, "arte", "NOUN"), LINE.format("3.1", "fantasma", "VERB"), "", LINE.format(1, "Roma", "PROPN")),
    ]
    wanted = [[("dell'", "ADP"), ("arte", "NOUN")], [("Roma", "PROPN")]]
    (tmp_path / "a.conllu").write_text("\n".join(rows), "utf-8")
    (tmp_path / "a.conllu.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    assert read_treebank(tmp_path / "a.conllu") == read_treebank(tmp_path / "a.conllu.gz") == wanted


def test_a_broken_treebank_says_where(tmp_path: Path) -> None:
    (tmp_path / "a.conllu").write_text(LINE.format(1, "Roma", "PROPN") + "\n2\tcut", "utf-8")
    with pytest.raises(BadRecord, match=r"a\.conllu:2: 2 columns"):
        read_treebank(tmp_path / "a.conllu")
    (tmp_path / "a.conllu.gz").write_bytes(gzip.compress(b"x" * 1000)[:20])
    with pytest.raises(BadRecord, match=r"a\.conllu\.gz"):
        read_treebank(tmp_path / "a.conllu.gz")


def test_training_learns_its_sentences_and_is_reproducible(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("clip_italian.corpus.filters.examples._phrases", lambda rng, count: [])
    first, again, other = (train(SMALL * 4, seed=seed, rounds=8) for seed in (1, 1, 2))
    assert accuracy(first, SMALL) == 1.0
    np.testing.assert_array_equal(first.weights, again.weights)
    assert list(first.rows) == list(again.rows)
    assert not (first.weights.shape == other.weights.shape and (first.weights == other.weights).all())
    for name, one in (("a", first), ("b", again)):
        save_weights(tmp_path / f"{name}.npz", one.rows, one.weights)
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert all((a[key] == b[key]).all() for key in a.files)


def test_weights_come_back_rounded(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(5, len(TAGS))).astype(np.float32)
    weights[2] = 0
    save_weights(tmp_path / "w.npz", {f"f{i}": i for i in range(5)}, weights)
    with (tmp_path / "w.npz").open("rb") as stream:
        rows, read = tagger_module._read_weights(stream)
    assert list(rows) == ["f0", "f1", "f3", "f4"]
    np.testing.assert_allclose(read, weights[[0, 1, 3, 4]], atol=np.abs(weights).max() / 127)


def test_broken_weights_are_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tagger.npz").write_bytes(b"PK\x03\x04 not weights")
    monkeypatch.setattr(tagger_module.resources, "files", lambda package: tmp_path)
    tagger_module.load_tagger.cache_clear()
    try:
        with pytest.raises(BadModel, match="install the package anew"):
            load_tagger()
    finally:
        tagger_module.load_tagger.cache_clear()


def test_the_weights_of_the_package_are_small() -> None:
    path = resources.files(tagger_module.__package__).joinpath(tagger_module.WEIGHTS)
    assert 100_000 < len(path.read_bytes()) < 2_000_000


@pytest.mark.parametrize(
    ("text", "tags"),
    [
        ("Il presidente ha parlato a Roma.", "DET NOUN AUX VERB ADP PROPN PUNCT"),
        ("la chiesa di San Marco", "DET NOUN ADP PROPN PROPN"),
        ("3 € 1980", "NUM SYM NUM"),
        ("", ""),
    ],
)
def test_plain_sentences(text: str, tags: str) -> None:
    assert [tag for _, tag in load_tagger().tag([text])[0]] == tags.split()


def test_the_weights_do_what_the_card_says(shared: Path) -> None:
    tagger: Tagger = load_tagger()
    ud = shared / "data" / "italian" / "ud"
    assert accuracy(tagger, read_treebank(ud / "it_markit-ud-test.conllu.gz")) > 0.92
    assert accuracy(tagger, read_treebank(ud / "it_isdt-ud-test.conllu.gz")[:200]) > 0.90


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        *(("Un gatto", "mixed"), ("un gatto", "lower"), ("UN GATTO", "upper"), ("Gatto Nero", "title"), ("", "lower")),
        *(("Roma", "mixed"), ("Leonardo da Vinci", "title"), ("Gatto di Roma", "title"), ("12", "lower")),
    ],
)
def test_how_a_text_is_written(text: str, mode: str) -> None:
    assert case_mode(tokenize(text)) == mode


def test_words_are_split_as_the_treebanks_do() -> None:
    assert tokenize("L'isola de' Medici, l'800!") == ["L'", "isola", "de'", "Medici", ",", "l'", "800", "!"]


def test_the_lists_are_lower_case_and_say_each_word_once() -> None:
    for name in ("first_names", "surnames", "places", "brands", "either", "kinds", "particles"):
        found = words(name)
        assert len(found) == len(set(found)), [word for word in found if found.count(word) > 1]
        assert [word for word in found if word != word.lower()] == []


def test_forms_of_words() -> None:
    assert {"gatto", "gatti"} <= set(inflected("gatto", "noun"))
    assert {"bianco", "bianca", "bianchi", "bianche"} <= set(inflected("bianco", "adjective"))
    assert {"spiaggia", "spiagge"} <= set(inflected("spiaggia", "noun"))
    assert {"gioca", "giocano", "giochi", "giocando"} <= set(inflected("giocare", "verb"))
    assert {kind for kind, _ in entries()} == {"noun", "adjective", "verb", "word"}
    assert lexicon().marks["rosa"] == "e" and lexicon().never_name("divano") and lexicon().marks["torino"] == "p"

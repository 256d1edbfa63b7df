"""The Italian names of ImageNet's classes: complete, told apart, and with the right articles."""

import numpy as np
import pytest

from clip_italian.data.class_names import DRAWN_TEMPLATES, Form, imagenet, read_class_names
from clip_italian.errors import BadLabels


def test_there_are_a_thousand_classes_with_a_name_of_their_own():
    names = imagenet()
    assert len(names) == len({name.wnid for name in names}) == 1000
    assert len({name.form.name.casefold() for name in names}) == 1000
    assert [name.wnid for name in names] == sorted(name.wnid for name in names), "ILSVRC's order is that of WordNet ids"


def test_names_are_bare_and_clean():
    for name in imagenet():
        for form in (name.form, *name.others):
            assert form.name == form.name.strip() and form.name, name.wnid
            first = form.name.split()[0].casefold()
            assert first not in ("un", "uno", "una", "il", "lo", "la", "i", "gli", "le"), form.name


@pytest.mark.parametrize(
    ("wnid", "sentence"),
    [
        ("n01443537", "un pesce rosso"),
        ("n01484850", "uno squalo bianco"),
        ("n02364673", "un porcellino d'India"),
        ("n01614925", "un'aquila calva"),
        ("n04356056", "occhiali da sole"),
        ("n07873807", "una pizza"),
        ("n02391049", "una zebra"),
    ],
)
def test_names_take_the_article_that_italian_asks_for(wnid, sentence):
    [name] = [name for name in imagenet() if name.wnid == wnid]
    assert name.form.with_article() == sentence


def test_drawn_texts_are_among_the_possible_ones_and_vary():
    rng = np.random.default_rng(0)
    [pizza] = [name for name in imagenet() if name.wnid == "n07873807"]
    drawn = {pizza.text(rng) for _ in range(200)}
    assert drawn <= pizza.texts()
    assert len(drawn) >= len(set(DRAWN_TEMPLATES)) - 1
    assert "pizza" in drawn


@pytest.fixture
def rows():
    """A table of all classes, as a person may write it; an own kind stands before some of the other names."""
    return [f"{name.wnid}\tfs\tcosa {number}\t" for number, name in enumerate(imagenet())]


@pytest.fixture
def table(tmp_path):
    def write(lines, **how):
        (tmp_path / "nomi.tsv").write_text("\n".join(lines), **({"encoding": "utf-8"} | how))
        return tmp_path / "nomi.tsv"

    return write


def test_a_table_of_ones_own_is_read_with_its_kinds(rows, table):
    rows[0] += "altra cosa | ms:oggetto|mp: arnesi"
    rows[1] = rows[1].rstrip("\t")
    names = read_class_names(table(["wnid\tkind\tname\tothers", *rows, ""], encoding="utf-8-sig"))
    assert [name.wnid for name in names] == [name.wnid for name in imagenet()]
    assert names[0].form == Form("cosa 0", "f", False) and names[1].others == ()
    assert names[0].others == (Form("altra cosa", "f", False), Form("oggetto", "m", False), Form("arnesi", "m", True))
    assert {"cosa 0", "una foto di una cosa 0", "qui si vede un oggetto", "arnesi in primo piano"} <= names[0].texts()


def test_the_packages_own_table_reads_alike(table):
    kinds = {("m", False): "ms", ("f", False): "fs", ("m", True): "mp", ("f", True): "fp"}
    lines = [
        f"{name.wnid}\t{kinds[name.form.gender, name.form.plural]}\t{name.form.name}\t"
        + "|".join(f"{kinds[form.gender, form.plural]}:{form.name}" for form in name.others)
        for name in imagenet()
    ]
    assert read_class_names(table(lines)) == imagenet()


@pytest.mark.parametrize(
    ("place", "row", "message"),
    [
        (4, "n01491361\tf\tsqualo", r"line 4: 'f' is no gender and number; write ms, fs, mp or fp"),
        (4, "n01491361\tms\tsqualo\tfx:squala", r"line 4: 'fx' is no gender"),
        (4, "n01491361\tms\tsqualo\tfs:", r"line 4: no name comes after fs:"),
        (4, "n01491361 ms squalo", r"line 4: write a WordNet id, ms, fs, mp or fp, a name"),
        (4, "n01491361\tms\t ", r"line 4: write a WordNet id"),
        (4, "n01491361\tms\tsqualo\t\tpesce", r"line 4: write a WordNet id"),
        (4, "n01440764\tms\ttinca", r"line 4: has n01440764 where n01491361 \(squalo tigre\) belongs"),
        (1, "id\tkind\tname", r"line 1: 'kind' is no gender"),
    ],
)
def test_a_wrong_row_is_told_by_its_line(rows, table, place, row, message):
    rows[place - 1] = row
    with pytest.raises(BadLabels, match=message):
        read_class_names(table(rows))


def test_a_table_names_every_class_and_no_more(rows, table):
    with pytest.raises(BadLabels, match=r"ends after 999 of 1,000 classes; the next is n15075141"):
        read_class_names(table(rows[:-1]))
    with pytest.raises(BadLabels, match=r"line 1001: n99999999 is one class too many"):
        read_class_names(table([*rows, "n99999999\tfs\tcosa"]))


def test_a_table_that_cannot_be_read_is_told(rows, table, tmp_path):
    with pytest.raises(BadLabels, match=r"nulla.tsv: cannot be read .*; check the name"):
        read_class_names(tmp_path / "nulla.tsv")
    rows[3] += "città"
    with pytest.raises(BadLabels, match="is not UTF-8 text"):
        read_class_names(table(rows, encoding="latin-1"))

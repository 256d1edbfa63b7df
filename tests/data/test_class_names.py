"""The Italian names of ImageNet's classes: complete, told apart, and with the right articles."""

import gzip

import numpy as np
import pytest

from clip_italian.data.class_names import (
    DRAWN_TEMPLATES,
    LABEL_SETS,
    Form,
    imagenet,
    label_set,
    read_class_names,
)
from clip_italian.errors import BadLabels


def test_there_are_a_thousand_classes_with_a_name_of_their_own():
    names = imagenet()
    assert len(names) == len({name.wnid for name in names}) == 1000
    assert len({name.form.name.casefold() for name in names}) == 1000
    assert [name.wnid for name in names] == sorted(name.wnid for name in names), "ILSVRC's order is that of WordNet ids"


SIZES = {
    "imagenet": 1000, "tiny-imagenet": 200, "imagenette": 10, "cifar10": 10, "cifar100": 100, "coco": 80, "places": 90,
}  # fmt: skip


@pytest.mark.parametrize("which", LABEL_SETS)
def test_no_two_classes_of_a_set_share_a_name_or_an_id(which):
    names = label_set(which)
    assert len(names) == SIZES[which] == len({name.wnid for name in names})
    firsts = [name.form.with_article().casefold() for name in names]
    assert len(set(firsts)) == len(firsts)
    owners = {}  # another name of a class is no name of a class beside it
    for number, name in enumerate(names):
        for form in (name.form, *name.others):
            assert owners.setdefault(form.name.casefold(), number) == number, form.name


def test_sets_keep_their_data_sets_order():
    assert [one.wnid for one in label_set("cifar10")][:3] == ["airplane", "automobile", "bird"]
    for which in ("cifar100", "tiny-imagenet", "imagenette"):
        ids = [one.wnid for one in label_set(which)]
        assert ids == sorted(ids), which
    assert [one.wnid for one in label_set("coco")][::79] == ["person", "toothbrush"]
    assert label_set("tiny-imagenet")[0] == imagenet()[1] and imagenet()[1].form.name == "pesce rosso"


def test_tiny_imagenet_has_the_wnids_of_the_data(shared):
    wnids = (shared / "data" / "tiny-imagenet" / "wnids.txt").read_text().split()
    assert [one.wnid for one in label_set("tiny-imagenet")] == wnids


def test_the_doc_names_every_set(request):
    text = (request.config.rootpath / "docs" / "labels.md").read_text("utf-8")
    for which in LABEL_SETS:
        row = next(line for line in text.splitlines() if line.startswith("|") and f"`{which}`" in line)
        assert f"{SIZES[which]:,}" in row


def test_an_unknown_set_is_told_with_the_known_ones():
    with pytest.raises(BadLabels, match=r"imagenot: no such set of class names; there are imagenet, tiny-imagenet"):
        label_set("imagenot")


@pytest.mark.parametrize("which", LABEL_SETS)
def test_names_are_bare_and_clean(which):
    for name in label_set(which):
        for form in (name.form, *name.others):
            assert form.name == form.name.strip() and form.name, name.wnid
            first = form.name.split()[0].casefold()
            assert first not in ("un", "uno", "una", "il", "lo", "la", "i", "gli", "le"), form.name


@pytest.mark.parametrize("which", LABEL_SETS)
def test_genders_are_those_of_the_dictionary(shared, which):
    """The first word decides; Apertium's table knows it, though not every word of every name."""
    genders: dict[str, set[str]] = {}
    with gzip.open(
        shared / "data" / "italian" / "apertium_it_nouns_adjectives.tsv.gz", "rt", encoding="utf-8"
    ) as lines:
        for form, _, tags in (line.rstrip("\n").split("\t") for line in lines):
            if tags.startswith("n."):
                genders.setdefault(form.casefold(), set()).add(tags)
    known = 0
    for name in label_set(which):
        for form in (name.form, *name.others):
            tags = genders.get(form.name.split()[0].casefold())
            if not tags or form.name.split()[0] in ("lama", "golf", "TV", "portafogli", "luna"):
                continue
            known += 1
            number = "pl" if form.plural else "sg"
            fits = (tag.split(".")[1:] for tag in tags)
            assert any(form.gender in parts[0] and parts[-1] in (number, "sp") for parts in fits), (form, tags)
    assert known > len(label_set(which)) / 2


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

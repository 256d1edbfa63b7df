"""Conceptual Captions, Commons, Flickr, folders, JSON lines, and the choice among sources in a plan."""

import gzip
import json
import tarfile
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from clip_italian.corpus.record import Record
from clip_italian.corpus.sources import SourcePlan
from clip_italian.corpus.sources.commons import Commons, file_address
from clip_italian.corpus.sources.conceptual_captions import ConceptualCaptions
from clip_italian.corpus.sources.flickr import Flickr
from clip_italian.corpus.sources.json_lines import JsonLines
from clip_italian.corpus.sources.sidecars import Folder
from clip_italian.errors import BadRecord


def read(source, root):
    messages: list[str] = []
    records = list(source.records(root, messages.append))
    for record in records:
        assert Record.from_json(json.loads(json.dumps(record.to_json()))) == record
    return records, messages


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


# Conceptual Captions


def test_conceptual_captions(tmp_path):
    path = tmp_path / "Train_GCC-training.tsv"
    path.write_bytes(
        b"a very typical bus station\thttp://x.org/1.jpg\n"
        b'" quoted " text\thttp://x.org/2.jpg\r\n'
        b"labelled\thttp://x.org/3.jpg\tcat,dog\t/m/1,/m/2\t.9,.8\n"
        b"no address\n"
        b"three\thttp://x.org/4.jpg\tthree\n"
        b"\thttp://x.org/5.jpg\n"
        b"caff\xe8\thttp://x.org/6.jpg\n"
        b"bad\thttp:///6.jpg\n"
        b"last\thttp://x.org/7.jpg"
    )
    records, messages = read(ConceptualCaptions(), tmp_path)
    assert [record.image[-5] for record in records] == ["1", "2", "3", "7"]
    assert records[1].captions[0].text == '" quoted " text'
    assert {(c.language, c.origin) for r in records for c in r.captions} == {("en", "written")}
    assert [message.split(":")[1] for message in messages] == ["4", "5", "6", "7", "8"]
    assert records[0].key == records[0].image
    assert records[0].attribution


def test_conceptual_12m_has_the_other_order(tmp_path):
    (tmp_path / "cc12m.tsv").write_text("http://x.org/1.jpg\ta cat\n")
    [record], _ = read(ConceptualCaptions(files=("cc12m.tsv",), columns="address-caption"), tmp_path)
    assert (record.image, record.captions[0].text) == ("http://x.org/1.jpg", "a cat")


# Wikimedia Commons


def statement(value, **more):
    return {"mainsnak": {"snaktype": "value", "datavalue": {"value": value}}, "type": "statement", **more}


def entity(number=76, title="File:Diogo Costa.jpg", labels=None, **statements):
    labels = {"it": "Un uomo"} if labels is None else labels
    return {
        "type": "mediainfo",
        "id": f"M{number}",
        "title": title,
        "labels": {code: {"language": code, "value": text} for code, text in labels.items()} or [],
        "statements": statements or [],
    }


AUTHOR = {"mainsnak": {"snaktype": "somevalue"}, "qualifiers": {"P2093": [{"datavalue": {"value": "Ada"}}]}}


def test_commons_dump(tmp_path):
    entities = [
        entity(1, labels={}),
        entity(2, labels={"it": "Una  chiesa", "en": "A church"}, P275=[statement({"id": "Q18199165"})], P170=[AUTHOR]),
        entity(3, title="File:Suono.ogg"),
        entity(4, P6216=[statement({"id": "Q19652"})], P170=[statement({"id": "Q5"})]),
        entity(5, P275=[statement({"id": "Q1"})], P170="odd"),
        {**entity(6), "title": None},
        {**entity(7), "labels": {"it": {"language": "it", "value": ""}}},
        {**entity(8), "statements": "odd"},
    ]
    text = "[\n" + ",\n".join(json.dumps(e) for e in entities) + ',\n{"labels": {"it": broken\n]\n'
    (tmp_path / "commons-20240101-mediainfo.json.gz").write_bytes(gzip.compress(text.encode()))
    records, messages = read(Commons(languages=("it", "en")), tmp_path)
    assert [record.key for record in records] == ["M2", "M4", "M5"]
    assert [(c.language, c.text) for c in records[0].captions] == [("it", "Una chiesa"), ("en", "A church")]
    assert records[0].image == file_address("Diogo_Costa.jpg")
    assert records[0].page == "https://commons.wikimedia.org/wiki/File:Diogo_Costa.jpg"
    assert [record.licence for record in records] == [
        "CC-BY-SA-4.0",
        "https://creativecommons.org/publicdomain/mark/1.0/",
        "https://www.wikidata.org/wiki/Q1",
    ]
    assert [record.attribution for record in records] == ["Ada", "https://www.wikidata.org/wiki/Q5", "Diogo Costa.jpg"]
    assert [message.split(":")[1] for message in messages] == ["7", "8", "9", "10"]


@pytest.mark.parametrize(
    ("name", "path"),
    [  # as the files' own pages have them
        ("Michael Jordan UNC Jersey cropped.jpg", "6/6a/Michael_Jordan_UNC_Jersey_cropped.jpg"),
        ("Example.jpg", "a/a9/Example.jpg"),
        ("Bispen_-_inside.jpg", "4/45/Bispen_-_inside.jpg"),
    ],
)
def test_where_commons_keeps_files(name, path):
    assert file_address(name) == f"https://upload.wikimedia.org/wikipedia/commons/{path}"


# Flickr8k and Flickr30k

TOKENS = (
    "1000268201_693b08cb0e.jpg#0\tA child in a pink dress .\n"
    "1000268201_693b08cb0e.jpg#1\tA girl going into a house .\n"
    "2258277193_586949ec62.jpg.1#0\tPeople on horses .\n"
    "no tab here\n"
    "1002674143_1b742ab4b8.jpg#0\t\n"
    "1002674143_1b742ab4b8.jpg#1\tA little girl .\n"
    "1000268201_693b08cb0e.jpg#2\tOnce more .\n"
)


def test_flickr8k_tokens(tmp_path):
    (tmp_path / "Flickr8k.token.txt").write_text(TOKENS)
    for name in ("1000268201_693b08cb0e.jpg", "1002674143_1b742ab4b8.jpg"):
        photo(tmp_path / "images" / name)
    records, messages = read(Flickr(), tmp_path)
    assert [(r.key, [c.text for c in r.captions]) for r in records] == [
        ("1000268201_693b08cb0e.jpg", ["A child in a pink dress .", "A girl going into a house ."]),
        ("1002674143_1b742ab4b8.jpg", ["A little girl ."]),
    ]
    assert records[0].image == "images/1000268201_693b08cb0e.jpg"
    assert records[0].page == "https://www.flickr.com/photo.gne?id=1000268201"
    assert sorted(message.split(":")[1] for message in messages) == ["3", "4", "5", "7"]
    (tmp_path / "train.txt").write_text("1002674143_1b742ab4b8.jpg\n")
    [only], _ = read(Flickr(only="train.txt"), tmp_path)
    assert only.key == "1002674143_1b742ab4b8.jpg"


def test_flickr30k_results(tmp_path):
    (tmp_path / "results.csv").write_text(
        "image_name| comment_number| comment\n"
        "1000092795.jpg| 0| Two young guys , with | a bar .\n"
        "2199200615.jpg| 3| A dog runs .\n"
        "2199200615.jpg| 4   A dog runs across the grass .\n"
    )
    photo(tmp_path / "p" / "1000092795.jpg")
    photo(tmp_path / "p" / "2199200615.jpg")
    with tarfile.open(tmp_path / "photos.tar", "w") as tar:
        tar.add(tmp_path / "p", "p")
    records, messages = read(Flickr(kind="flickr30k", images="photos.tar"), tmp_path)
    assert not messages
    assert [[c.text for c in r.captions] for r in records] == [
        ["Two young guys , with | a bar ."],
        ["A dog runs .", "A dog runs across the grass ."],
    ]
    assert records[0].image == "photos.tar#p/1000092795.jpg"
    assert records[0].source == "flickr30k"


def test_flickr_with_commas(tmp_path):
    (tmp_path / "captions.txt").write_text('image,caption\n1000268201_a.jpg,"A child , ""so"" small"\n')
    photo(tmp_path / "images" / "1000268201_a.jpg")
    [record], messages = read(Flickr(files=("captions.txt",)), tmp_path)
    assert record.captions[0].text == 'A child , "so" small'
    assert not messages
    with pytest.raises(BadRecord, match="no such file"):
        read(Flickr(), tmp_path)


# Folders


def test_folder(tmp_path):
    photo(tmp_path / "foto" / "mare" / "a.jpg")
    (tmp_path / "foto" / "mare" / "a.txt").write_text("Il mare\n\nUna barca\n")
    photo(tmp_path / "foto" / "b.png")
    photo(tmp_path / "foto" / "c.png")
    (tmp_path / "foto" / "c.txt").write_bytes(b"citt\xe0")
    photo(tmp_path / "foto" / "d.png")
    (tmp_path / "foto" / "d.txt").write_text("x" * 6000)
    records, messages = read(Folder(folder="foto", licence="CC0-1.0", attribution="Ada"), tmp_path)
    [record] = records
    assert (record.key, record.image) == ("foto/mare/a.jpg", "foto/mare/a.jpg")
    assert [c.text for c in record.captions] == ["Il mare", "Una barca"]
    assert (record.licence, record.attribution) == ("CC0-1.0", "Ada")
    assert len(messages) == 3
    with pytest.raises(BadRecord, match="no such folder"):
        read(Folder(folder="no"), tmp_path)


# JSON lines


def test_json_lines(tmp_path):
    lines = [
        {
            "image_path": "a.jpg",
            "captions": ["Un gatto", {"it": "Un cane", "en": "A dog"}],
            "licence": "CC0-1.0",
            "n": 1,
        },
        {"image_path": "b.tar#b.jpg", "captions": [{"it": "Un topo", "en": "A mouse", "engine": "deepl"}]},
        {
            "image_path": "https://x.org/c.jpg",
            "captions": [{"it": "Una nave", "origin": "translated", "validated": True}],
        },
        {"image_path": "a.jpg", "captions": ["Ancora"]},
        {"image_path": "d.jpg", "captions": []},
        {"image_path": "e.jpg", "captions": [7]},
        {"captions": ["Un gatto"]},
        {"image_path": "ftp://x.org/c.jpg", "captions": ["Un gatto"]},
        {"image_path": "f.jpg", "captions": [{"fr": "Un chat"}]},
    ]
    folder = tmp_path / "lists"
    folder.mkdir()
    text = "\n".join(json.dumps(line) for line in lines) + "\n[]\n{broken\n"
    (folder / "x.jsonl").write_bytes(text.encode() + b'{"image_path": "\xff"}\n')
    records, messages = read(JsonLines(files=("lists/*.jsonl",), attribution="Ada"), tmp_path)
    assert [record.image for record in records] == ["lists/a.jpg", "lists/b.tar#b.jpg", "https://x.org/c.jpg"]
    first, second, third = records
    assert [(c.language, c.text, c.origin) for c in first.captions] == [
        ("it", "Un gatto", "written"),
        ("it", "Un cane", "written"),
        ("en", "A dog", "written"),
    ]
    assert (first.licence, first.attribution, dict(first.extra)) == ("CC0-1.0", "Ada", {"n": 1})
    mouse = second.captions[0]
    assert (mouse.origin, mouse.engine, mouse.original, mouse.validated) == ("translated", "deepl", "A mouse", False)
    ship = third.captions[0]
    assert (ship.origin, ship.engine, ship.original, ship.validated) == ("translated", "", "", True)
    assert [message.split(":")[1] for message in messages] == [str(n) for n in range(4, 13)]


def test_the_real_json_lines(shared):
    records, messages = read(JsonLines(files=("dev.jsonl",)), shared / "data" / "flickr8k-it")
    assert not messages
    assert len(records) == 1000
    assert all(record.image.startswith("images-dev-") for record in records)


# Plans


def test_a_plan_tells_sources_by_their_kind():
    plan = TypeAdapter(SourcePlan)
    kinds = [
        kind
        for source in get_args(get_args(SourcePlan)[0])
        for kind in get_args(source.model_fields["kind"].annotation)
    ]
    assert kinds == [
        "wit",
        "mscoco-it",
        "conceptual-captions",
        "foto-del-giorno",
        "commons",
        "flickr8k",
        "flickr30k",
        "folder",
        "json-lines",
    ]
    for kind in kinds:
        source = plan.validate_python({"kind": kind})
        assert source.kind == kind
        assert plan.validate_python(source.model_dump()) == source
        missing = "foto-del-giorno"  # it has nothing to miss
        if kind != missing:
            with pytest.raises(BadRecord, match=r"no such|holds no"):
                list(source.records(Path("/nowhere"), print))
    with pytest.raises(ValidationError):
        plan.validate_python({"kind": "wit", "filez": ["a"]})

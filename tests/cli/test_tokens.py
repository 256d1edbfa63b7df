"""`clip-italian tokens`: which texts it reads, and what it says of files it cannot read."""

import gzip
import json

import pytest
import typer
from typer.testing import CliRunner

from clip_italian.cli.tokens import register
from clip_italian.errors import BadRecord
from clip_italian.models.towers import trim


@pytest.fixture
def corpora(monkeypatch):
    """What the command hands to `choose_pieces`, which is tested with the towers."""
    seen = []

    def choose(given):
        seen.extend((list(texts), minimum) for texts, minimum in given)
        return ["▁gatto", "▁mare"]

    monkeypatch.setattr(trim, "choose_pieces", choose)
    return seen


def run(*arguments):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_reads_every_form_of_text_and_writes_the_list(tmp_path, corpora):
    record = {
        "image_path": "a.jpg", "captions": ["un gatto", {"it": "il mare", "en": "the sea", "id": 7}],
        "queries": ["pizza"],
    }  # fmt: skip
    (tmp_path / "a.jsonl").write_text(json.dumps(record) + "\n" + json.dumps({"captions": "solo"}) + "\n{}\n", "utf-8")
    (tmp_path / "b.tsv.gz").write_bytes(gzip.compress(b"due\ttwo\ntre\tthree\n"))
    (tmp_path / "c.txt").write_text("perché\n", "utf-8")
    done = run(
        f"{tmp_path}/a.jsonl:3", f"{tmp_path}/b.tsv.gz:5", f"{tmp_path}/c.txt", "--out", tmp_path / "pieces.txt.gz"
    )
    assert done.exit_code == 0, done.output
    assert corpora == [
        (["un gatto", "il mare", "the sea", "pizza", "solo"], 3),
        (["due", "two", "tre", "three"], 5),
        (["perché"], 1),
    ]
    assert "2 pieces written" in done.output
    assert gzip.decompress((tmp_path / "pieces.txt.gz").read_bytes()).decode() == "▁gatto\n▁mare"


@pytest.mark.parametrize("name", ["none.txt", "none.txt:4"])
def test_a_missing_file_is_a_wrong_argument(tmp_path, corpora, name):
    done = run(tmp_path / name, "--out", tmp_path / "out.gz")
    assert done.exit_code == 2
    assert "no such file" in " ".join(done.output.replace("│", " ").split())
    assert not (tmp_path / "out.gz").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'{"captions": ["x"]}\n{"captions'),
        ("a.jsonl", b'{"captions": ["x"]}\n[1]\n'),
        ("a.txt", b"uno\n" * 5000 + b"\xff\xfe\n"),
        ("a.txt.gz", gzip.compress(b"uno\n" * 5000)[:-20]),
        ("a.txt.gz", b"uno\n"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(tmp_path, corpora, name, content):
    (tmp_path / name).write_bytes(content)
    done = run(tmp_path / name, "--out", tmp_path / "out.gz")
    assert isinstance(done.exception, BadRecord)
    assert str(done.exception).startswith(f"{tmp_path / name}: cannot be read after line ")
    assert not (tmp_path / "out.gz").exists()

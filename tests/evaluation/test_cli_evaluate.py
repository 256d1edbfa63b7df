import io
import json
import tarfile

import pytest
import typer
from typer.testing import CliRunner

from clip_italian.cli import evaluate
from clip_italian.errors import BadLabels
from clip_italian.italian import TEMPLATES


@pytest.fixture
def run(opened_by_name):
    app = typer.Typer()
    evaluate.register(app)

    def invoke(*arguments):
        return CliRunner().invoke(app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "120"})

    return invoke


@pytest.fixture
def captioned(paint, tmp_path):
    records = []
    for name, colour in (("r.png", "rosso"), ("g.png", "verde"), ("b.png", "blu"), ("x.png", "rotto")):
        paint(name, colour)
        records.append({"image_path": name, "captions": [{"it": f"un quadro {colour}", "en": "a painting"}]})
    path = tmp_path / "dev.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_retrieval_end_to_end(run, captioned, tmp_path):
    done = run("retrieval", "--model", "colours", "--data", captioned, "--json", tmp_path / "out" / "scores.json")
    assert done.exit_code == 0, done.output
    scores = json.loads((tmp_path / "out" / "scores.json").read_text())
    assert scores["mrr@1"] == scores["image_to_text/recall@1"] == {"value": 1, "low": 1, "high": 1}
    assert (scores["n_queries"], scores["n_images"], scores["model"]) == (3, 3, "c" * 64)
    assert len(scores["skipped"]) == 1
    assert "1.000 [1.000–1.000]" in done.stdout and "text to image (3)" in done.stdout
    assert "1 left out" in done.stderr and "not a picture" in done.stderr
    again = tmp_path / "again.json"
    assert run("retrieval", "--model", "colours", "--data", captioned, "--json", again).exit_code == 0
    assert json.loads(again.read_text()) == scores


def test_retrieval_in_another_language(run, captioned, tmp_path):
    path = tmp_path / "scores.json"
    run("retrieval", "--model", "colours", "--data", captioned, "--language", "en", "--json", path)
    assert json.loads(path.read_text())["mrr@1"]["value"] == 0  # "a painting" names no colour: everything ties


def test_zero_shot_end_to_end(run, paint, tmp_path):
    archive = tmp_path / "dev.tar"
    with tarfile.open(archive, "w") as tar:
        for index, colour in enumerate(("rosso", "verde", "blu")):
            _add(tar, f"{index}.png", paint(f"{index}.png", colour).read_bytes())
            _add(tar, f"{index}.cls", str(min(index, 1)).encode())  # the blue one is called green
    out = tmp_path / "scores.json"
    arguments = ("zero-shot", "--model", "colours", "--images", archive)
    done = run(*arguments, "--labels", "rosso,verde,blu", "--template", "foto di {}", "--template", "{}", "--json", out)
    assert done.exit_code == 0, done.output
    scores = json.loads(out.read_text())
    assert scores["accuracy@1"]["value"] == pytest.approx(2 / 3)
    assert scores["settings"]["templates"] == ["foto di {}", "{}"] and scores["n_images"] == 3
    refused = run(*arguments, "--labels", "rosso,rosso")
    assert isinstance(refused.exception, BadLabels)


def test_zero_shot_on_a_folder_with_a_table_and_a_set_of_names(run, paint, tmp_path):
    for name in ("a.png", "b.png"):
        paint(f"album/{name}", "rosso")
    (tmp_path / "album.tsv").write_text("file\twnid\na.png\tcat\nb.png\tdog\n")
    out, again = tmp_path / "scores.json", tmp_path / "again.json"
    arguments = ("zero-shot", "--model", "colours", "--images", tmp_path / "album", "--labels", "cifar10")
    done = run(*arguments, "--json", out)
    assert done.exit_code == 0, done.output
    scores = json.loads(out.read_text())
    assert scores["n_images"] == 2 and scores["settings"]["n_classes"] == 10
    assert scores["settings"]["templates"] == list(TEMPLATES)
    (tmp_path / "album.tsv").rename(tmp_path / "mine.tsv")
    assert isinstance(run(*arguments).exception, BadLabels)  # no class for any picture
    assert run(*arguments, "--classes", tmp_path / "mine.tsv", "--json", again).exit_code == 0
    assert json.loads(again.read_text()) == scores
    unknown = run(*arguments[:-1], "cifar")
    assert isinstance(unknown.exception, BadLabels) and "cifar10, cifar100" in str(unknown.exception)


def test_queries_end_to_end(run, paint, tmp_path):
    for name, colour in (("r.png", "rosso"), ("g.png", "verde"), ("b.png", "blu")):
        paint(f"album/{name}", colour)
    paint("album/ro\udcfftto\x1b.jpg", "rotto")  # a name that is no Unicode
    queries = tmp_path / "queries.tsv"
    queries.write_text("rosso\tr.png\tshort\nun prato verde\tg.png|b.png\tdescriptive\n")
    out = tmp_path / "scores.json"
    done = run("queries", "--model", "colours", "--photos", tmp_path / "album", "--queries", queries, "--json", out)
    assert done.exit_code == 0, done.output
    scores = json.loads(out.read_text())
    assert scores["mrr@10"]["value"] == 1 and scores["descriptive/recall@1"]["value"] == 0.5
    assert "descriptive (1)" in done.stdout
    assert scores["skipped"] == [{"key": r"ro\xfftto\x1b.jpg", "reason": "not a picture"}]


def test_wrong_arguments_end_with_two(run, tmp_path):
    assert run("retrieval", "--model", "colours", "--data", tmp_path / "none").exit_code == 2
    assert run("zero-shot", "--model", "colours", "--images", tmp_path).exit_code == 2
    help_text = run("retrieval", "--help").stdout
    assert "Example: clip-italian evaluate retrieval" in help_text


def _add(tar, name, data):
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))

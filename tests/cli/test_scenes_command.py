"""`clip-italian scenes`: what it writes, prints and refuses."""

import json

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from clip_italian.cli import scenes as command
from clip_italian.data import scenes as drawn


@pytest.fixture
def run():
    app = typer.Typer()
    app.callback()(lambda: None)
    command.register(app)
    return lambda *words: CliRunner().invoke(app, ["scenes", *map(str, words)])


def test_writes_scenes_and_a_contact_sheet(run, tmp_path):
    sheet = tmp_path / "look.png"
    result = run("--out", tmp_path / "out", "-n", 5, "--size", 64, "--split", "test", "--seed", 7, "--sheet", sheet)
    assert result.exit_code == 0, result.output
    lines = (tmp_path / "out" / "scenes-test.jsonl").read_text("utf-8").splitlines()
    expected = [list(scene.captions) for scene in drawn.scenes(5, split="test", seed=7)]
    assert [json.loads(line)["captions"] for line in lines] == expected
    assert "5 scenes of 64 × 64" in result.output
    assert Image.open(sheet).tobytes() == drawn.sheet(list(drawn.scenes(5, split="test", seed=7))).tobytes()


def test_a_sheet_alone_writes_nothing_else(run, tmp_path):
    assert run("-n", 2, "--sheet", tmp_path / "look.png").exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == ["look.png"]


def test_single_objects_come_with_their_class_names(run, tmp_path):
    result = run("--out", tmp_path, "-n", 3, "--kind", "single")
    assert result.exit_code == 0
    assert (tmp_path / "scenes-classes.txt").read_text("utf-8").startswith("un cerchio\n")
    assert "scenes-classes.txt" in result.output.replace("\n", "")


@pytest.mark.parametrize(
    "words",
    [
        ("-n", 3),
        ("--out", "x"),
        ("--out", "x", "-n", 0),
        ("--out", "x", "-n", 1, "--split", "dev"),
        ("--out", "x", "-n", 1, "--size", 8),
    ],
)
def test_wrong_arguments_are_refused(run, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(*words).exit_code == 2
    assert not list(tmp_path.iterdir())


def test_help_carries_an_example(run):
    assert "Example: clip-italian scenes" in run("--help").output

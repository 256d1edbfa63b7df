"""`clip-italian ship`, as a person calls it: what it asks of the model before anything is written."""

import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from clip_italian.cli import ship
from clip_italian.errors import ClipItalianError
from clip_italian.evaluation import gate

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

making = pytest.importorskip("clip_italian.models.ship", reason="needs the extra train")


@pytest.fixture
def run(monkeypatch):
    """The command; in place of shipping, the check is asked about a small model that stays as it is."""
    from small import checkpoint

    encoder = making._torch_encoder(checkpoint("scratch-image", "bag-of-words"))
    asked = []

    def make(directory, out, *, name, check):
        asked.append(check(encoder, encoder))
        out.mkdir()
        return encoder

    monkeypatch.setattr(making, "ship", make)
    monkeypatch.setattr(gate, "DRAWN_SCENES", 100)
    monkeypatch.setattr(gate, "DRAWN_THINGS", 120)
    app = typer.Typer()
    ship.register(app)
    app.command()(lambda: None)  # a second command, so that the first keeps its name
    return lambda *arguments: (CliRunner().invoke(app, ["ship", *map(str, arguments)]), asked)


def test_without_data_it_is_scored_on_drawn_scenes(run, tmp_path):
    done, [(kept, report)] = run(tmp_path, "--out", tmp_path / "out", "--limit", 0.5)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "text→image recall@1" in done.output and "8 dimensions" in done.output
    assert kept["passed"] and kept["limit"] == 0.5 and len(kept["scores"]) == 8
    assert {one["data"] for one in kept["scores"]} == {"drawn scenes", "drawn things"}
    assert "| drawn things | pictures accuracy@5 | 120 |" in report


def test_past_the_limit_it_is_refused(run, tmp_path, monkeypatch):
    def worse(before, after, sets, limit, progress=None):
        assert [one.name for one in sets] == ["drawn scenes", "drawn things"]
        return gate.Gate((gate.Score("x/dev.jsonl", "text→image recall@1", 100, 50.0, 48.5, -2.0, -1.0),), limit)

    monkeypatch.setattr(gate, "measure", worse)
    done, asked = run(tmp_path, "--out", tmp_path / "out")
    assert isinstance(done.exception, ClipItalianError) and "-1.50 points, the limit is 1" in str(done.exception)
    assert not asked and not (tmp_path / "out").exists()

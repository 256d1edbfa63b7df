"""`clip-italian distil` as it is typed."""

import pytest
import typer
from typer.testing import CliRunner

from clip_italian.cli.distil import register
from clip_italian.training import distillation
from clip_italian.training.distillation import Outcome

RECIPE = """
name = "allievo"
image_tower = { type = "mobile-image", width = 0.25 }
text_tower = { type = "gated-text", width = 32 }
batch = 8
texts = { batch = 16 }
"""


@pytest.fixture
def app():
    app = typer.Typer()
    register(app)
    return app


def typed(app, folder, *more):
    (folder / "ricetta.toml").write_text(RECIPE)
    (folder / "parole.txt").write_text("un gatto\n")
    (folder / "foto.png").write_bytes(b"")
    line = '{"image_path": "foto.png", "captions": ["un gatto"]}\n'
    (folder / "train.jsonl").write_text(line)
    given = {"--recipe": "ricetta.toml", "--teacher": "maestro", "--train": "train.jsonl", "--valid": "train.jsonl",
             "--texts": "parole.txt", "--out": "esce"}  # fmt: skip
    words = [part for name, file in given.items() for part in (name, str(folder / file))]
    return CliRunner().invoke(app, [*words, *more])


def test_everything_typed_reaches_the_run(app, tmp_path, monkeypatch):
    seen = {}

    def run(recipe, teacher, data, out, **options):
        seen.update(options, recipe=recipe, teacher=teacher, data=data, out=out)
        return Outcome(0.5, 100.0)

    monkeypatch.setattr(distillation, "distil", run)
    result = typed(app, tmp_path, "--minutes", "2.5", "--device", "cuda", "--resume", "--set", "loss.rows=2")
    assert result.exit_code == 0 and "best mean MRR@10 0.5000; 100 pictures/s" in result.output
    assert (seen["minutes"], seen["device"], seen["resume"], seen["recipe"].loss.rows) == (2.5, "cuda", True, 2)
    assert seen["data"].lines == [["un gatto"]] and len(seen["data"].samples) == 1 and len(seen["data"].valid) == 1


def test_a_stopped_run_ends_with_130(app, tmp_path, monkeypatch):
    def run(*values, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(distillation, "distil", run)
    result = typed(app, tmp_path)
    assert result.exit_code == 130 and "--resume goes on" in result.output

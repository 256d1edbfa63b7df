"""`clip-italian distil` as it is typed."""

import pytest
import typer
from typer.testing import CliRunner

from clip_italian.cli.distil import register
from clip_italian.data.class_names import imagenet
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


@pytest.mark.parametrize("minutes", ["0", "-3", "nan"])
def test_minutes_that_leave_no_time_are_a_wrong_argument(app, tmp_path, monkeypatch, minutes):
    monkeypatch.setattr(distillation, "distil", None)
    result = typed(app, tmp_path, "--minutes", minutes)
    assert result.exit_code == 2 and "--minutes" in result.output and "above 0" in result.output


def test_records_that_are_skipped_are_counted_beyond_the_five_that_are_named(app, tmp_path, monkeypatch):
    monkeypatch.setattr(distillation, "distil", lambda *values, **options: Outcome(0.5, 100.0))
    (tmp_path / "altra.png").write_bytes(b"")
    good = '{"image_path": "altra.png", "captions": ["un cane"]}\n'
    (tmp_path / "altre.jsonl").write_text("no JSON\n" * 7 + good)
    result = typed(app, tmp_path, "--train", str(tmp_path / "altre.jsonl"))
    assert result.exit_code == 0, result.output
    assert result.output.count("skipped: ") == 5 and "7 records skipped" in result.output


@pytest.mark.parametrize("own", [False, True])
def test_labels_are_the_packages_or_a_persons_own(app, tmp_path, monkeypatch, own):
    seen = []
    monkeypatch.setattr(distillation, "distil", lambda *values, **options: seen.append(values[2]) or Outcome(0.5, 1.0))
    rows = [f"{one.wnid}\tfs\tcosa {number}" for number, one in enumerate(imagenet())]
    (tmp_path / "nomi.tsv").write_text("\n".join(rows))
    assert typed(app, tmp_path, "--labels", str(tmp_path / "nomi.tsv") if own else "imagenet").exit_code == 0
    assert seen[0].classes[7].form.with_article() == ("una cosa 7" if own else imagenet()[7].form.with_article())


def test_a_stopped_run_ends_with_130(app, tmp_path, monkeypatch):
    def run(*values, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(distillation, "distil", run)
    result = typed(app, tmp_path)
    assert result.exit_code == 130 and "--resume goes on" in result.output

"""`clip-italian train` as it is typed: exit codes, messages, ^C and kill -9, and the dry run."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from clip_italian.cli.train import register
from clip_italian.errors import BadModel, BadRecipe, BadRecord

RECIPE = """
name = "quadri"
dim = 32
scale = 10.0
workers = 0
image_tower = { type = "scratch-image", width = 16, dim = 32, early_blocks = 0, late_blocks = 1, heads = 2 }
text_tower = { type = "scratch-text", width = 32, depth = 1, heads = 2, dropout = 0.1 }
pictures = { size = 32 }
texts = { max_length = 24, vocabulary = 300 }
[[stages]]
name = "testa"
learn = { heads = 1e-3 }
epochs = 2
batch = 12
[[stages]]
name = "tutto"
learn = { heads = 2e-3, image_tower = 2e-3, text_tower = 2e-3 }
epochs = 8
batch = 12
augment = "crop"
average = 0.9
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dati")
    (folder / "ricetta.toml").write_text(RECIPE)
    rng = np.random.default_rng(0)
    for name, count in (("train", 36), ("dev", 8)):
        (folder / name).mkdir()
        lines = []
        for number in range(count):
            colour = ("rosso", "verde", "blu")[number % 3]
            pixels = rng.integers(0, 99, (32, 32, 3)).astype(np.uint8)
            pixels[4:28, 4:28, number % 3] = 240
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
            lines.append(json.dumps({"image_path": f"{number}.png", "captions": [f"un quadrato {colour} {number}"]}))
        (folder / name / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def arguments(data, out, *more):
    return ["train", "--recipe", str(data / "ricetta.toml"), "--train", str(data / "train" / "train.jsonl"),
            "--valid", str(data / "dev" / "dev.jsonl"), "--out", str(out), *more]  # fmt: skip


def run(*words):
    app = typer.Typer()
    app.callback()(lambda: None)  # so that the command keeps its name
    register(app)
    return CliRunner().invoke(app, list(map(str, words)))


def start(data, out, *more):
    """Start the command as a process of its own, with as many threads as this one: their number changes rounding."""
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads()), "PYTHONUNBUFFERED": "1"}
    code = "import sys; from clip_italian.cli import main; main()"
    command = [sys.executable, "-c", code, *arguments(data, out, *more)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def read_until(process, what):
    lines = []
    for line in process.stdout:
        lines.append(line)
        if re.search(what, line):
            return lines
    raise AssertionError(f"never said {what}: {''.join(lines)}")


def left_by(out):
    stored = torch.load(out / "state.pt", weights_only=True)
    for entry in stored["state"]["history"]:
        del entry["seconds"]
    del stored["state"]["energy"]  # another every time
    return stored, (out / "model.safetensors").read_bytes()


def test_interrupted_then_killed_then_resumed_it_ends_as_if_never_stopped(data, tmp_path):
    whole = run(*arguments(data, tmp_path / "intero"))
    assert whole.exit_code == 0, whole.output
    out = tmp_path / "spezzato"
    process = start(data, out)
    read_until(process, "testa 2/2")
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130 and "--resume goes on from what is saved in" in said
    assert "Traceback" not in said
    process = start(data, out, "--resume")
    said = read_until(process, "tutto 2/8")
    assert any("going on at stage" in line for line in said)
    time.sleep(0.02)
    process.kill()
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    resumed = run(*arguments(data, out, "--resume"))
    assert resumed.exit_code == 0, resumed.output
    assert re.search(r"best loss \d\.\d+; the model is in ", resumed.output)
    (first, best), (second, other) = left_by(tmp_path / "intero"), left_by(out)
    assert best == other and first["state"] == second["state"]
    assert all(torch.equal(first["model"][name], second["model"][name]) for name in first["model"])


def test_settings_are_shown_first_and_changes_to_them(data, tmp_path):
    result = run(*arguments(data, tmp_path, "--set", "stages.1.epochs=1", "--set", "stages.0.epochs=1"))
    assert result.exit_code == 0, result.output
    shown = json.loads(result.output[: result.output.index("\n}") + 2])
    assert [stage["epochs"] for stage in shown["stages"]] == [1, 1] and shown["name"] == "quadri"
    assert "testa 1/1  dev: loss " in result.output


def test_without_a_validation_set_some_pictures_are_kept_aside(data, tmp_path):
    words = ["train", "--recipe", data / "ricetta.toml", "--train", data / "train" / "train.jsonl", "--out", tmp_path]
    changes = ["valid_share=0.3", "stages.0.epochs=1", "stages.1.epochs=1", "stages.1.batch=4", "stages.0.batch=4"]
    result = run(*words, *(word for change in changes for word in ("--set", change)))
    assert result.exit_code == 0 and "tutto 1/1  valid: loss " in result.output


def test_mscoco_it_is_read_with_its_pictures_elsewhere(data, tmp_path, monkeypatch):
    (tmp_path / "liste").mkdir()
    monkeypatch.chdir(tmp_path / "liste")
    for name, count in (("train", 36), ("val", 8)):
        pictures = [{"id": i, "file_name": f"{name}-{i}.png"} for i in range(count)]
        told = [{"image_id": i, "caption": f"un quadrato {i}"} for i in range(count)]
        Path(f"{name}.json").write_text(json.dumps({"images": pictures, "annotations": told}))
        folder = tmp_path / "foto" / name
        folder.mkdir(parents=True)
        for i in range(count):
            (folder / f"{name}-{i}.png").write_bytes((data / name.replace("val", "dev") / f"{i}.png").read_bytes())
    words = ["train", "--recipe", data / "ricetta.toml", "--train", "train.json", "--valid", "val.json", "--out", "out",
             "--set", "stages.0.epochs=1", "--set", "stages.1.epochs=1"]  # fmt: skip
    assert "there is no picture train-0.png" in run(*words).output
    result = run(*words, "--images", "../foto")
    assert result.exit_code == 0, result.output
    assert "val: loss " in result.output and "skipped" not in result.output
    assert run(*words, "--images", "manca").exit_code == 2


def test_a_validation_set_of_the_current_folder_is_called_by_its_name(data, tmp_path, monkeypatch):
    monkeypatch.chdir(data / "dev")
    words = ["train", "--recipe", "../ricetta.toml", "--train", "../train/train.jsonl", "--valid", "dev.jsonl",
             "--out", tmp_path, "--set", "stages.0.epochs=1", "--set", "stages.1.epochs=1"]  # fmt: skip
    result = run(*words)
    assert result.exit_code == 0, result.output
    assert "testa 1/1  dev: loss " in result.output


def test_a_dry_run_says_what_would_happen_and_writes_nothing(data, tmp_path):
    for words in (arguments(data, tmp_path / "out", "--dry-run"), [*arguments(data, "x")[:-2], "--dry-run"]):
        result = run(*words)
        assert result.exit_code == 0, result.output
        for shown in ("image_tower", "2,048", "36 pictures", "one step", "peak, measured", "nothing was written"):
            assert shown in result.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--set", "stages.0.epoch=1"], BadRecipe, "did you mean epochs?"),
        (["--set", "texts.languages={fr=1.0}"], BadRecord, "has no caption in fr"),
        (["--valid", "DATA/train/train.jsonl"], BadRecord, "train: 36 of its 36 pictures are also learned from"),
        (["--valid", "DATA/dev/../dev/dev.jsonl"], BadRecipe, "two --valid sets would both be called 'dev'"),
        (["--device", "cudaX"], BadRecipe, "--device cudaX: cannot be used here ("),
        (["--init", "DATA/manca"], BadModel, "model.json is missing"),
        (["--train", "DATA/manca.jsonl"], None, "manca.jsonl: no such file or folder"),
    ],
)
def test_what_is_wrong_is_said_without_a_traceback(data, tmp_path, words, error, message):
    result = run(*arguments(data, tmp_path), *(word.replace("DATA", str(data)) for word in words))
    assert result.exit_code == 1
    assert message in str(result.exception) or message in result.output
    assert error is None or isinstance(result.exception, error)


def test_missing_arguments_are_the_callers_fault(data, tmp_path):
    assert run("train", "--recipe", data / "ricetta.toml", "--out", tmp_path).exit_code == 2
    result = run(*arguments(data, tmp_path)[:-2])
    assert result.exit_code == 2 and "--out" in result.output


def test_labelled_pictures_need_the_list_of_their_classes(data, tmp_path):
    result = run(*arguments(data, tmp_path / "out", "--labelled", data / "train" / "train.jsonl"))
    assert result.exit_code == 2 and "--wnids" in result.output
    assert not (tmp_path / "out").exists()


def test_help_has_an_example():
    result = run("train", "--help")
    assert result.exit_code == 0 and "Example: clip-italian train --recipe" in re.sub(r"\s+", " ", result.output)


def test_progress_away_from_a_terminal_is_a_line_every_half_minute(monkeypatch):
    from rich.console import Console

    from clip_italian.cli import reporting

    clock = [0.0]
    monkeypatch.setattr(reporting.time, "monotonic", lambda: clock[0])
    with Path(os.devnull).open("w") as nowhere:
        console = Console(file=nowhere, soft_wrap=True, highlight=False, record=True, width=100)
        reporter = reporting.ConsoleReporter(console)
        with reporter:
            for step in range(1, 101):
                clock[0] += 4.0
                reporter.step(f"tutto {1 + step // 51}/2", step, 100, 1.5, 32.4)
            reporter.step("altro 1/1", 1, 10, 2.0, 5.0)
        lines = console.export_text().splitlines()
    assert len(lines) == 12 and lines[0] == "tutto 1/2: 9/100  loss 1.500  32 pairs/s  6 min left"
    assert lines[-1].endswith("s left")

"""`clip-italian export`, as a person calls it."""

import json
import re
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image

from clip_italian import load
from clip_italian.cli import export, main

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))

pytest.importorskip("onnx", reason="needs the extra export")
pytest.importorskip("onnxscript", reason="needs the extra export")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from small import checkpoint

    from clip_italian.models.checkpoint import save_checkpoint

    directory = tmp_path_factory.mktemp("models") / "model"
    save_checkpoint(checkpoint("scratch-image", "bag-of-words"), directory)
    return directory


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for number in range(100):
        Image.new("RGB", (32, 32), (number * 2, 255 - number, number * 37 % 256)).save(folder / f"{number}.png")
        lines.append(json.dumps({"image_path": f"{number}.png", "captions": [f"un gatto e {number} cerchi rossi"]}))
    (folder / "dev.jsonl").write_text("\n".join(lines), "utf-8")
    return folder / "dev.jsonl"


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["clip-italian", "export", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        main()
    shown = capsys.readouterr()
    return done.value.code or 0, shown.out, shown.err


def test_every_option_is_told():
    app = typer.Typer(add_completion=False)
    export.register(app)
    options = {name for parameter in typer.main.get_command(app).params for name in parameter.opts if name[0] == "-"}
    text = (Path(__file__).parents[2] / "docs" / "export.md").read_text("utf-8")
    assert len(options) > 6 and options <= set(re.findall(r"--[\w-]+", text)) | {"--help"}


def test_int8_needs_data(model, tmp_path, monkeypatch, capsys):
    code, _, err = command(monkeypatch, capsys, model, "--out", tmp_path / "out", "--int8")
    assert code == 2 and "--data" in err
    assert list(tmp_path.iterdir()) == []


def test_a_gated_export_keeps_its_table(model, data, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    code, shown, err = command(monkeypatch, capsys, model, "--out", out, "--int8", "--data", data, "--limit", 100)
    assert code == 0, err
    assert "recall@10" in shown and "text.onnx" in shown
    gate = json.loads((out / "model.json").read_text("utf-8"))["gate"]
    assert gate["passed"] and len(gate["scores"]) == 6 and gate["limit"] == 100
    assert "| text→image recall@1 |" in (out / "README.md").read_text("utf-8")
    assert load(out).encode_texts(["gatto"]).shape == (1, 8)


def test_past_the_limit_nothing_is_left(model, data, tmp_path, monkeypatch, capsys):
    from clip_italian.evaluation import gate
    from clip_italian.models import onnx_export

    def worse(before, after, sets, limit, progress=None):
        return gate.Gate((gate.Score("x/dev.jsonl", "text→image recall@1", 100, 50.0, 48.5),), limit)

    monkeypatch.setattr(gate, "measure", worse)
    monkeypatch.setattr(onnx_export, "_compare", lambda before, after: {"images": 1.0, "texts": 1.0})
    monkeypatch.setattr(onnx_export, "_write", lambda module, inputs, shapes, path, int8: path.write_bytes(b"x"))
    code, shown, err = command(monkeypatch, capsys, model, "--out", tmp_path / "out", "--int8", "--data", data)
    assert code == 1
    assert "-1.50 !" in shown and "-1.50 points" in err and "--limit" in err
    assert list(tmp_path.iterdir()) == []

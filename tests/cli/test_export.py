"""`clip-italian export`, as a person calls it."""

import json
import re
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image

from clip_italian import load
from clip_italian.cli import export, gating, main, ship

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
    """120 captioned pictures, and the same ones in folders named after three classes."""
    folder = tmp_path_factory.mktemp("data")
    lines = []
    for number in range(120):
        image = Image.new("RGB", (32, 32), (number * 2, 255 - number, number * 37 % 256))
        place = folder / "classes" / ("gatto", "cane", "casa")[number % 3] / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        image.save(place)
        image.save(folder / f"{number}.png")
        lines.append(json.dumps({"image_path": f"{number}.png", "captions": [f"un gatto e {number} cerchi rossi"]}))
    (folder / "dev.jsonl").write_text("\n".join(lines), "utf-8")
    return folder


def gate_options(data):
    return "--data", data / "dev.jsonl", "--images", data / "classes", "--labels", "gatto,cane,casa"


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["clip-italian", "export", *map(str, arguments)])
    with pytest.raises(SystemExit) as done:
        main()
    shown = capsys.readouterr()
    return done.value.code or 0, shown.out, shown.err


@pytest.mark.parametrize("module", [export, ship])
def test_every_option_is_told(module):
    app = typer.Typer(add_completion=False)
    module.register(app)
    options = {name for parameter in typer.main.get_command(app).params for name in parameter.opts if name[0] == "-"}
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "export.md").read_text("utf-8") + (docs / "models.md").read_text("utf-8")
    assert len(options) > 6 and options <= set(re.findall(r"--[\w-]+", text)) | {"--help"}


@pytest.fixture
def few_scenes(monkeypatch):
    from clip_italian.evaluation import gate

    monkeypatch.setattr(gate, "DRAWN_SCENES", 100)
    monkeypatch.setattr(gate, "DRAWN_THINGS", 120)


def test_an_export_without_data_is_scored_on_drawn_scenes(few_scenes, model, tmp_path, monkeypatch, capsys):
    code, shown, err = command(monkeypatch, capsys, model, "--out", tmp_path / "out")
    assert code == 0, err
    assert "drawn scenes" in shown and "drawn things" in shown
    kept = json.loads((tmp_path / "out" / "model.json").read_text("utf-8"))["gate"]
    assert kept["passed"] and kept["limit"] == 1
    assert [(one["data"], one["score"]) for one in kept["scores"]] == [
        *(("drawn scenes", f"{way} recall@{k}") for way in ("text→image", "image→text") for k in (1, 5, 10)),
        *(("drawn things", f"pictures accuracy@{k}") for k in (1, 5)),
    ]
    assert "| drawn things | pictures accuracy@1 | 120 |" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_a_task_without_data_is_scored_on_drawn_scenes(few_scenes, model, data, tmp_path, monkeypatch, capsys):
    options = ("--data", data / "dev.jsonl", "--limit", 100)
    assert command(monkeypatch, capsys, model, "--out", tmp_path / "out", *options)[0] == 0
    scores = json.loads((tmp_path / "out" / "model.json").read_text("utf-8"))["gate"]["scores"]
    assert {one["data"].rpartition("/")[2] for one in scores} == {"dev.jsonl", "drawn things"}


@pytest.mark.parametrize("module", ["export", "ship"])
def test_pictures_without_class_names_are_refused(module, model, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["clip-italian", module, str(model), "--out", str(tmp_path / "out"),
                                      "--images", str(data / "classes")])  # fmt: skip
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 2 and "--labels" in capsys.readouterr().err


@pytest.mark.parametrize("given", [(), ("--data",), ("--images", "--labels"), ("--data", "--images")])
def test_smaller_weights_need_captioned_and_labelled_pictures(given, model, data, tmp_path, monkeypatch, capsys):
    options = gate_options(data)
    some = [part for place in range(0, 6, 2) if options[place] in given for part in options[place : place + 2]]
    for weights in ("float16", "int8"):
        code, _, err = command(monkeypatch, capsys, model, "--out", tmp_path / "out", "--weights", weights, *some)
        assert code == 2 and "--labels" in err
    assert list(tmp_path.iterdir()) == []


def test_a_gated_export_keeps_its_table(model, data, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    options = ("--out", out, "--weights", "int8", *gate_options(data), "--limit", 100, "--pictures", 110)
    code, shown, err = command(monkeypatch, capsys, model, *options)
    assert code == 0, err
    assert "recall@10" in shown and "accuracy@1" in shown and "text.onnx" in shown
    description = json.loads((out / "model.json").read_text("utf-8"))
    gate = description["gate"]
    assert gate["passed"] and len(gate["scores"]) == 7 and gate["limit"] == 100
    assert {score["n"] for score in gate["scores"]} == {110}
    card = (out / "README.md").read_text("utf-8")
    assert "| text→image recall@1 |" in card and "| pictures accuracy@1 |" in card and "weights in int8" in card
    assert all(digest in card for digest in description["files"].values()) and "32 × 32 pixels" in card
    assert load(out).encode_texts(["gatto"]).shape == (1, 8)


def test_past_the_limit_nothing_is_left(model, data, tmp_path, monkeypatch, capsys):
    from clip_italian.evaluation import gate
    from clip_italian.models import onnx_export

    def worse(before, after, sets, limit, progress=None):
        return gate.Gate((gate.Score("x/dev.jsonl", "text→image recall@1", 100, 50.0, 48.5, -2.0, -1.0),), limit)

    monkeypatch.setattr(gate, "measure", worse)
    monkeypatch.setattr(onnx_export, "_compare", lambda before, after: {"images": 1.0, "texts": 1.0})
    monkeypatch.setattr(onnx_export, "_write", lambda module, inputs, shapes, path, weights: path.write_bytes(b"x"))
    for options in (("--weights", "int8", *gate_options(data)), ("--data", data / "dev.jsonl"), ()):
        code, shown, err = command(monkeypatch, capsys, model, "--out", tmp_path / "out", *options)
        assert code == 1
        assert "-1.50" in shown and "-1.50 points" in err and "--limit" in err
        assert list(tmp_path.iterdir()) == []


def test_pictures_are_spaced_evenly():
    assert gating._spaced(range(10), 4) == [0, 2, 5, 7]
    assert gating._spaced(range(3), 4) == range(3) and gating._spaced(range(3), None) == range(3)

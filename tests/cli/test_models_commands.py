"""`models` and `ship`, as a person types them."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from clip_italian.cli import models, ship
from clip_italian.models.towers import e5_file


def run(*arguments: str) -> Result:
    app = typer.Typer()
    models.register(app)
    ship.register(app)
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def carried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLIP_ITALIAN_MODELS", str(tmp_path))
    monkeypatch.setenv("CLIP_ITALIAN_CACHE", str(tmp_path / "cache"))
    return tmp_path


def test_models_that_are_not_carried_are_listed_too(carried: Path) -> None:
    result = run("models")
    assert result.exit_code == 0
    assert result.stdout.count("missing: this build does not carry it") == 2


def test_what_a_model_is_and_needs(carried: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = carried / "clip-italian-small"
    small.mkdir()
    (small / "model.json").write_text(json.dumps({"format": "onnx 1", "dim": 256}))
    (small / "image.onnx").write_bytes(bytes(2_000_000))
    monkeypatch.setattr(e5_file, "PACKAGE", "no-such-package")
    shown = run("models").stdout
    assert "clip-italian-small  (taken where no --model is named)\n  256 dimensions, 2.0 MB\n" in shown
    assert f"from {small}\n  ready" in shown
    rows = json.loads(run("models", "--json").stdout)
    assert [(row["name"], row["carried"], row["default"]) for row in rows] == [
        ("clip-italian-base", False, False), ("clip-italian-small", True, True),
    ]  # fmt: skip


def test_every_command_has_an_example() -> None:
    for command in ("models", "ship"):
        assert f"Example: clip-italian {command}" in " ".join(run(command, "--help").output.split())

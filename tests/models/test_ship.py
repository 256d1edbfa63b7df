"""Shipping: scored as a user would open it, refused or kept with its scores, and nothing left behind."""

import json
import shutil

import numpy as np
import pytest
from small import checkpoint

from clip_italian import load
from clip_italian.errors import BadModel, ClipItalianError
from clip_italian.models import assembly, cache
from clip_italian.models.checkpoint import save_checkpoint

pytest.importorskip("onnxscript", reason="needs the extra export")


@pytest.fixture(scope="module")
def trained(e5_package, tmp_path_factory):
    """A small model whose text tower is a package's, stored as float32: shipping rounds it."""
    directory = tmp_path_factory.mktemp("trained") / "model"
    save_checkpoint(checkpoint("scratch-image", "multilingual-e5-small"), directory)
    return directory


@pytest.fixture(scope="module")
def networks(trained, tmp_path_factory):
    """The rounded model, exported: the slow step, the same each time."""
    from clip_italian.models import onnx_export, ship
    from clip_italian.models.checkpoint import load_checkpoint

    folder = tmp_path_factory.mktemp("networks")
    ship._halved(load_checkpoint(trained), folder / "half")
    onnx_export.export_model(folder / "half", folder / "exported")
    return folder / "exported"


@pytest.fixture
def home(tmp_path, networks, monkeypatch):
    """An empty cache, and networks that are there at once."""
    from clip_italian.models import onnx_export

    monkeypatch.setattr(onnx_export, "export_model", lambda directory, out: shutil.copytree(networks, out))
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_it_is_scored_as_it_was_and_as_a_user_opens_it(trained, home, tmp_path):
    from clip_italian.models.ship import ship

    seen = {}

    def check(before, after):
        seen["before"], seen["after"] = before.fingerprint, after.fingerprint
        seen["rows"] = [encoder.encode_texts(["gatto"]) for encoder in (before, after)]
        assert not home.exists()  # put together, but not among the user's models
        return {"limit": 1.0, "passed": True, "scores": []}, "| the table |\n"

    encoder = ship(trained, tmp_path / "out", check=check)
    assert seen["before"] == load(trained).fingerprint and seen["after"] == encoder.fingerprint
    assert (seen["rows"][0] * seen["rows"][1]).sum() > 0.999 and not np.array_equal(*seen["rows"])
    description = json.loads((tmp_path / "out" / "model.json").read_text("utf-8"))
    assert description["gate"] == {"limit": 1.0, "passed": True, "scores": []}
    assert description["check"]["lowest_cosine_texts"] >= 0.999
    assert description["notes"] == {"recipe": {"città": [1, 2]}}
    card = (tmp_path / "out" / "README.md").read_text("utf-8")
    assert "came without a card" in card and "before and after\n\n| the table |" in card
    assert load(tmp_path / "out").fingerprint == assembly.read_description(tmp_path / "out")["fingerprint"]


def test_what_the_check_refuses_leaves_nothing(trained, home, tmp_path):
    from clip_italian.models.ship import ship

    def refuse(before, after):
        raise ClipItalianError("too much was lost")

    with pytest.raises(ClipItalianError, match="too much was lost"):
        ship(trained, tmp_path / "out", check=refuse)
    assert list(tmp_path.iterdir()) == []
    assert cache.cache_folder() == home  # as it was


def test_other_vectors_than_the_models_own_are_refused_before_any_score(trained, home, tmp_path, monkeypatch):
    from clip_italian.models import onnx_export
    from clip_italian.models.ship import ship

    monkeypatch.setattr(onnx_export, "_compare", lambda before, after: {"lowest_cosine_texts": 0.9})
    with pytest.raises(BadModel, match="put together it gives other vectors"):
        ship(trained, tmp_path / "out", check=lambda before, after: 1 / 0)
    assert list(tmp_path.iterdir()) == []

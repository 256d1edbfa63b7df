"""Exported models: the same vectors as torch's, opened without torch, refused when a file is not what it was."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small import CAPTIONS, checkpoint

from clip_italian import load
from clip_italian.encoder import Encoder, PatchEncoder
from clip_italian.errors import BadModel, CannotWrite, ClipItalianError, CorruptImage
from clip_italian.models.checkpoint import save_checkpoint
from clip_italian.models.onnx_encoder import BATCH, OnnxEncoder, fingerprint

onnx = pytest.importorskip("onnx", reason="needs the extra export")
pytest.importorskip("onnxscript", reason="needs the extra export")

from clip_italian.models.onnx_export import DenseE5, export_model  # noqa: E402

PHOTOS = Path(__file__).parents[2] / "models" / "photos-it"
TEXTS = [
    *CAPTIONS, "", "gatto", "un cane bianco e uno nero corrono insieme sulla spiaggia verso il mare " * 3,
    "кот", "日本語", "x" * 10_000, " \t ",
]  # fmt: skip


def pictures(count, seed=0):
    rng = np.random.default_rng(seed)
    sizes = [(40, 30), (32, 64), (100, 90)]
    return [
        Image.fromarray(rng.integers(0, 256, (*sizes[number % 3], 3), dtype=np.uint8)).resize(sizes[number % 3])
        for number in range(count)
    ]


def lowest_cosine(a, b):
    assert a.shape == b.shape and a.dtype == b.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(b, axis=1), 1, atol=1e-4)
    return float((a * b).sum(1).min())


def assert_equal_encoders(torch_encoder, exported):
    for count in (1, 3, BATCH + 1):
        images = pictures(count)
        assert lowest_cosine(torch_encoder.encode_images(images), exported.encode_images(images)) >= 0.999
        texts = (TEXTS * 3)[-count:]
        assert lowest_cosine(torch_encoder.encode_texts(texts), exported.encode_texts(texts)) >= 0.999
    assert lowest_cosine(torch_encoder.encode_texts(TEXTS), exported.encode_texts(TEXTS)) >= 0.999
    assert np.ptp(exported.encode_texts(TEXTS), axis=0).max() > 0.01  # not one vector for everything
    assert isinstance(torch_encoder, PatchEncoder)
    if isinstance(exported, PatchEncoder):
        assert_equal_patches(torch_encoder, exported)


def assert_equal_patches(torch_encoder, exported):
    for image in pictures(3):
        one, other = torch_encoder.encode_patches(image), exported.encode_patches(image)
        assert one.ndim == 3 and one.shape[-1] == exported.dim
        assert lowest_cosine(one.reshape(-1, exported.dim), other.reshape(-1, exported.dim)) >= 0.999


def saved(tmp_path, *kinds, **changes):
    directory = tmp_path / "model"
    save_checkpoint(checkpoint(*kinds, **changes), directory)
    return directory


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("source"), "scratch-image", "scratch-text")


@pytest.fixture(scope="module")
def made(source):
    out = source.parent / "exported"
    export_model(source, out)
    return out


@pytest.fixture
def copied(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "copied"))


def test_an_exported_model_gives_the_vectors_of_the_source(source, made):
    exported, original = load(made), load(source)
    assert isinstance(exported, OnnxEncoder) and isinstance(exported, Encoder)
    assert (exported.name, exported.dim) == (original.name, original.dim)
    assert exported.scale == pytest.approx(17.0)
    assert exported.fingerprint != original.fingerprint
    notes = [json.loads((folder / "model.json").read_text("utf-8"))["notes"] for folder in (source, made)]
    assert notes[0] == notes[1] == {"recipe": {"città": [1, 2]}}  # what training told goes along
    assert_equal_encoders(original, exported)
    assert exported.encode_texts([]).shape == exported.encode_images([]).shape == (0, 8)


def test_other_towers_and_heads(tmp_path):
    places, attention = ({"type": kind, "hidden": 16, "heads": 2, "centred": True} for kind in ("places", "attention"))
    directory = saved(tmp_path, "scratch-image", "gated-text", image_head=places, text_head=attention)
    exported = export_model(directory, tmp_path / "out")
    assert_equal_encoders(load(directory), exported)
    assert not isinstance(exported, PatchEncoder)  # they would cost every picture a head a place
    with pytest.raises(AttributeError):
        exported.encode_patches(pictures(1)[0])


def test_patches_of_a_larger_picture_and_folded_norms(tmp_path):
    import torch

    made = checkpoint("mobile-image", "bag-of-words")
    with torch.no_grad():
        for name, buffer in made.model.image_tower.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(torch.rand(buffer.shape))
    save_checkpoint(made, tmp_path / "model")
    exported = export_model(tmp_path / "model", tmp_path / "out")
    assert_equal_encoders(load(tmp_path / "model"), exported)
    description = json.loads((tmp_path / "out" / "model.json").read_text("utf-8"))
    assert description["preprocess"]["size"] == 32 and description["patch_size"] == 64
    assert exported.encode_patches(pictures(1)[0]).shape == (2, 2, 8)
    assert description["check"]["lowest_cosine_patches"] >= 0.999
    kinds = {node.op_type for node in onnx.load(tmp_path / "out" / "image.onnx").graph.node}
    assert "Conv" in kinds and "BatchNormalization" not in kinds


def test_the_dense_text_tower_equals_the_packed_one(e5_tower):
    import torch

    dense = DenseE5(e5_tower.pieces.num_embeddings)
    dense.load_state_dict(e5_tower.state_dict())
    ids = torch.arange(4, 28).reshape(3, 8)
    mask = torch.arange(8) < torch.tensor([[8], [3], [0]])
    with torch.inference_mode():
        packed, padded = e5_tower(ids, mask), dense.eval()(ids, mask)
    torch.testing.assert_close(padded.pooled, packed.pooled, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(padded.tokens, packed.tokens, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def photos(e5_package, lite_tower, tmp_path_factory):
    out = tmp_path_factory.mktemp("photos") / "out"
    export_model(PHOTOS, out)
    return out


def test_the_shipped_model_gives_the_same_vectors(photos):
    assert_equal_encoders(load(PHOTOS), load(photos))
    assert "Flickr8k" in (photos / "source-README.md").read_text("utf-8")
    assert "source-README.md" in (photos / "README.md").read_text("utf-8")


def test_no_network_names_a_file_of_this_machine(made):
    for name in ("image.onnx", "text.onnx"):
        data = (made / name).read_bytes()
        assert b".py" not in data and str(Path.cwd()).encode() not in data


@pytest.mark.slow
def test_the_same_model_gives_the_same_files(source, made, tmp_path):
    again = export_model(source, tmp_path / "again")
    assert again.fingerprint == load(made).fingerprint


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_encoding_never_imports_torch(made):
    done = run(
        "import sys, clip_italian\nfrom PIL import Image\n"
        f"encoder = clip_italian.load({str(made)!r})\n"
        "assert encoder.encode_texts(['un gatto']).shape == (1, 8)\n"
        "assert encoder.encode_images([Image.new('RGB', (50, 40), 'red')]).shape == (1, 8)\n"
        "print(*sorted({'torch', 'transformers', 'safetensors', 'onnx', 'scipy', 'pydantic'} & set(sys.modules)))"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_it_works_where_torch_cannot_be_imported(made):
    blocked = "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
    done = run(blocked + f"import clip_italian; print(clip_italian.load({str(made)!r}).encode_texts(['gatto']).shape)")
    assert done.stdout == "(1, 8)\n", done.stderr
    done = run(blocked + "import clip_italian\n"
               f"clip_italian.load({str(made / 'image.onnx')!r})")  # fmt: skip
    assert "BadModel" in done.stderr and "clip-italian export" in done.stderr


@pytest.mark.parametrize("name", ["image.onnx", "text.onnx", "tokenizer.json"])
def test_a_missing_cut_or_altered_file_is_named_with_its_hash(copied, name):
    path = copied / name
    digest = json.loads((copied / "model.json").read_text("utf-8"))["files"][name]
    whole = path.read_bytes()
    altered = bytes([*whole[:100], whole[100] ^ 1]) + whole[101:]
    for data, word in (
        (whole[: len(whole) // 2], "cut short"),
        (b"", "cut short"),
        (altered, "altered"),
        (None, "missing"),
    ):
        path.unlink()
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(BadModel) as error:
            load(copied)
        assert str(path) in str(error.value) and word in str(error.value) and digest[:12] in str(error.value)
        path.write_bytes(whole)


def test_a_file_altered_or_deleted_after_opening_is_found_before_use(copied):
    encoder = load(copied)
    (copied / "text.onnx").write_bytes(b"x")
    (copied / "image.onnx").unlink()
    with pytest.raises(BadModel, match=r"text\.onnx: was altered"):
        encoder.encode_texts(["gatto"])
    with pytest.raises(BadModel, match=r"image\.onnx: is missing"):
        encoder.encode_images(pictures(1))


def change(directory, **values):
    path = directory / "model.json"
    description = json.loads(path.read_text("utf-8")) | values
    path.write_text(json.dumps(description), "utf-8")
    return description


@pytest.mark.parametrize(("values", "message"), [
    ({"max_length": 5}, "altered"),
    ({"patch_size": 64}, "altered"),
    ({"preprocess": {"size": 32, "resize": "crop", "mean": [0.5] * 3, "std": [0.5] * 3}}, "altered"),
    ({"format": "onnx 1"}, "export the model again"),
    ({"format": "onnx 3"}, "update clip-italian"),
    ({"files": {"image.onnx": "0"}}, "the SHA-256 of exactly image.onnx, text.onnx, tokenizer.json"),
])  # fmt: skip
def test_an_altered_description_is_refused(copied, values, message):
    change(copied, **values)
    with pytest.raises(BadModel, match=message):
        load(copied)


def test_a_damaged_or_missing_description_is_refused_without_torch(copied):
    path = copied / "model.json"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(BadModel, match="cannot be read"):
        load(copied)
    path.unlink()
    with pytest.raises(BadModel, match=r"model\.json: is missing"):
        load(copied)


def test_settings_that_describe_no_model_are_refused(copied):
    for values in ({"preprocess": {"size": -1}}, {"dim": "many"}, {"max_length": 1}, {"scale": None}):
        whole = (copied / "model.json").read_bytes()
        description = change(copied, **values)
        change(copied, fingerprint=fingerprint(description))
        with pytest.raises(BadModel):
            load(copied).encode_texts(["gatto"])
        (copied / "model.json").write_bytes(whole)


def test_a_network_from_elsewhere_is_refused(copied):
    from clip_italian.files import sha256_file

    def take(name, other):
        (copied / name).write_bytes(other)
        files = json.loads((copied / "model.json").read_text("utf-8"))["files"] | {name: sha256_file(copied / name)}
        change(copied, fingerprint=fingerprint(change(copied, files=files)))

    take("image.onnx", (copied / "text.onnx").read_bytes())
    with pytest.raises(BadModel, match="not written by"):
        load(copied).encode_images(pictures(1))
    take("text.onnx", b"no network")
    with pytest.raises(BadModel, match="onnxruntime cannot open it"):
        load(copied).encode_texts(["gatto"])
    take("tokenizer.json", b"{}")
    with pytest.raises(BadModel, match="tokenizer"):
        load(copied)


def test_networks_that_nothing_describes_are_refused(made, tmp_path):
    shutil.copyfile(made / "text.onnx", tmp_path / "model.onnx")
    with pytest.raises(BadModel, match=r"holds model\.onnx.*clip-italian export"):
        load(tmp_path)


def test_a_network_without_the_patches_that_are_promised_is_refused(copied):
    image = onnx.load(copied / "image.onnx")
    del image.graph.output[1]
    onnx.save(image, copied / "image.onnx")
    from clip_italian.files import sha256_file

    files = json.loads((copied / "model.json").read_text("utf-8"))["files"]
    files["image.onnx"] = sha256_file(copied / "image.onnx")
    change(copied, fingerprint=fingerprint(change(copied, files=files)))
    with pytest.raises(BadModel, match="gives no patches"):
        load(copied).encode_patches(pictures(1)[0])


def test_bad_input_and_devices_are_refused(made):
    for broken in (b"no picture", b"", Image.new("RGB", (0, 5))):
        with pytest.raises(CorruptImage):
            load(made).encode_images([broken])
        with pytest.raises(CorruptImage):
            load(made).encode_patches(broken)
    with pytest.raises(TypeError, match="list"):
        load(made).encode_texts("gatto")
    with pytest.raises(TypeError, match="list"):
        load(made).encode_images("gatto.jpg")
    with pytest.raises(BadModel, match="CPU"):
        load(made, device="cuda")


@pytest.fixture
def networks_of_made(made, monkeypatch):
    """Let an export take the networks of `made` instead of writing its own, which takes seconds."""
    from clip_italian.models import onnx_export

    def copy(folder, checkpoint, weights):
        for name in ("image.onnx", "text.onnx"):
            shutil.copyfile(made / name, folder / name)

    monkeypatch.setattr(onnx_export, "_write_networks", copy)


def test_export_refuses_and_leaves_nothing(source, made, networks_of_made, tmp_path):
    def refuse(before, after):
        assert before.fingerprint == load(source).fingerprint
        assert after.fingerprint == load(made).fingerprint
        raise ClipItalianError("too much was lost")

    with pytest.raises(ClipItalianError, match="too much"):
        export_model(source, tmp_path / "out", check=refuse)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CannotWrite, match="nothing is overwritten"):
        export_model(source, made)
    with pytest.raises(BadModel, match="exported already"):
        export_model(made, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_float_export_with_other_vectors_is_refused(networks_of_made, tmp_path):
    other = saved(tmp_path, "scratch-image", "scratch-text", seed=1)
    with pytest.raises(BadModel, match="other vectors"):
        export_model(other, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [other]


def initializers(path):
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}


@pytest.mark.parametrize(("weights", "least"), [("float16", 0.9999), ("int8", 0.97)])
def test_small_weights_take_less_room_and_compute_in_float(source, made, tmp_path, monkeypatch, weights, least):
    from clip_italian.models import onnx_weights

    monkeypatch.setattr(onnx_weights, "LEAST_INT8", 2000)
    out = tmp_path / "out"
    encoder = export_model(source, out, weights=weights)
    description = json.loads((out / "model.json").read_text("utf-8"))
    assert description["weights"] == weights and encoder.fingerprint == description["fingerprint"]
    share = {"float16": 0.6, "int8": 0.4}[weights]
    for name in ("image.onnx", "text.onnx"):
        large = sum(value.nbytes for value in initializers(made / name).values())
        assert sum(value.nbytes for value in initializers(out / name).values()) < share * large
        kinds = {node.op_type for node in onnx.load(out / name).graph.node}
        assert not {kind for kind in kinds if "Integer" in kind or kind.startswith(("QLinear", "Dynamic"))}
    original = load(source)
    images = pictures(5)
    assert lowest_cosine(original.encode_images(images), encoder.encode_images(images)) >= least
    assert lowest_cosine(original.encode_texts(TEXTS), encoder.encode_texts(TEXTS)) >= least
    assert encoder.encode_patches(images[0]).shape == original.encode_patches(images[0]).shape
    together = encoder.encode_texts(TEXTS)
    for text, row in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(encoder.encode_texts([text])[0], row, atol=1e-5)  # whatever stands beside it

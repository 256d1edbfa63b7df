"""The model directory: round trips, what is refused, and that a save cut off anywhere loses nothing."""

import contextlib
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small import CAPTIONS, IMAGE, TEXT, checkpoint, text_tokenizer

from clip_italian import files
from clip_italian.encoder import load
from clip_italian.errors import BadModel
from clip_italian.models.checkpoint import learned_tensors, load_checkpoint, load_learned, save_checkpoint

KINDS = [*((image, "bag-of-words") for image in IMAGE), *(("scratch-image", text) for text in TEXT)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models") / "small"
    save_checkpoint(checkpoint(), directory)
    return directory


@pytest.fixture
def copy(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def rewrite(directory, **changes):
    """Change model.json; a change to None takes the key out."""
    description = json.loads((directory / "model.json").read_text()) | changes
    (directory / "model.json").write_text(json.dumps({k: v for k, v in description.items() if v is not None}))


def rehash(directory, name):
    description = json.loads((directory / "model.json").read_text())
    description["files"][name] = hashlib.sha256((directory / name).read_bytes()).hexdigest()
    rewrite(directory, files=description["files"])


@torch.no_grad()
def vectors(made):
    made.model.eval()
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(9))
    return torch.cat([made.model.encode_images(pixels), made.model.encode_texts(*made.tokenizer.encode(CAPTIONS))])


@pytest.mark.parametrize(("image", "text"), KINDS)
def test_a_model_comes_back_equal(image, text, tmp_path, request):
    for kind, fixture in (("efficientnet-lite2", "lite_tower"), ("multilingual-e5-small", "e5_package")):
        if kind in (image, text):
            request.getfixturevalue(fixture)  # skips without the extra base
    made = checkpoint(image, text)
    save_checkpoint(made, tmp_path / "model")
    again = load_checkpoint(tmp_path / "model")
    assert torch.equal(vectors(again), vectors(made))
    assert (again.name, again.preprocess, again.notes) == (made.name, made.preprocess, made.notes)
    assert again.tokenizer.max_length == 16
    assert again.model.scale.item() == pytest.approx(17.0)
    stored = load_file(tmp_path / "model" / "model.safetensors")
    assert set(stored) == set(learned_tensors(made.model))
    if "e5" in text:
        assert not (tmp_path / "model" / "tokenizer.json").exists()
        assert {"text_tower.pieces.weight", "text_tower.layers.11.query.weight"}.isdisjoint(stored)


def test_half_precision_is_half_the_size_and_loads_as_float32(saved, tmp_path):
    made = checkpoint(image="huggingface")
    save_checkpoint(made, tmp_path / "half", half=True)
    stored = load_file(tmp_path / "half" / "model.safetensors")
    counters = {name for name, tensor in made.model.state_dict().items() if not tensor.is_floating_point()}
    assert counters
    for name, tensor in stored.items():
        assert tensor.dtype == (torch.int64 if name in counters else torch.float16), name
    again = load_checkpoint(tmp_path / "half")
    assert {t.dtype for t in again.model.state_dict().values()} == {torch.float32, torch.int64}
    assert (vectors(again) * vectors(made)).sum(1).min() > 0.9999


def test_the_description_is_read_by_people(saved):
    text = (saved / "model.json").read_text("utf-8")
    assert '"scale": 17.0' in text
    assert '"città"' in text
    assert sorted(path.name for path in saved.iterdir()) == ["model.json", "model.safetensors", "tokenizer.json"]


class Killed(BaseException):
    pass


def test_a_save_stopped_anywhere_leaves_the_old_or_the_new_model(tmp_path, monkeypatch):
    old, new = checkpoint(seed=1), checkpoint(text="scratch-text", seed=2)
    known = [vectors(old), vectors(new)]
    real, seen = Path.replace, []
    for stop in range(6):
        directory, renames = tmp_path / str(stop), 0
        monkeypatch.setattr(Path, "replace", real)
        save_checkpoint(old, directory)

        def replace(self, target, stop=stop):
            nonlocal renames
            if renames == stop:
                raise Killed
            renames += 1
            return real(self, target)

        monkeypatch.setattr(Path, "replace", replace)
        with contextlib.suppress(Killed):
            save_checkpoint(new, directory)
        found = vectors(load_checkpoint(directory))
        seen.append([torch.equal(found, one) for one in known].index(True))
        monkeypatch.setattr(Path, "replace", real)
        save_checkpoint(new, directory)
        assert torch.equal(vectors(load_checkpoint(directory)), known[1])
        assert len(list(directory.iterdir())) == 3
    assert seen == [0, 0, 0, 1, 1, 1]


def test_a_full_disk_leaves_the_old_model(copy, monkeypatch):
    before = vectors(load_checkpoint(copy))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(checkpoint(seed=3), copy)
    monkeypatch.undo()
    assert torch.equal(vectors(load_checkpoint(copy)), before)
    assert len(list(copy.iterdir())) == 3


# --- what is refused ---


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("kind", ["missing", "cut", "altered"])
def test_a_file_that_is_not_whole_is_refused_by_name(copy, name, kind):
    path = copy / name
    data = path.read_bytes()
    path.unlink()
    if kind != "missing":
        path.write_bytes(data[:-7] if kind == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(
        BadModel, match=f"{name}: " + ("is missing" if kind == "missing" else "was altered or cut short")
    ):
        load(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"{}", b"\x10" + b"\0" * 7 + b"{" * 16])
def test_a_file_of_another_kind_is_refused_by_name(copy, name, content):
    (copy / name).write_bytes(content)
    rehash(copy, name)
    with pytest.raises(BadModel, match=name if name == "tokenizer.json" else "safetensors"):
        load(copy)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"files": []}', b'{"files": 3}']
)
def test_a_garbled_description_is_refused(copy, content):
    (copy / "model.json").write_bytes(content)
    with pytest.raises(BadModel, match=r"model\.json"):
        load(copy)


@pytest.mark.parametrize("found", [2, "1", None])
def test_another_format_is_refused(copy, found):
    rewrite(copy, format=found)
    with pytest.raises(BadModel, match="this version reads 1"):
        load(copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"dim": None}, {"dim": "8"}, {"dim": -8}, {"dim": 9}, {"dim": 10**15},
        {"scale": 0}, {"scale": None}, {"scale": []},
        {"image_tower": None}, {"image_tower": []}, {"image_tower": {"type": "camera"}}, {"image_tower": 4},
        {"text_tower": {"vocabulary": 300}}, {"text_tower": {"type": "bag-of-words"}}, {"text_tower": "bert"},
        {"text_tower": {"type": "bag-of-words", "vocabulary": -3}}, {"image_head": "linear"},
        {"text_head": {"type": 3}},
        {"image_head": {"type": "mlp", "hidden": "many"}}, {"preprocess": None}, {"preprocess": {"size": 32}},
        {"preprocess": {"size": 32, "resize": "fold", "mean": [0, 0, 0], "std": [1, 1, 1]}},
        {"preprocess": {"size": 32, "resize": "crop", "mean": [0, 0], "std": [1, 1, 1]}},
        {"max_length": None}, {"max_length": 2}, {"max_length": "x"}, {"files": {}},
        {"files": {"../model.safetensors": "0"}}, {"files": {"model.safetensors": 5, "tokenizer.json": None}},
    ],
    ids=str,
)  # fmt: skip
def test_a_description_of_no_model_is_refused(copy, changes):
    rewrite(copy, **changes)
    with pytest.raises(BadModel):
        load(copy)


def test_a_model_without_its_tokenizer_is_refused(copy):
    description = json.loads((copy / "model.json").read_text())
    rewrite(copy, files={"model.safetensors": description["files"]["model.safetensors"]})
    with pytest.raises(BadModel, match=r"tokenizer\.json is not among"):
        load(copy)


def test_tensors_of_other_names_or_shapes_are_refused_before_any_is_copied(copy):
    weights = load_file(copy / "model.safetensors")
    model = checkpoint(seed=5).model
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    name = sorted(weights)[-1]
    for changed, said in (
        ({n: t for n, t in weights.items() if n != name}, rf"1 tensors do not fit .* {name}"),
        (weights | {"extra": torch.zeros(1)}, "extra"),
        (weights | {name: torch.zeros(3, 3, 3)}, rf"{name} is \(3, 3, 3\), expected"),
    ):
        with pytest.raises(BadModel, match=said):
            load_learned(model, changed, "here")
        save_file(changed, copy / "model.safetensors")
        rehash(copy, "model.safetensors")
        with pytest.raises(BadModel, match=said):
            load(copy)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_tokenizer_larger_than_its_tower_is_refused(copy):
    backend = text_tokenizer("bag-of-words").backend
    backend.add_tokens(["gattopardo"] + [f"parola{n}" for n in range(300)])
    (copy / "tokenizer.json").write_text(backend.to_str(), "utf-8")
    rehash(copy, "tokenizer.json")
    with pytest.raises(BadModel, match=r"largest piece id is .* text tower has 300 rows"):
        load(copy)


def test_texts_longer_than_the_tower_reads_are_refused(tmp_path):
    made = checkpoint(text="scratch-text")
    save_checkpoint(made, tmp_path)
    rewrite(tmp_path, max_length=17)
    with pytest.raises(BadModel, match="cut at 17 pieces, but the text tower reads 16"):
        load(tmp_path)


def test_a_directory_that_is_no_model_says_what_is_missing(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"1")
    with pytest.raises(BadModel, match=r"neither model\.json .* nor config\.json .* first validation"):
        load(tmp_path)
    with pytest.raises(BadModel, match=r"model\.json is missing"):
        load_checkpoint(tmp_path)


def test_it_opens_as_an_encoder(saved):
    encoder = load(str(saved))
    assert (encoder.name, encoder.dim) == ("scratch-image bag-of-words", 8)
    np.testing.assert_allclose(encoder.encode_texts(CAPTIONS), vectors(load_checkpoint(saved))[2:], atol=1e-6)

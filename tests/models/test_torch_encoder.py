"""Our dual encoder as an Encoder: rows, batches, and the fingerprint."""

import json
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small import CAPTIONS, checkpoint

from clip_italian.encoder import Encoder, PatchEncoder, load
from clip_italian.errors import BadModel, CorruptImage
from clip_italian.models.checkpoint import save_checkpoint
from clip_italian.models.tokenizer import Tokenizer
from clip_italian.models.torch_encoder import BATCH, TorchEncoder, fingerprint, patch_preprocess


@pytest.fixture(scope="module")
def made():
    return checkpoint()


@pytest.fixture(scope="module")
def encoder(made):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return TorchEncoder(made.model, made.tokenizer, made.preprocess, name="small")


def pictures(count):
    noise = np.random.default_rng(3).integers(0, 256, (count, 40, 50, 3), np.uint8)
    return [Image.fromarray(pixels) for pixels in noise]


def test_rows_are_the_models_own(encoder, made):
    images = pictures(3)
    pixels = torch.from_numpy(np.stack([made.preprocess(image) for image in images]))
    with torch.no_grad():
        expected = made.model.encode_images(pixels).numpy()
    np.testing.assert_allclose(encoder.encode_images(images), expected, atol=1e-6)
    assert isinstance(encoder, Encoder)
    assert encoder.scale == pytest.approx(17)


def test_patches_lie_where_they_are_in_the_picture():
    made = checkpoint(image_head={"type": "linear"})
    encoder = TorchEncoder(made.model, made.tokenizer, made.preprocess, name="small")
    assert isinstance(encoder, PatchEncoder)
    plain, marked = Image.new("RGB", (80, 40), "gray"), Image.new("RGB", (80, 40), "gray")
    marked.paste("red", (60, 0, 80, 10))  # the upper right
    found, before = encoder.encode_patches(marked), encoder.encode_patches(plain)
    assert found.dtype == np.float32 and found.shape == (6, 6, 8)  # of 48 pixels, one and a half times 32
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, atol=1e-5)
    moved = 1 - (found * before).sum(-1)
    row, column = np.unravel_index(moved.argmax(), moved.shape)
    assert row <= 2 and column >= 3  # in its quarter: random filters spread what they see by a place or two
    with pytest.raises(CorruptImage):
        encoder.encode_patches(b"no picture")


def test_patches_of_a_cutting_model_cover_the_whole_picture(made):
    cutting = TorchEncoder(made.model, made.tokenizer, replace(made.preprocess, resize="crop"), name="small")
    image = Image.new("RGB", (120, 40), "gray")
    image.paste("red", (0, 0, 15, 40))  # outside the middle square
    other = Image.new("RGB", (120, 40), "gray")
    assert np.allclose(cutting.encode_images([image]), cutting.encode_images([other]), atol=1e-5)
    assert not np.allclose(cutting.encode_patches(image), cutting.encode_patches(other), atol=1e-3)


def test_a_map_that_is_fine_enough_is_not_enlarged(made):
    sizes = {32: 48, 64: 96, 96: 96, 128: 128, 100: 100}  # 100 is no multiple of the tower's step
    for size, expected in sizes.items():
        found = patch_preprocess(made.model, replace(made.preprocess, size=size))
        assert (found.size, found.resize) == (expected, "squash")
    slow = checkpoint(image_head={"type": "places", "hidden": 16, "heads": 2}).model
    assert patch_preprocess(slow, made.preprocess).size == 32


def test_a_tower_without_a_grid_is_no_patch_encoder(made, monkeypatch):
    tower = made.model.image_tower
    body = tower.body
    monkeypatch.setattr(tower, "step", None)
    whole = TorchEncoder(made.model, made.tokenizer, made.preprocess, name="small")
    assert isinstance(whole, PatchEncoder) and whole.encode_patches(pictures(1)[0]).shape == (4, 4, 8)
    monkeypatch.setattr(tower, "body", lambda hidden: replace(body(hidden), grid=None))
    lost = TorchEncoder(made.model, made.tokenizer, made.preprocess, name="small")
    assert isinstance(lost, Encoder) and not isinstance(lost, PatchEncoder)


def test_batches_change_nothing(encoder):
    texts = [f"{CAPTIONS[n % 4]} {n}" for n in range(BATCH + 5)]
    rows = encoder.encode_texts(iter(texts))
    assert (rows.shape, rows.dtype) == ((BATCH + 5, 8), np.float32)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    for number in (0, BATCH - 1, BATCH, BATCH + 4):
        np.testing.assert_allclose(encoder.encode_texts([texts[number]])[0], rows[number], atol=1e-5)
    images = pictures(BATCH + 1)
    np.testing.assert_allclose(encoder.encode_images(images)[-1:], encoder.encode_images(images[-1:]), atol=1e-5)


def test_nothing_gives_no_rows(encoder):
    for rows in (encoder.encode_images([]), encoder.encode_texts([])):
        assert (rows.shape, rows.dtype) == ((0, 8), np.float32)


def test_odd_texts_are_read(encoder):
    rows = encoder.encode_texts(["", " ", "gatto " * 2000, "🐈", "\x00"])
    assert np.isfinite(rows).all()


def test_a_corrupt_picture_is_named(encoder, tmp_path):
    (tmp_path / "rotta.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(CorruptImage, match=r"rotta\.jpg"):
        encoder.encode_images([pictures(1)[0], tmp_path / "rotta.jpg"])


def test_a_device_that_is_not_there_is_refused(made):
    with pytest.raises(BadModel, match="use cpu"):
        TorchEncoder(made.model, made.tokenizer, made.preprocess, name="small", device="nowhere")


def test_the_fingerprint_is_the_models_wherever_and_whenever_it_is_read(made, encoder, tmp_path):
    assert fingerprint(made.model, made.tokenizer, made.preprocess) == encoder.fingerprint
    assert fingerprint(*(getattr(checkpoint(), part) for part in ("model", "tokenizer", "preprocess"))) == (
        encoder.fingerprint
    )
    save_checkpoint(made, tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "altrove")
    assert load(tmp_path / "altrove").fingerprint == encoder.fingerprint
    script = f"import clip_italian; print(clip_italian.load({str(tmp_path / 'altrove')!r}).fingerprint)"
    paths = os.pathsep.join(path for path in sys.path if path)
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": paths}
        out = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert out.stdout.strip() == encoder.fingerprint


def test_the_fingerprint_changes_with_whatever_changes_a_vector(made, encoder):
    model, tokenizer, preprocess = made.model, made.tokenizer, made.preprocess
    others = [
        fingerprint(checkpoint(seed=1).model, tokenizer, preprocess),
        fingerprint(model, Tokenizer(tokenizer.backend, 12), preprocess),
        fingerprint(model, tokenizer, replace(preprocess, resize="crop")),
        fingerprint(model, tokenizer, replace(preprocess, size=64)),
    ]
    # The same weights read by another architecture: a pooling is in no tensor.
    again = checkpoint().model
    again.image_tower.spec = {**again.image_tower.spec, "pooling": "cls"}
    others.append(fingerprint(again, tokenizer, preprocess))
    again = checkpoint().model
    with torch.no_grad():
        again.text_head.layers[1].bias[3] += 1e-6
    others.append(fingerprint(again, tokenizer, preprocess))
    assert len({*others, encoder.fingerprint}) == 7
    assert all(len(one) == 64 for one in others)


def test_notes_and_names_change_no_fingerprint(made, encoder, tmp_path):
    save_checkpoint(replace(made, name="altro", notes={}), tmp_path)
    assert json.loads(Path(tmp_path / "model.json").read_text())["name"] == "altro"
    assert load(tmp_path).fingerprint == encoder.fingerprint


def test_a_single_text_or_picture_is_not_taken_for_many(encoder):
    with pytest.raises(TypeError, match="put a single one into a list"):
        encoder.encode_texts("un gatto")
    with pytest.raises(TypeError, match="put a single one into a list"):
        encoder.encode_images("gatto.jpg")

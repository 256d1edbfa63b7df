"""The waist: vectors that never mix, and openers whose library is missing."""

import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

from clip_italian import Embeddings, Encoder, PatchEncoder, encoder, load
from clip_italian.errors import BadModel, MissingExtra


class Fake:
    name, dim, fingerprint = "fake", 2, "0" * 64

    def encode_images(self, images):
        return np.ones((len(list(images)), 2), np.float32)

    encode_texts = encode_images


class FakeWithPatches(Fake):
    def encode_patches(self, image):
        return np.ones((1, 1, 2), np.float32)


def openers(monkeypatch, **functions):
    module = ModuleType("some_openers")
    module.__dict__.update(functions)
    monkeypatch.setitem(sys.modules, "some_openers", module)
    monkeypatch.setattr(encoder, "OPENERS", [f"some_openers:{name}" for name in functions])


def test_similarity_is_the_cosine_of_unit_rows():
    images = Embeddings(np.array([[1, 0], [0.6, 0.8]], np.float32), "a")
    texts = Embeddings(np.array([[0, 1]], np.float32), "a")
    np.testing.assert_allclose(images.similarity(texts), [[0], [0.8]])


def test_vectors_of_two_models_never_mix():
    vectors = np.ones((1, 2), np.float32)
    with pytest.raises(BadModel, match="aaaaaaaaaaaa and bbbbbbbbbbbb"):
        Embeddings(vectors, "a" * 64).similarity(Embeddings(vectors, "b" * 64))


def test_openers_are_tried_in_order(monkeypatch):
    tried = []

    def none(name, device):
        tried.append((name, device))

    openers(monkeypatch, first=none, second=lambda name, device: Fake())
    assert isinstance(load("x", device="cuda:1"), Fake)
    assert tried == [("x", "cuda:1")]


def test_a_name_nobody_knows_is_refused(monkeypatch):
    openers(monkeypatch, first=lambda name, device: None)
    with pytest.raises(BadModel, match="runs/none: no such model: neither one that comes"):
        load("runs/none")


@pytest.mark.parametrize("library", ["torch", "transformers", "tokenizers", "torch.nn"])
def test_a_missing_library_names_the_extra(monkeypatch, library):
    def needs(name, device):
        raise ModuleNotFoundError(f"No module named {library!r}", name=library)

    openers(monkeypatch, first=needs)
    with pytest.raises(MissingExtra, match=r"runs/mine: .*pip install 'clip-italian\[train\]'"):
        load("runs/mine")


def test_a_name_without_a_library_is_a_wrong_name_and_not_a_reason_to_install_it(monkeypatch, tmp_path):
    def needs(name, device):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    openers(monkeypatch, first=needs)
    with pytest.raises(BadModel, match="pippo: no such model"):
        load("pippo")
    with pytest.raises(MissingExtra, match="runs/pippo: no directory here, and a hub's model needs torch"):
        load("runs/pippo")
    with pytest.raises(BadModel, match="no such model"):
        load(tmp_path)
    (tmp_path / "model.json").write_text("{}")
    with pytest.raises(MissingExtra, match="opening a model that is not exported needs torch"):
        load(tmp_path)


def test_what_is_said_without_torch(tmp_path):
    (tmp_path / "model.json").write_text("{}")
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None; import clip_italian as c\n"
        f"for name in ('pippo', {str(tmp_path)!r}, 'google/siglip2'):\n"
        "    try: c.load(name)\n"
        "    except c.ClipItalianError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    name, directory, hub = done.stdout.splitlines()
    assert name.startswith("BadModel pippo: no such model")
    assert directory.startswith(f"MissingExtra {tmp_path}: opening a model that is not exported needs torch")
    assert hub.startswith("MissingExtra google/siglip2: no directory here, and a hub's model needs torch")
    assert hub.endswith("run: pip install 'clip-italian[train]'")


def test_an_opener_that_cannot_be_imported_names_the_extra_too(monkeypatch, tmp_path):
    (tmp_path / "needs_torch.py").write_text("import torch.nonesuch\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(encoder, "OPENERS", ["needs_torch:open_it"])
    with pytest.raises(MissingExtra, match=r"needs torch.*\[train\]"):
        load("runs/mine")


def test_another_missing_module_is_no_missing_extra(monkeypatch):
    monkeypatch.setattr(encoder, "OPENERS", ["no_such_module:open_it"])
    with pytest.raises(ModuleNotFoundError):
        load("runs/mine")


def test_who_is_an_encoder():
    assert isinstance(Fake(), Encoder)
    assert not isinstance(Fake(), PatchEncoder)
    assert isinstance(FakeWithPatches(), PatchEncoder)
    assert not isinstance(object(), Encoder)

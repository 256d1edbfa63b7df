"""The waist: vectors that never mix, and openers whose library is missing."""

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
    with pytest.raises(
        MissingExtra, match="runs/pippo: there is no such directory, and a model of the hub needs torch"
    ):
        load("runs/pippo")
    with pytest.raises(MissingExtra, match="opening a model that is not exported needs torch"):
        load(tmp_path)


def test_an_opener_that_cannot_be_imported_names_the_extra_too(monkeypatch, tmp_path):
    (tmp_path / "needs_torch.py").write_text("import torch.nonesuch\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(encoder, "OPENERS", ["needs_torch:open_it"])
    with pytest.raises(MissingExtra, match=r"needs torch.*\[train\]"):
        load("runs/mine")


def test_our_own_opener_names_the_extra_without_torch(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.startswith("clip_italian.models")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"pip install 'clip-italian\[train\]'"):
        load(tmp_path)


def test_another_missing_module_is_no_missing_extra(monkeypatch):
    monkeypatch.setattr(encoder, "OPENERS", ["no_such_module:open_it"])
    with pytest.raises(ModuleNotFoundError):
        load("runs/mine")


def test_who_is_an_encoder():
    assert isinstance(Fake(), Encoder)
    assert not isinstance(Fake(), PatchEncoder)
    assert isinstance(FakeWithPatches(), PatchEncoder)
    assert not isinstance(object(), Encoder)

"""Vectors kept in a file: the same as the encoder's, each encoded once, and never those of another model."""

import io
import sqlite3

import numpy as np
import pytest
from PIL import Image

from clip_italian.errors import BadModel, CannotWrite, CorruptImage
from clip_italian.evaluation.kept import KeptVectors


class Counting:
    """Vectors that depend on the item alone; counts what it is asked."""

    name, dim, scale = "counting", 3, 20.0

    def __init__(self, fingerprint="f" * 64):
        self.fingerprint, self.images, self.texts = fingerprint, [], []

    def encode_images(self, images):
        self.images += images
        if b"broken" in images:
            raise CorruptImage("broken")
        return self._rows(images)

    def encode_texts(self, texts):
        self.texts += texts
        return self._rows(texts)

    def _rows(self, items):
        rows = [np.random.default_rng(abs(hash(str(item))) % 2**32).normal(size=3) for item in items]
        return np.asarray(rows, np.float32)


def test_each_text_is_encoded_once_and_order_is_kept(tmp_path):
    inner = Counting()
    kept = KeptVectors(inner, tmp_path / "new" / "folder")
    texts = ["a", "b", "a", "é", ""]
    rows = kept.encode_texts(iter(texts))
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, Counting().encode_texts(texts))
    assert inner.texts == ["a", "b", "é", ""]
    again = KeptVectors(inner, tmp_path / "new" / "folder")
    np.testing.assert_array_equal(again.encode_texts(["é", "c", "a"])[[0, 2]], rows[[3, 0]])
    assert inner.texts == ["a", "b", "é", "", "c"]
    assert (kept.name, kept.dim, kept.fingerprint, kept.scale) == ("counting", 3, "f" * 64, 20.0)


def test_more_than_a_batch(tmp_path):
    texts = [f"testo {number % 900}" for number in range(1500)]
    kept = KeptVectors(Counting(), tmp_path)
    np.testing.assert_array_equal(kept.encode_texts(texts), Counting().encode_texts(texts))
    np.testing.assert_array_equal(kept.encode_texts(texts), Counting().encode_texts(texts))
    assert len(kept.encoder.texts) == 900
    assert kept.encode_texts([]).shape == (0, 3)


def test_pictures_are_known_by_their_bytes_or_pixels(tmp_path):
    inner = Counting()
    kept = KeptVectors(inner, tmp_path)
    stream = io.BytesIO()
    Image.new("RGB", (2, 2), "red").save(stream, "PNG")
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    drawn = [Image.new("RGB", (2, 2), colour) for colour in ("red", "red", "blue")] + [Image.new("RGB", (4, 1), "red")]
    kept.encode_images([tmp_path / "a.png", stream.getvalue(), *drawn])
    assert len(inner.images) == 4  # the file once, and three different drawings
    kept.encode_images([b"red"])
    kept.encode_texts(["red"])
    assert inner.texts == ["red"] and len(inner.images) == 5  # a text and a picture of the same bytes are two things


def test_a_broken_picture_keeps_nothing_of_its_batch(tmp_path):
    kept = KeptVectors(Counting(), tmp_path)
    with pytest.raises(CorruptImage):
        kept.encode_images([b"whole", b"broken"])
    kept.encode_images([b"whole"])
    assert kept.encoder.images == [b"whole", b"broken", b"whole"]


def test_models_do_not_share_vectors(tmp_path):
    KeptVectors(Counting(), tmp_path).encode_texts(["a"])
    other = Counting("e" * 64)
    KeptVectors(other, tmp_path).encode_texts(["a"])
    assert other.texts == ["a"]


def test_a_damaged_file_and_a_place_without_one_are_told(tmp_path):
    kept = KeptVectors(Counting(), tmp_path)
    kept.path.write_bytes(b"no database at all" * 100)
    with pytest.raises(CannotWrite, match=r"ffff\.vectors: vectors cannot be kept there .*; delete it"):
        KeptVectors(Counting(), tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="name another folder"):
        KeptVectors(Counting(), tmp_path / "file")


def test_vectors_of_a_wrong_length_are_refused(tmp_path):
    kept = KeptVectors(Counting(), tmp_path)
    kept.encode_texts(["a"])
    with sqlite3.connect(kept.path) as file:
        file.execute("UPDATE vectors SET row = x'00000000'")
    with pytest.raises(CannotWrite, match="vectors of another length"):
        kept.encode_texts(["a"])
    broken = Counting()
    broken.encode_texts = lambda texts: np.zeros((1, 2), np.float32)
    with pytest.raises(BadModel, match=r"counting: \(1, 2\) vectors where \(1, 3\) were due"):
        KeptVectors(broken, tmp_path / "other").encode_texts(["b"])

"""Exact search against a slow float64 one, ties, refusals; labels against the softmax written out."""

import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import ColourEncoder
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_italian.errors import BadAlbum, BadLabels, BadQuery
from clip_italian.search.album import Album
from clip_italian.search.classify import classify
from clip_italian.search.indexing import index
from clip_italian.search.query import search, stands_out, top


@pytest.fixture
def album(folder: Path, tmp_path: Path) -> Album:
    index(folder, tmp_path / "foto.album", ColourEncoder())
    with Album.open(tmp_path / "foto.album") as album:
        yield album


def test_words_find_colours(album: Album, folder: Path) -> None:
    for colour in ("rosso", "verde", "blu", "giallo"):
        hits = search(album, ColourEncoder(), f"un muro {colour}", k=5)
        assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
        assert {hit.path.stem.split("_")[0] for hit in hits[:3]} == {colour}
        assert hits == sorted(hits, key=lambda hit: -hit.score)
        assert all(hit.path.is_file() and hit.path.is_relative_to(folder) for hit in hits)
        vector = ColourEncoder().encode_images([hits[0].path])[0]
        assert hits[0].score == pytest.approx(float(vector @ ColourEncoder().encode_texts([colour])[0]), abs=1e-5)


@given(n=st.integers(1, 300), k=st.integers(1, 400), copies=st.integers(1, 5), seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_top_equals_the_slow_way(n: int, k: int, copies: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.normal(size=(n, 33)), copies, axis=0)
    vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)[rng.permutation(n * copies)]
    query = vectors[0] + 0.5 * rng.normal(size=33).astype(np.float32)
    query /= np.linalg.norm(query)
    exact = [math.fsum(float(a) * float(b) for a, b in zip(row, query, strict=True)) for row in vectors]
    expected = sorted(range(len(vectors)), key=lambda i: (-round(exact[i], 12), i))[:k]
    order, scores = top(vectors, query, k)
    assert order.tolist() == expected
    assert np.allclose(scores, [exact[i] for i in expected], atol=1e-12)


def test_equal_photos_are_ordered_by_path(tmp_path: Path, paint) -> None:
    for i in range(37):
        paint(tmp_path / "foto" / f"{i:02}.png", "rosso", seed=0)
    paint(tmp_path / "foto" / "zz.png", "blu")
    index(tmp_path / "foto", tmp_path / "x", ColourEncoder())
    with Album.open(tmp_path / "x") as album:
        hits = search(album, ColourEncoder(), "rosso", k=10)
    assert [hit.path.name for hit in hits] == [f"{i:02}.png" for i in range(10)]
    assert len({hit.score for hit in hits}) == 1


def test_bounds(album: Album) -> None:
    assert len(search(album, ColourEncoder(), "rosso", k=1000)) == 12
    assert len(search(album, ColourEncoder(), "rosso")) == 12
    for query in ("", "  \n"):
        with pytest.raises(BadQuery, match="the query is empty; type what the photo shows"):
            search(album, ColourEncoder(), query)
    for k in (0, -3):
        with pytest.raises(BadQuery, match="ask for at least 1"):
            search(album, ColourEncoder(), "rosso", k=k)
    with pytest.raises(BadAlbum, match="not with other"):
        search(album, ColourEncoder("other"), "rosso")
    album.write(gone=album.stamps())
    assert search(album, ColourEncoder(), "rosso") == []


class Pointing:
    """Texts are vectors of their own: the word that is asked for is the first axis, all others lie by chance."""

    def encode_texts(self, texts: Iterable[str]) -> np.ndarray:
        rows = [np.eye(32)[0] if text == "cane" else np.random.default_rng(len(text)).normal(size=32) for text in texts]
        return (np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def photos(dogs: int, others: int) -> np.ndarray:
    rows = np.random.default_rng(0).normal(size=(dogs + others, 32))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[:, 0] = 0
    rows[:dogs, 0] = 1.5
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_what_stands_out() -> None:
    assert stands_out(photos(1, 99), Pointing(), "cane")
    assert not stands_out(photos(0, 100), Pointing(), "cane")
    assert stands_out(photos(100, 0), Pointing(), "cane"), "none is far above the others where all are dogs"
    assert stands_out(photos(0, 5), Pointing(), "cane"), "among five none can stand out"


class Spells:
    """A tokenizer that reads ASCII."""

    def fault(self, text: str) -> str | None:
        return None if text.isascii() else f'cannot read "{text}"'


def test_what_the_model_cannot_read_is_refused(album: Album, folder: Path) -> None:
    encoder = ColourEncoder()
    encoder.tokenizer = Spells()
    assert search(album, encoder, "rosso")
    with pytest.raises(BadQuery, match='the model fake cannot read "кот"; ask in a few Italian words'):
        search(album, encoder, "кот")
    with pytest.raises(BadQuery, match="1,001 characters"):
        search(album, encoder, "r" * 1001)
    assert search(album, encoder, "r" * 1000)
    with pytest.raises(BadQuery, match="holds bytes that are none"):
        search(album, ColourEncoder(), "rosso\udcff")
    with pytest.raises(BadLabels, match='label "кот": the model fake cannot read "кот"'):
        classify(encoder, folder / "blu_2.png", ["blu", "кот"])


def test_classify_softmaxes_scaled_cosines(folder: Path) -> None:
    encoder, image = ColourEncoder(), folder / "blu_2.png"
    labels = ["rosso", "verde", "blu"]
    guesses = classify(encoder, image, labels, templates=["{}"])
    picture = encoder.encode_images([image])[0].astype(float)
    cosines = {label: float(encoder.encode_texts([label])[0].astype(float) @ picture) for label in labels}
    total = sum(math.exp(20 * cosine) for cosine in cosines.values())
    assert [guess.label for guess in guesses] == sorted(labels, key=lambda label: -cosines[label])
    assert guesses[0].label == "blu"
    for label, probability, cosine in guesses:
        assert cosine == pytest.approx(cosines[label], abs=1e-6)
        assert probability == pytest.approx(math.exp(20 * cosines[label]) / total, rel=1e-4)
    encoder.scale = 1.0
    assert classify(encoder, image, labels, templates=["{}"])[0].probability < guesses[0].probability
    assert classify(ColourEncoder(), image, labels)[0].label == "blu"


def test_classify_averages_templates(folder: Path) -> None:
    encoder = ColourEncoder()
    both = classify(encoder, folder / "blu_2.png", ["verde", "giallo"], templates=["{}", "rosso {}"])
    for label, _, cosine in both:
        mean = encoder.encode_texts([label, f"rosso {label}"]).mean(0)
        picture = encoder.encode_images([folder / "blu_2.png"])[0]
        assert cosine == pytest.approx(float(mean / np.linalg.norm(mean) @ picture), abs=1e-6)


def test_bad_labels(folder: Path) -> None:
    image = folder / "blu_2.png"
    with pytest.raises(BadLabels, match="a label is empty"):
        classify(ColourEncoder(), image, ["gatto", " "])
    with pytest.raises(BadLabels, match="a label is empty"):
        classify(ColourEncoder(), image, [])
    with pytest.raises(BadLabels, match='the label "gatto" is given twice'):
        classify(ColourEncoder(), image, ["gatto", "cane", "gatto "])
    with pytest.raises(BadLabels, match=r'"una foto" must hold \{\} once'):
        classify(ColourEncoder(), image, ["gatto"], templates=["una foto"])

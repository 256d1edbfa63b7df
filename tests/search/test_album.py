"""The store: round trips, refusals, faults, and readers beside a writer."""

import dataclasses
import os
import shutil
import sqlite3
import tempfile
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import DIM, ColourEncoder
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_italian.errors import BadAlbum, BadModel, Busy
from clip_italian.search.album import SCHEMA, Album, Photo, Skip, is_blank


def unit(seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).normal(size=DIM)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def photo(path: str, seed: int = 0) -> Photo:
    return Photo(path, 10 + seed, 1_600_000_000_000_000_000 + seed, f"{seed:064x}", 4, 3, None, unit(seed))


def same(left: Photo, right: Photo) -> bool:
    plain = [dataclasses.replace(photo, vector=np.zeros(0)) for photo in (left, right)]
    return (
        dataclasses.astuple(plain[0])[:7] == dataclasses.astuple(plain[1])[:7]
        and left.vector.tobytes() == right.vector.tobytes()
    )


@pytest.fixture
def album(tmp_path: Path) -> Album:
    with Album.create(tmp_path / "x.album", tmp_path, ColourEncoder(), model="runs/mine") as album:
        yield album


file_names = (
    st.binary(min_size=1, max_size=40).filter(lambda name: b"\0" not in name and b"/" not in name).map(os.fsdecode)
)
photos = st.builds(
    Photo,
    path=file_names,
    size=st.integers(0, 2**62),
    mtime_ns=st.integers(-(2**62), 2**62),
    sha256=st.integers(0, 2**256 - 1).map("{:064x}".format),
    width=st.integers(1, 10**6),
    height=st.integers(1, 10**6),
    taken=st.none() | st.just("2020-02-29T12:00:00"),
    vector=st.integers(0, 1000).map(unit),
)


@given(
    rows=st.lists(photos, max_size=8, unique_by=lambda photo: photo.path),
    bad=st.lists(st.tuples(file_names, st.text(max_size=20)), max_size=4, unique_by=lambda pair: pair[0]),
)
@settings(max_examples=40, deadline=None)
def test_rows_come_back_as_they_went_in(rows: list[Photo], bad: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.album")
        skips = {name: Skip(name, 1, 2, reason) for name, reason in bad}
        rows = [row for row in rows if row.path not in skips]
        with Album.create(path, folder, ColourEncoder()) as album:
            album.write(photos=rows, skips=skips.values())
        with Album.open(path) as album:
            back = list(album.photos())
            assert [os.fsencode(row.path) for row in back] == sorted(os.fsencode(row.path) for row in rows)
            by_path = {row.path: row for row in rows}
            assert all(same(row, by_path[row.path]) for row in back)
            assert album.skips() == skips
            gallery = album.gallery()
            assert list(gallery.paths) == [row.path for row in back]
            assert gallery.vectors.shape == (len(back), DIM)
            assert all(np.array_equal(v, row.vector) for v, row in zip(gallery.vectors, back, strict=True))
        assert [item.name for item in Path(folder).iterdir()] == ["x.album"], "one file"


def test_meta(album: Album, tmp_path: Path) -> None:
    assert (album.model, album.encoder_name, album.dim) == ("runs/mine", "fake", DIM)
    assert album.root == tmp_path


def test_a_write_is_all_or_nothing(album: Album) -> None:
    album.write(photos=[photo("a", 1)], skips=[Skip("b", 1, 1, "bad")])
    long = dataclasses.replace(photo("d", 3), vector=np.ones(DIM, np.float32))
    for broken in (
        long,
        dataclasses.replace(long, vector=unit(0)[:5]),
        dataclasses.replace(long, vector=unit(0) * np.nan),
    ):
        with pytest.raises(BadModel, match=f"fake gave d a vector of shape .* not a unit vector of {DIM}"):
            album.write(photos=[photo("c", 2), broken], gone=["a"])
    with pytest.raises(BadAlbum):
        album.write(photos=[photo("c", 2), photo("c", 3)], gone=["a"])
    assert [row.path for row in album.photos()] == ["a"]
    album.write(photos=[photo("b", 2)], skips=[Skip("a", 2, 2, "bad")])
    assert [row.path for row in album.photos()] == ["b"]
    assert list(album.skips()) == ["a"]


def test_the_gallery_is_kept_until_somebody_writes(album: Album) -> None:
    album.write(photos=[photo("a", 1)])
    first = album.gallery()
    assert album.gallery() is first
    with pytest.raises(ValueError, match="read-only"):
        first.vectors[0] = 0
    with Album.open(album.path) as other:
        other.write(photos=[photo("b", 2)])
    assert album.gallery().paths == ("a", "b")
    album.write(gone=["a"])
    assert album.gallery().paths == ("b",)


def test_readers_read_while_a_writer_writes(album: Album) -> None:
    album.write(photos=[photo("a", 1)])
    with Album.open(album.path) as writer, writer._transaction() as connection:
        connection.execute("DELETE FROM photos")
        assert album.gallery().paths == ("a",), "readers see the last finished state"
    assert album.gallery().paths == ()


def test_two_writers_do_not_mix(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clip_italian.search.album._WAIT_S", 0.05)
    with Album.open(album.path) as other, album._transaction(), pytest.raises(Busy, match="another process is writing"):
        other.write(photos=[photo("a")])


def test_other_files_are_not_albums(tmp_path: Path, album: Album) -> None:
    with pytest.raises(BadAlbum, match=r"none\.album: there is no album; make one with: clip-italian index"):
        Album.open(tmp_path / "none.album")
    assert not (tmp_path / "none.album").exists()
    (tmp_path / "text").write_text("just words " * 100)
    foreign = tmp_path / "foreign.db"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE photos (path)")
    connection.close()
    before = foreign.read_bytes()
    for path, message in ((tmp_path / "text", "not an album, or damaged"), (foreign, "database of another program")):
        with pytest.raises(BadAlbum, match=message):
            Album.open(path)
        with pytest.raises(BadAlbum):
            Album.create(path, tmp_path, ColourEncoder())
    assert foreign.read_bytes() == before
    with pytest.raises(BadAlbum, match="already exists"):
        Album.create(album.path, tmp_path, ColourEncoder())


def test_a_file_left_empty_by_a_crash_is_blank(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert is_blank(tmp_path / "x")
    with pytest.raises(BadAlbum, match="there is no album"):
        Album.open(tmp_path / "x")
    Album.create(tmp_path / "x", tmp_path, ColourEncoder()).close()
    assert not is_blank(tmp_path / "x")


def test_newer_albums_are_refused_untouched(album: Album, tmp_path: Path) -> None:
    album.close()
    with sqlite3.connect(album.path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    before = album.path.read_bytes()
    with pytest.raises(
        BadAlbum, match=rf"album of version {SCHEMA + 1}, and this program knows version {SCHEMA}; upgrade"
    ):
        Album.open(album.path)
    assert album.path.read_bytes() == before


def test_another_model_is_refused_by_name(album: Album) -> None:
    album.check(ColourEncoder())
    with pytest.raises(BadAlbum, match=r"made with fake \(fake0+\), not with other \(other0+\)"):
        album.check(ColourEncoder("other"))


def test_the_model_is_opened_again(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clip_italian.encoder.OPENERS", ["fake_encoder:open_fake"])
    with pytest.raises(BadModel, match=r"runs/mine: .* \(it made this album; give --model where it is now\)"):
        album.load_encoder()
    assert album.load_encoder("fake").name == "fake"
    with pytest.raises(BadAlbum, match="fake2"):
        album.load_encoder("fake2")


def test_damage_is_told(album: Album, tmp_path: Path) -> None:
    album.write(photos=[photo(f"photo {i}", i) for i in range(200)])
    album.close()
    whole = album.path.read_bytes()
    for vector in (b"\0" * 4 * DIM, b"short"):
        shutil.copy(album.path, tmp_path / "damaged")
        with sqlite3.connect(tmp_path / "damaged") as connection:
            connection.execute("UPDATE photos SET vector = ? WHERE path = ?", (vector, b"photo 7"))
        connection.close()
        with Album.open(tmp_path / "damaged") as damaged, pytest.raises(BadAlbum, match="vector of photo 7 is damaged"):
            damaged.gallery()
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadAlbum), Album.open(tmp_path / "cut") as cut:
        cut.gallery()
    with sqlite3.connect(album.path) as connection:
        connection.execute("DELETE FROM meta WHERE key = 'dim'")
    connection.close()
    with pytest.raises(BadAlbum, match="does not say its dim"):
        Album.open(album.path)

"""Bringing an album up to date: what is done again, what is not, and what survives a stop."""

import os
import shutil
import threading
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from fake_encoder import ColourEncoder
from PIL import Image

from clip_italian.encoder import ImageLike
from clip_italian.errors import BadAlbum, BadModel, Busy, ClipItalianError
from clip_italian.search.album import Album
from clip_italian.search.indexing import IndexSummary, Progress, Stopped, index


def rows(path: Path) -> dict[str, tuple[object, ...]]:
    """All that an album says of each photo but the file's time."""
    with Album.open(path) as album:
        return {p.path: (p.size, p.sha256, p.width, p.height, p.taken, p.vector.tobytes()) for p in album.photos()}


def counts(summary: IndexSummary) -> dict[str, int]:
    found = {name: getattr(summary, name) for name in ("added", "changed", "renamed", "removed", "unchanged")}
    return {name: count for name, count in found.items() if count}


@pytest.fixture
def album(tmp_path: Path) -> Path:
    return tmp_path / "foto.album"


def test_a_folder_is_indexed_once(folder: Path, album: Path) -> None:
    encoder = ColourEncoder()
    assert counts(index(folder, album, encoder, batch=5)) == {"added": 12}
    with Album.open(album) as opened:
        assert opened.root == folder
        for photo in opened.photos():
            expected = ColourEncoder().encode_images([folder / photo.path])[0]
            assert np.allclose(photo.vector, expected, atol=1e-6)
            assert (photo.width, photo.height) == (32, 24)
            assert photo.mtime_ns == (folder / photo.path).stat().st_mtime_ns
    assert counts(index(folder, album, encoder)) == {"unchanged": 12}
    assert encoder.seen == 12


def test_changes_renames_copies_and_removals(folder: Path, album: Path, paint) -> None:
    encoder = ColourEncoder()
    index(folder, album, encoder)
    before = rows(album)
    (folder / "rosso_0.png").rename(folder / "mare" / "rinominata.png")
    shutil.copy(folder / "blu_2.png", folder / "copia.png")
    paint(folder / "rosso_4.png", "blu", 99)
    (folder / "blu_6.png").unlink()
    os.utime(folder / "blu_10.png")
    paint(folder / "nuova.png", "verde", 50)
    summary = index(folder, album, encoder, batch=3)
    assert counts(summary) == {"added": 2, "changed": 1, "renamed": 1, "removed": 1, "unchanged": 9}
    assert encoder.seen == 12 + 2, "only the changed and the new one are encoded"
    after = rows(album)
    assert after["mare/rinominata.png"] == before["rosso_0.png"]
    assert after["copia.png"] == before["blu_2.png"]
    assert after["rosso_4.png"] != before["rosso_4.png"]
    assert set(before) - set(after) == {"rosso_0.png", "blu_6.png"}
    fresh = album.with_name("fresh")
    index(folder, fresh, ColourEncoder())
    assert rows(fresh) == after


@pytest.mark.parametrize("batch", [1, 2, 32])
def test_files_that_swap_names(folder: Path, album: Path, batch: int) -> None:
    encoder = ColourEncoder()
    index(folder, album, encoder)
    before = rows(album)
    first, second = folder / "blu_2.png", folder / "rosso_8.png"
    first.rename(folder / "x")
    second.rename(first)
    (folder / "x").rename(second)
    os.utime(first)
    os.utime(second)
    assert counts(index(folder, album, encoder, batch=batch)) == {"changed": 2, "unchanged": 10}
    assert encoder.seen == 12
    after = rows(album)
    assert after["blu_2.png"] == before["rosso_8.png"]
    assert after["rosso_8.png"] == before["blu_2.png"]


def test_bad_pictures_are_skipped_once(folder: Path, album: Path, paint) -> None:
    good = (folder / "blu_2.png").read_bytes()
    (folder / "cut.png").write_bytes(good[: len(good) // 2])
    (folder / "words.jpg").write_text("not a picture")
    (folder / "empty.jpg").touch()
    paint(folder / "giallo_7.png", "giallo", 7)
    first = index(folder, album, ColourEncoder())
    reasons = {skip.path: skip.reason for skip in first.skipped}
    assert set(reasons) == {"cut.png", "words.jpg", "empty.jpg"}
    assert reasons["words.jpg"].startswith("not a picture of a known format; convert it to JPEG or PNG")
    assert reasons["cut.png"].startswith("damaged or cut short")
    again = index(folder, album, ColourEncoder())
    assert (again.skipped, again.skipped_before) == ((), 3)
    assert len(index(folder, album, ColourEncoder(), retry=True).skipped) == 3
    (folder / "cut.png").write_bytes(good[:-1] + b"!")  # changed, and whole again but for a checksum
    paint(folder / "words.jpg", "rosso", 70)
    (folder / "empty.jpg").unlink()
    paint(folder / "verde_1.png", "verde", 1)
    (folder / "rosso_0.png").write_bytes(b"gone bad")
    last = index(folder, album, ColourEncoder())
    with Album.open(album) as opened:
        assert "words.jpg" in opened.stamps()
        assert "rosso_0.png" not in opened.stamps()
        assert "rosso_0.png" in opened.skips()
        assert "empty.jpg" not in opened.skips()
    assert last.removed == 0


def test_unreadable_files_are_tried_again(folder: Path, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index(folder, album, ColourEncoder())
    os.utime(folder / "blu_2.png")

    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr("clip_italian.search.indexing.sha256_file", refuse)
        summary = index(folder, album, ColourEncoder())
    assert [(skip.path, skip.reason) for skip in summary.skipped] == [
        ("blu_2.png", "cannot be read (Permission denied); check the file and its permissions")
    ]
    assert "blu_2.png" in rows(album), "what cannot be read now is not forgotten"
    assert counts(index(folder, album, ColourEncoder())) == {"unchanged": 12}


def test_a_folder_that_cannot_be_listed_keeps_its_photos(
    folder: Path, album: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index(folder, album, ColourEncoder())
    before, scandir = rows(album), os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("mare"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        summary = index(folder, album, ColourEncoder())
    assert [skip.path for skip in summary.skipped] == ["mare"]
    assert summary.removed == 0
    assert rows(album) == before


def test_a_missing_drive_empties_no_album(folder: Path, album: Path) -> None:
    index(folder, album, ColourEncoder())
    before = rows(album)
    away = folder.with_name("altrove")
    folder.rename(away)
    with pytest.raises(ClipItalianError, match="no such folder; check the name, and that the drive is connected"):
        index(folder, album, ColourEncoder())
    folder.mkdir()
    with pytest.raises(ClipItalianError, match="has no pictures, but the album knows 12; connect the drive"):
        index(folder, album, ColourEncoder())
    with pytest.raises(BadAlbum, match=r"holds the photos of .*foto, not of .*altrove; index that folder"):
        index(away, album, ColourEncoder())
    folder.rmdir()
    assert counts(index(away, album, ColourEncoder())) == {"unchanged": 12}, "the same photos under another mount point"
    assert rows(album) == before
    with Album.open(album) as opened:
        assert opened.root == away


def test_weird_names(tmp_path: Path, album: Path, paint) -> None:
    names = [
        "perché no.png",
        "a\nb\x1b[31m.png",
        "'; DROP TABLE photos;--.png",
        os.fsdecode(b"caff\xe8.png"),
        "🐈.png",
        "%s {} \\.png",
    ]
    for i, name in enumerate(names):
        paint(tmp_path / "strane" / name, "rosso", i, format="PNG")
    assert index(tmp_path / "strane", album, ColourEncoder()).added == len(names)
    assert set(rows(album)) == set(names)
    assert index(tmp_path / "strane", album, ColourEncoder()).unchanged == len(names)


def test_an_album_inside_its_own_folder(folder: Path) -> None:
    for name in ("album.jpg", "senza"):
        assert index(folder, folder / name, ColourEncoder()).skipped == ()
        assert counts(index(folder, folder / name, ColourEncoder())) == {"unchanged": 12}
        (folder / name).unlink()


def test_another_model_is_refused(folder: Path, album: Path) -> None:
    index(folder, album, ColourEncoder())
    with pytest.raises(BadAlbum, match=r"was made with fake .* not with other"):
        index(folder, album, ColourEncoder("other"))


def test_broken_vectors_never_get_in(folder: Path, album: Path) -> None:
    class Broken(ColourEncoder):
        def encode_images(self, images: Iterable[ImageLike]) -> np.ndarray:
            return super().encode_images(images) * 2

    with pytest.raises(BadModel, match="not a unit vector"):
        index(folder, album, Broken())
    assert rows(album) == {}


def test_two_writers(folder: Path, album: Path) -> None:
    inside, go_on = threading.Event(), threading.Event()

    class Slow(ColourEncoder):
        def encode_images(self, images: Iterable[ImageLike]) -> np.ndarray:
            inside.set()
            go_on.wait(10)
            return super().encode_images(images)

    writer = threading.Thread(target=index, args=(folder, album, Slow()))
    writer.start()
    assert inside.wait(10)
    with pytest.raises(Busy, match="another process is indexing there"):
        index(folder, album, ColourEncoder())
    assert rows(album) == {}, "readers are not held up"
    go_on.set()
    writer.join()
    assert len(rows(album)) == 12


def test_stop_keeps_finished_batches(folder: Path, album: Path) -> None:
    seen: list[Progress] = []
    with pytest.raises(Stopped) as stopped:
        index(folder, album, ColourEncoder(), batch=4, progress=seen.append, stop=lambda: len(seen) == 2)
    assert counts(stopped.value.summary) == {"added": 8}
    assert isinstance(stopped.value, KeyboardInterrupt)
    assert seen == [Progress(4, 12, 0), Progress(8, 12, 0)]
    assert len(rows(album)) == 8
    assert counts(index(folder, album, ColourEncoder())) == {"added": 4, "unchanged": 8}


def test_an_interrupt_while_encoding_keeps_finished_batches(folder: Path, album: Path) -> None:
    class Interrupted(ColourEncoder):
        def encode_images(self, images: Iterable[ImageLike]) -> np.ndarray:
            if self.seen >= 6:
                raise KeyboardInterrupt
            return super().encode_images(images)

    threads = threading.active_count()
    with pytest.raises(Stopped) as stopped:
        index(folder, album, Interrupted(), batch=3)
    assert counts(stopped.value.summary) == {"added": 6}
    assert len(rows(album)) == 6
    assert threading.active_count() == threads, "no decoding thread is left behind"


def test_few_pictures_wait_in_memory(tmp_path: Path, album: Path, paint, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(60):
        paint(tmp_path / "foto" / f"{i}.png", "rosso", i)
    read, most = 0, 0

    from clip_italian.search import indexing

    original = indexing.read_picture

    def counting(*args: object, **options: object) -> object:
        nonlocal read
        read += 1
        return original(*args, **options)

    class Watching(ColourEncoder):
        def encode_images(self, images: Iterable[ImageLike]) -> np.ndarray:
            nonlocal most
            images = list(images)
            assert all(isinstance(image, Image.Image) and image.size == (16, 16) for image in images)
            vectors = super().encode_images(images)
            most = max(most, read - self.seen)
            return vectors

    monkeypatch.setattr(indexing, "read_picture", counting)
    index(tmp_path / "foto", album, Watching(), batch=4, workers=3)
    assert most <= 4 + 3, "read ahead of the encoder: a batch and what the threads hold"


def test_decoding_goes_on_while_the_encoder_works(folder: Path, album: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from clip_italian.search import indexing

    original, ahead = indexing.read_picture, threading.Event()
    last = max((folder / "mare").iterdir())  # a folder inside comes after the photos beside it
    encoding = False

    def watched(path: Path, **options: object) -> object:
        if path == last:  # held back until the first batch is with the encoder
            while not encoding:
                ahead.wait(0.01)
            ahead.set()
        return original(path, **options)

    class Waiting(ColourEncoder):
        def encode_images(self, images: Iterable[ImageLike]) -> np.ndarray:
            nonlocal encoding
            encoding = True
            assert ahead.wait(10), "the encoder waits for the last picture to be read, and it is read meanwhile"
            return super().encode_images(images)

    monkeypatch.setattr(indexing, "read_picture", watched)
    assert index(folder, album, Waiting(), batch=6, workers=2).added == 12


def test_encoders_without_a_known_size_get_reduced_pictures(tmp_path: Path, album: Path) -> None:
    (tmp_path / "foto").mkdir()
    Image.new("RGB", (8000, 4000), "red").save(tmp_path / "foto" / "big.jpg")
    sizes = []

    class Watching(ColourEncoder):
        def encode_images(self, images: Iterable[ImageLike]) -> np.ndarray:
            images = list(images)
            sizes.extend(image.size for image in images if isinstance(image, Image.Image))
            return super().encode_images(images)

    index(tmp_path / "foto", album, Watching(preprocess=None))
    assert sizes == [(2000, 1000)]
    with Album.open(album) as opened:
        assert [(p.width, p.height) for p in opened.photos()] == [(8000, 4000)]


def test_an_empty_folder(tmp_path: Path, album: Path) -> None:
    (tmp_path / "vuota").mkdir()
    assert index(tmp_path / "vuota", album, ColourEncoder()) == IndexSummary()

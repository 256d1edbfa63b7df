"""WebDataset tars, folders, and several data sets at once, read as people have them."""

import json
import threading
from pathlib import Path

import pytest
from data_files import GOOD, PHOTO, skipping, write_lines, write_tar

from clip_italian.data.readers import read, read_all
from clip_italian.data.sample import Caption, ImageRef
from clip_italian.errors import BadRecord
from clip_italian.images import PICTURE_SUFFIXES, find_images

# WebDataset


@pytest.mark.parametrize("name", ["set.tar", "set.tar.gz", "set.tgz", "SET.TAR"])
def test_webdataset_members_make_samples(tmp_path, name):
    described = {
        "caption": "Un treno",
        "captions": [{"it": "Due treni", "en": "Two trains"}],
        "queries": ["treno"],
        "w": 3,
    }
    path = write_tar(
        tmp_path / name.replace("SET.TAR", "SET.tar"),
        {
            "dir.v1/n01_1.jpg": b"one",
            "dir.v1/n01_1.cls": b"17\n",
            "two.PNG": b"two",
            "two.txt": "Perché no\n".encode(),
            "three.jpeg": b"three",
            "three.json": json.dumps(described).encode(),
            "three.txt": b"Un treno",
            "three.seg.npy": b"...",
            "three.mask.png": b"the ending is mask.png, not png",
            "README": b"hello",
        },
    )
    one, two, three = read(path)
    assert (one.key, one.label, one.image.read(), one.captions) == ("dir.v1/n01_1", 17, b"one", ())
    assert (two.key, two.label, two.image.read()) == ("two", None, b"two")
    assert two.captions == (Caption("Perché no"),)
    assert three.captions == (Caption("Due treni", "it"), Caption("Two trains", "en"), Caption("Un treno", "it"))
    assert (three.queries, three.extra) == (("treno",), {"w": 3})


BAD_MEMBERS = [
    ({"b.cls": b"3"}, "#b: has no picture; each key needs one"),
    ({"b.jpg": b"x", "b.png": b"y"}, "#b: has 2 pictures; each key needs one"),
    ({"b.jpg": b"x", "b.cls": b"gatto"}, "#b.cls: holds 'gatto'; write the number of the class, from 0"),
    ({"b.jpg": b"x", "b.cls": b"-1"}, "#b.cls: holds '-1'; write the number of the class, from 0"),
    ({"b.jpg": b"x", "b.cls": b""}, "#b.cls: the text is empty; write something or remove it"),
    ({"b.jpg": b"x", "b.txt": b"perch\xe9"}, "#b.txt: not UTF-8 (place 6); write it as UTF-8"),
    ({"b.jpg": b"x", "b.json": b"{"}, None),
    (
        {"b.jpg": b"x", "b.json": b'{"hard_negatives": [1]}'},
        '#b.json: item 1 of "hard_negatives" is a number; write a text in quotes',
    ),
    ({"b.jpg": b"x", "b.json": b'{"captions": [""]}'}, "#b.json: caption 1 is empty; write something or remove it"),
]


@pytest.mark.parametrize(("members", "message"), BAD_MEMBERS, ids=range(len(BAD_MEMBERS)))
def test_bad_webdataset_members_are_named(tmp_path, members, message):
    path = write_tar(tmp_path / "set.tar", {"a.jpg": b"a", **members, "c.jpg": b"c"})
    samples, messages = skipping(path)
    assert [s.key for s in samples] == ["a", "c"]
    assert len(messages) == 1
    assert messages[0].startswith(f"{path}#b") if message is None else messages == [f"{path}{message}"]
    with pytest.raises(BadRecord):
        read(path)


def test_several_tars_of_a_folder_are_one_data_set(tmp_path):
    write_tar(tmp_path / "1.tar.gz", {"c.jpg": b"c", "a.jpg": b"again"})
    write_tar(tmp_path / "0.tar", {"a.jpg": b"a", "b.jpg": b"b"})
    (tmp_path / "words.txt").write_text("n01 a thing")
    samples, messages = skipping(tmp_path)
    assert {s.key: s.image.read() for s in samples} == {"a": b"a", "b": b"b", "c": b"c"}
    first = tmp_path / "0.tar"
    assert messages == [f"{tmp_path / '1.tar.gz'}#a: the key stands in {first}#a.jpg too; give each its own"]


# Folders


def test_a_folder_of_pictures_with_and_without_captions(tmp_path):
    (tmp_path / "mare").mkdir()
    (tmp_path / ".cache").mkdir()
    for name in ("b.jpg", "A.PNG", "mare/c.webp", ".hidden.jpg", ".cache/d.jpg", "notes.doc"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "b.txt").write_text("Un gatto\n\nUn micio\n", "utf-8")
    (tmp_path / "mare" / "c.txt").write_bytes(b"perch\xe9")
    samples, messages = skipping(tmp_path)
    assert [(s.key, s.image.read()) for s in samples] == [("A.PNG", b"A.PNG"), ("b.jpg", b"b.jpg")]
    assert [s.captions for s in samples] == [(), (Caption("Un gatto"), Caption("Un micio"))]
    assert messages == [f"{tmp_path / 'mare' / 'c.txt'}: not UTF-8 (place 6); save the file as UTF-8"]


def test_a_folder_with_one_list_is_that_list_and_with_two_asks(tmp_path):
    (tmp_path / "a.jpg").write_bytes(PHOTO)
    write_lines(tmp_path / "train.jsonl", GOOD)
    assert read(tmp_path)[0].captions == (Caption("Un gatto"),)
    write_lines(tmp_path / "dev.jsonl", GOOD)
    with pytest.raises(BadRecord) as error:
        read(tmp_path)
    named = "holds 2 lists of captions (dev.jsonl, train.jsonl); name the one you mean"
    assert str(error.value) == f"{tmp_path}: {named}"


def test_readers_and_find_images_see_the_same_pictures(tmp_path):
    """Of names in both cases, in a folder, in a tar and under an MSCOCO-IT list."""
    names = {f"{i}{end}" for i, end in enumerate(sorted(PICTURE_SUFFIXES) + [end.upper() for end in PICTURE_SUFFIXES])}
    assert {".avif", ".jfif", ".jpe", ".heic"} <= PICTURE_SUFFIXES
    folder = tmp_path / "foto"
    folder.mkdir()
    for name in {*names, "a.svg", "b.txt", "c.mp4"}:
        (folder / name).write_bytes(PHOTO)
    assert {path.name for path in find_images(folder)} == names
    assert {sample.key for sample in read(folder)} == names
    tar = write_tar(tmp_path / "foto.tar", {name: PHOTO for name in {*names, "a.svg", "c.mp4"}})
    assert {sample.image.member for sample in read(tar)} == names
    listed = tmp_path / "captions.json"
    pictures = [{"id": i, "file_name": name} for i, name in enumerate(sorted(names))]
    told = [{"image_id": i, "caption": "Un gatto"} for i in range(len(names))]
    listed.write_text(json.dumps({"images": pictures, "annotations": told}))
    assert {sample.key for sample in read(listed, images=folder)} == names


# Whatever is given


def test_what_cannot_be_read_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "words.csv").write_text("a,b")
    (tmp_path / "none.jsonl").write_text("\n\n")
    nothing = "holds nothing that could be read; check that it is the right one"
    kinds = "not a kind that can be read; give a .jsonl, .json, .json.gz, .tar, .tar.gz or a folder"
    for name, message in [
        ("gone.jsonl", "no such file or folder; check the name"),
        ("gone", "no such file or folder; check the name"),
        ("empty", nothing),
        ("none.jsonl", nothing),
        ("words.csv", kinds),
    ]:
        with pytest.raises(BadRecord) as error:
            read(tmp_path / name)
        assert str(error.value) == f"{tmp_path / name}: {message}"


def test_several_data_sets_have_keys_of_their_own(tmp_path):
    for folder in ("mare", "monti", "altri/mare"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.jpg").write_bytes(folder.encode())
        write_lines(tmp_path / folder / "train.jsonl", GOOD)
    paths = [tmp_path / f / "train.jsonl" for f in ("mare", "monti", "altri/mare")]
    samples = read_all(paths)
    assert {s.key: s.image.read() for s in samples} == {
        "mare/a.jpg": b"mare",
        "monti/a.jpg": b"monti",
        "mare~2/a.jpg": b"altri/mare",
    }
    assert [s.key for s in read_all(paths[:1])] == ["mare/a.jpg"]
    assert [s.key for s in read_all([tmp_path / "mare"])] == ["mare/a.jpg"]


def test_a_data_set_named_twice_is_said(tmp_path):
    names = [f"{i}.jpg" for i in range(5)]
    for name in names:
        (tmp_path / name).write_bytes(PHOTO)
    one = write_lines(tmp_path / "one.jsonl", *({**GOOD, "image_path": n} for n in names[:4]))
    two = write_lines(tmp_path / "two.jsonl", *({**GOOD, "image_path": n} for n in names))
    messages: list[str] = []
    samples = read_all([one, two], on_skip=messages.append)
    assert [s.key for s in samples] == [f"{tmp_path.name}/{n}" for n in names]
    which = ", ".join(f"{tmp_path.name}/{n}" for n in names[:3])
    text = f"{two}: 4 of its pictures were read before from {one} ({which}, …); name each picture once"
    assert messages == [text]
    with pytest.raises(BadRecord) as error:
        read_all([one, two])
    assert str(error.value) == text


def test_pictures_in_a_tar_are_read_from_many_threads(tmp_path):
    path = write_tar(tmp_path / "s.tar", {f"{i}.jpg": b"%d" % i * 5000 for i in range(60)})
    samples = read(path)
    wrong = []

    def work() -> None:
        wrong.extend(s.key for s in samples * 5 if s.image.read() != s.key.encode() * 5000)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_references_of_one_place_are_equal():
    place = ImageRef(Path("s.tar"), "a.jpg", 512, 3)
    assert place == ImageRef(Path("s.tar"), "a.jpg", 512, 3, data=b"abc")
    assert "abc" not in repr(ImageRef(Path("s.tar"), "a.jpg", 512, 3, data=b"abc"))

"""The house's JSON lines in every form, and every bad line named."""

import re
import tarfile
from pathlib import Path

import pytest
from data_files import GOOD, PHOTO, skipping, write_lines, write_tar
from hypothesis import given
from hypothesis import strategies as st

from clip_italian.data.readers import read
from clip_italian.data.sample import Caption
from clip_italian.errors import BadRecord


def test_json_lines_in_every_form(tmp_path):
    (tmp_path / "foto").mkdir()
    (tmp_path / "foto" / "è #1.jpg").write_bytes(PHOTO)
    elsewhere = tmp_path / "elsewhere.jpg"
    elsewhere.write_bytes(b"elsewhere")
    write_tar(tmp_path / "shard.tar", {"a.jpg": b"in a", "b/c.jpg": b"in c"})
    write_tar(tmp_path / "packed.tar.gz", {"a.jpg": b"packed"})
    path = write_lines(
        tmp_path / "train.jsonl",
        {"image_path": "foto/è #1.jpg", "captions": ["Un gatto", " Un micio "], "from": "casa", "n": 3},
        {
            "image_path": "shard.tar#b/c.jpg",
            "captions": [{"it": "Due", "en": "Two"}, {"en": "Pair"}],
            "queries": ["due"],
        },
        {"image_path": str(elsewhere), "captions": ["Altrove"]},
        b"   ",
        {"image_path": "packed.tar.gz#a.jpg", "captions": [{"it": "Chiuso", "id": 7}, {"en": "Closed", "by": "x"}]},
    )
    first, second, third, fourth = read(path)
    assert (first.key, first.image.read()) == ("foto/è #1.jpg", PHOTO)
    assert first.captions == (Caption("Un gatto", "it"), Caption("Un micio", "it"))
    assert (first.extra, first.queries, first.label) == ({"from": "casa", "n": 3}, (), None)
    assert (second.key, second.image.read()) == ("shard.tar#b/c.jpg", b"in c")
    assert second.captions == (Caption("Due", "it"), Caption("Two", "en"), Caption("Pair", "en"))
    assert (second.texts("en"), second.queries) == (("Two", "Pair"), ("due",))
    assert third.image.read() == b"elsewhere"
    assert fourth.image.read() == b"packed"
    assert fourth.captions == (Caption("Chiuso", "it"), Caption("Closed", "en"))
    assert fourth.extra["captions"] == [{"it": "Chiuso", "id": 7}, {"en": "Closed", "by": "x"}]


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path):
    (tmp_path / "a.jpg").write_bytes(PHOTO)
    path = tmp_path / "train.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"image_path": "a.jpg", "captions": ["Perch\xc3\xa9"]}\r\n\r\n')
    assert read(path)[0].captions == (Caption("Perché"),)


def test_lines_of_one_picture_are_joined(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(PHOTO)
    path = write_lines(
        tmp_path / "train.jsonl",
        {"image_path": "a.jpg", "captions": ["Uno"], "queries": ["u"], "from": "first"},
        {"image_path": "b.jpg", "captions": ["Altro"]},
        {"image_path": "a.jpg", "captions": ["Due", "Uno"], "queries": ["d", "u"], "from": "second", "more": 1},
    )
    a, b = read(path)
    assert [c.text for c in a.captions] == ["Uno", "Due"]
    assert (a.queries, a.extra) == (("u", "d"), {"from": "first", "more": 1})
    assert b.key == "b.jpg"


def test_a_caption_of_ten_thousand_letters_is_read(tmp_path):
    (tmp_path / "a.jpg").write_bytes(PHOTO)
    path = write_lines(tmp_path / "train.jsonl", {"image_path": "a.jpg", "captions": ["gatto " * 2000]})
    assert len(read(path)[0].captions[0].text) == 11_999


BAD_LINES = [
    (b'{"image_path": "a.jpg"', "not JSON (Expecting ',' delimiter, column 23); mend or remove it"),
    (b"a.jpg,Un gatto", "not JSON (Expecting value, column 1); mend or remove it"),
    (b'["a.jpg", "Un gatto"]', "a JSON list; write an object in braces"),
    (b'"a.jpg"', "a JSON text; write an object in braces"),
    (b"null", "a JSON null; write an object in braces"),
    (b"[" * 100_000, "not JSON that can be read (…); mend or remove it"),
    (b'{"n": ' + b"9" * 5000 + b"}", "not JSON that can be read (…); mend or remove it"),
    (
        b'{"image_path": "a.jpg", "captions": ["perch\xe9"]}',
        "not UTF-8 (byte 0xe9 at place 44); save the file as UTF-8",
    ),
    ({"captions": ["Un gatto"]}, '"image_path" is missing; add it or remove the line'),
    ({"image_path": "a.jpg"}, '"captions" is missing; add it or remove the line'),
    ({**GOOD, "image_path": 7}, '"image_path" is a number; write a text in quotes'),
    ({**GOOD, "image_path": ""}, '"image_path" is empty; write something or remove it'),
    ({**GOOD, "image_path": "a\0.jpg"}, '"image_path" holds a code that is no letter; write it anew'),
    ({**GOOD, "image_path": "b.jpg"}, "there is no picture DIR/b.jpg; check image_path, or fetch the picture"),
    ({**GOOD, "image_path": "x" * 5000}, "there is no picture DIR/xxx…; check image_path, or fetch the picture"),
    ({**GOOD, "image_path": "."}, "there is no picture DIR; check image_path, or fetch the picture"),
    (
        {**GOOD, "image_path": "s.tar#b.jpg"},
        "DIR/s.tar has no member b.jpg; check image_path, or fetch the tar again",
    ),
    (
        {**GOOD, "image_path": "t.tar#b.jpg"},
        "there is no tar DIR/t.tar; check image_path, or fetch the tar again",
    ),
    ({**GOOD, "captions": "Un gatto"}, '"captions" is a text; write a list in square brackets'),
    ({**GOOD, "captions": []}, '"captions" is empty; write one or remove the record'),
    ({**GOOD, "captions": [""]}, "caption 1 is empty; write something or remove it"),
    ({**GOOD, "captions": ["Un gatto", "  \n"]}, "caption 2 is empty; write something or remove it"),
    ({**GOOD, "captions": [None]}, "caption 1 is a null; write a text in quotes"),
    ({**GOOD, "captions": [["a"]]}, "caption 1 is a list; write a text in quotes"),
    ({**GOOD, "captions": [{"it": 3}]}, "caption 1 (it) is a number; write a text in quotes"),
    ({**GOOD, "captions": [{"it": "Un gatto", "en": ""}]}, "caption 1 (en) is empty; write something or remove it"),
    ({**GOOD, "captions": [{"id": 3}]}, 'caption 1 names no language; write {"it": "…"}'),
    (b'{"image_path": "a.jpg", "captions": ["\\ud83d"]}', "caption 1 holds a code that is no letter; write it anew"),
    ({**GOOD, "queries": "gatto"}, '"queries" is a text; write a list in square brackets'),
    ({**GOOD, "queries": ["gatto", True]}, 'item 2 of "queries" is a truth value; write a text in quotes'),
    ({**GOOD, "hard_negatives": 5}, '"hard_negatives" is a number; write a list in square brackets'),
    ({**GOOD, "hard_negatives": None}, '"hard_negatives" is a null; write a list in square brackets'),
    ({**GOOD, "hard_negatives": "abc"}, '"hard_negatives" is a text; write a list in square brackets'),
    ({**GOOD, "hard_negatives": {"a": 1}}, '"hard_negatives" is a JSON object; write a list in square brackets'),
    ({**GOOD, "hard_negatives": [1, 2]}, 'item 1 of "hard_negatives" is a number; write a text in quotes'),
    ({**GOOD, "hard_negatives": ["a", ["b"]]}, 'item 2 of "hard_negatives" is a list; write a text in quotes'),
    ({**GOOD, "hard_negatives": [["a"], "b"]}, 'item 1 of "hard_negatives" is a list; write a text in quotes'),
    ({**GOOD, "hard_negatives": [[], ["un cane", 3]]},
     'item 2 of list 2 of "hard_negatives" is a number; write a text in quotes'),
]  # fmt: skip


def as_pattern(message: str, folder: Path) -> str:
    return re.escape(message).replace("DIR", re.escape(str(folder))).replace("…\\)", ".*\\)").replace("xxx…", "x+")


@pytest.mark.parametrize(("line", "message"), BAD_LINES, ids=range(len(BAD_LINES)))
def test_bad_lines_are_named_and_the_others_read(tmp_path, line, message):
    (tmp_path / "a.jpg").write_bytes(PHOTO)
    write_tar(tmp_path / "s.tar", {"a.jpg": PHOTO})
    path = write_lines(tmp_path / "train.jsonl", GOOD, line, {**GOOD, "image_path": "s.tar#a.jpg"})
    samples, messages = skipping(path)
    assert [s.key for s in samples] == ["a.jpg", "s.tar#a.jpg"]
    assert len(messages) == 1
    assert re.fullmatch(re.escape(f"{path}:2: ") + as_pattern(message, tmp_path), messages[0])
    with pytest.raises(BadRecord) as error:
        read(path)
    assert str(error.value) == messages[0]


def test_missing_pictures_are_an_error_left_out_or_kept(tmp_path):
    (tmp_path / "a.jpg").write_bytes(PHOTO)
    write_tar(tmp_path / "s.tar", {"a.jpg": PHOTO})
    gone = [{**GOOD, "image_path": name} for name in ("b.jpg", "s.tar#b.jpg", "t.tar#b.jpg")]
    path = write_lines(tmp_path / "train.jsonl", GOOD, *gone)
    with pytest.raises(BadRecord, match=r"train\.jsonl:2: there is no picture"):
        read(path)
    samples, messages = skipping(path)
    assert (len(samples), len(messages)) == (1, 3)
    samples, messages = skipping(path, missing="skip")
    assert len(samples) == 1
    assert messages == [f"{path}: 3 of 4 records were left out, because their pictures are not there"]
    assert len(read(path, missing="skip")) == 1
    kept, messages = skipping(path, missing="keep")
    assert (len(kept), messages) == (4, [])
    assert kept[0].image.read() == PHOTO
    for sample in kept[1:]:
        with pytest.raises(BadRecord, match=r"b\.jpg"):
            sample.image.read()


def test_the_same_tar_is_walked_once(tmp_path, monkeypatch):
    write_tar(tmp_path / "s.tar", {f"{i}.jpg": b"%d" % i for i in range(50)})
    lines = [{"image_path": f"s.tar#{i}.jpg", "captions": ["Uno"]} for i in range(50)]
    path = write_lines(tmp_path / "train.jsonl", *lines)
    opened = []
    real = tarfile.open
    monkeypatch.setattr(tarfile, "open", lambda *a, **k: opened.append(1) or real(*a, **k))
    assert [s.image.read() for s in read(path)] == [b"%d" % i for i in range(50)]
    assert len(opened) == 1


text_values = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20).filter(str.strip)
caption_values = text_values | st.dictionaries(st.sampled_from(["it", "en", "es"]), text_values, min_size=1)


@given(
    st.lists(st.lists(caption_values, min_size=1, max_size=4), min_size=1, max_size=6),
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), st.integers() | text_values),
)
def test_what_is_written_is_read_back(tmp_path_factory, pictures, extra):
    folder = tmp_path_factory.mktemp("lines")
    extra = {k: v for k, v in extra.items() if k not in ("image_path", "captions", "queries")}
    records = []
    for i, captions in enumerate(pictures):
        (folder / f"{i}.jpg").write_bytes(PHOTO)
        records.append({"image_path": f"{i}.jpg", "captions": captions, **extra})
    samples = read(write_lines(folder / "train.jsonl", *records))
    assert [s.extra for s in samples] == [extra] * len(pictures)
    for sample, captions in zip(samples, pictures, strict=True):
        flat = [(c, "it") if isinstance(c, str) else (t, k) for c in captions for k, t in as_items(c)]
        assert [(c.text, c.language) for c in sample.captions] == [(text.strip(), lang) for text, lang in flat]


def as_items(caption):
    return caption.items() if isinstance(caption, dict) else [("it", caption)]


@pytest.mark.parametrize("wrong", [[], ["un cane", "due gatti"], [["un cane"], []], [["a", "b"], ["c"]]])
def test_hard_negatives_are_texts_or_lists_of_texts(tmp_path, wrong):
    (tmp_path / "a.jpg").write_bytes(PHOTO)
    path = write_lines(tmp_path / "train.jsonl", {**GOOD, "hard_negatives": wrong})
    assert read(path)[0].extra == {"hard_negatives": wrong}


def test_a_label_becomes_the_sample_s_class(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"picture")
    lines = tmp_path / "data.jsonl"
    lines.write_text('{"image_path": "a.jpg", "captions": ["un cerchio"], "label": 3}\n')
    (sample,) = read(lines)
    assert sample.label == 3
    assert sample.extra["label"] == 3
    lines.write_text('{"image_path": "a.jpg", "captions": ["un cerchio"], "label": "tre"}\n')
    with pytest.raises(BadRecord, match=r"data\.jsonl:1: \"label\" is 'tre'"):
        read(lines)

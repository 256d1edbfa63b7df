"""MSCOCO-IT: small files of the layout, and the real ones where they are."""

import gzip
import json

import pytest
from PIL import Image

from clip_italian.corpus.sources.mscoco_it import MscocoIt
from clip_italian.errors import BadRecord

FLICKR = "http://farm8.staticflickr.com/7363/9736156007_e7186d26ff_z.jpg"


def content(*captions, **picture):
    image = {"id": 42, "file_name": "COCO_val2014_000000000042.jpg", "license": 3, "url": FLICKR, "width": 9, **picture}
    notes = [{"image_id": image["id"], "id": i, "caption": caption} for i, caption in enumerate(captions)]
    return {"images": [image], "annotations": notes, "licenses": []}


def read(root, **settings):
    messages: list[str] = []
    return list(MscocoIt(**settings).records(root, messages.append)), messages


def write(root, name, value):
    data = json.dumps(value).encode()
    (root / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)


def test_a_picture(tmp_path):
    write(tmp_path, "captions_ita_trainingset_val2014.json.gz", content("Un gatto", " Un gatto\n", "Due gatti"))
    [record], messages = read(tmp_path)
    assert not messages
    assert record.key == "42"
    assert record.image == FLICKR
    assert record.licence == "CC-BY-NC-ND-2.0"
    assert record.page == "https://www.flickr.com/photo.gne?id=9736156007"
    assert [caption.text for caption in record.captions] == ["Un gatto", "Due gatti"]
    assert {(c.language, c.origin, c.engine, c.validated) for c in record.captions} == {
        ("it", "translated", "microsoft", False)
    }
    assert record.extra["split"] == "train"
    assert record.extra["coco_id"] == 42
    [by_server], _ = read(tmp_path, address="cocodataset")
    assert by_server.image == "http://images.cocodataset.org/val2014/COCO_val2014_000000000042.jpg"
    assert by_server.id == record.id


def test_ids_as_text_and_validated_files(tmp_path):
    write(tmp_path, "captions_ita_devset_validated.json", content("Un gatto", id="42"))
    [record], _ = read(tmp_path, splits=("dev",))
    assert (record.key, record.extra["coco_id"], record.extra["split"]) == ("42", 42, "dev")
    assert record.captions[0].validated
    write(tmp_path, "captions_ita_devset_validated.json.gz", content("Un gatto", id="42"))
    assert len(read(tmp_path, splits=("dev",))[0]) == 1
    with pytest.raises(BadRecord, match="files of dev alone, not of train"):
        read(tmp_path)


def test_pictures_in_a_folder(tmp_path):
    write(tmp_path, "captions_ita_trainingset_train2014.json", content("Un gatto"))
    with pytest.raises(BadRecord, match="no such folder or tar"):
        read(tmp_path, images="val2014")
    (tmp_path / "val2014").mkdir()
    assert read(tmp_path, images="val2014")[0] == []
    Image.new("RGB", (4, 4)).save(tmp_path / "val2014" / "COCO_val2014_000000000042.jpg")
    [record], messages = read(tmp_path, images="val2014")
    assert record.image == "val2014/COCO_val2014_000000000042.jpg"
    assert not messages


def test_bad_entries_and_bad_files(tmp_path):
    write(tmp_path, "captions_ita_trainingset_train2014.json", content("Un gatto", "", 5, "x" * 6000))
    records, messages = read(tmp_path)
    assert [caption.text for caption in records[0].captions] == ["Un gatto"]
    assert len(messages) == 3
    write(tmp_path, "captions_ita_trainingset_train2014.json", content("Un gatto", url="file:///etc/passwd"))
    assert "no http(s) address" in read(tmp_path)[1][0]
    (tmp_path / "captions_ita_trainingset_train2014.json.gz").write_bytes(gzip.compress(b'{"images": [' * 99)[:25])
    with pytest.raises(BadRecord, match="damaged or ends early"):
        read(tmp_path, files=("captions_ita_trainingset_train2014.json.gz",))
    (tmp_path / "captions.json").write_text("{}")
    with pytest.raises(BadRecord, match="tells no part"):
        read(tmp_path, files=("captions.json",))


@pytest.mark.parametrize(
    ("name", "pictures", "captions", "split"),
    [
        ("devset_unvalidated", 1696, 8486, "dev"),
        ("devset_validated", 308, 1541, "dev"),
        ("testset_unvalidated", 3422, 17_120, "test"),
        ("testset_validated", 596, 2982, "test"),
    ],
)
def test_the_real_files(shared, name, pictures, captions, split):
    root = shared / "data" / "mscoco-it" / "original"
    records, messages = read(root, files=(f"captions_ita_{name}.json.gz",), splits=("dev", "test"))
    assert not messages
    assert len(records) == len({record.id for record in records}) == pictures
    texts = [caption for record in records for caption in record.captions]
    assert captions * 0.99 < len(texts) <= captions  # a picture's equal captions count once
    assert {caption.validated for caption in texts} == {name.endswith("_validated")}
    assert {record.extra["split"] for record in records} == {split}
    assert all(record.image.startswith("http") and record.licence and record.page for record in records)


def test_the_real_pictures(shared):
    root = shared / "data" / "mscoco-it"
    records, _ = read(root, files=("original/*dev*",), splits=("dev",), images="images-dev.tar")
    assert len(records) == 175
    assert sum(record.captions[0].validated for record in records) == 43
    assert all(record.image.startswith("images-dev.tar#") for record in records)

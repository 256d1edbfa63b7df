"""MSCOCO-IT's JSON, and every bad entry named."""

import gzip
import json
from pathlib import Path

import pytest
from data_files import skipping, write_tar

from clip_italian.data.readers import read
from clip_italian.data.sample import Caption
from clip_italian.errors import BadRecord


def coco(tmp_path: Path, *, name: str = "captions.json", **changes: object) -> Path:
    content = {
        "info": {},
        "licenses": [],
        "images": [
            {"id": 359, "file_name": "COCO_val2014_000000000359.jpg", "license": 1, "height": 332},
            {"id": "962", "file_name": "COCO_val2014_000000000962.jpg", "license": 4},
            {"id": 30, "file_name": "no_captions.jpg"},
        ],
        "annotations": [
            {"image_id": "359", "id": "642468", "caption": "Un semaforo "},
            {"image_id": 962, "id": 2, "caption": "Un tennista"},
            {"image_id": 359, "id": 3, "caption": "Alcuni edifici"},
        ],
        **changes,
    }
    path = tmp_path / name
    data = json.dumps(content).encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def test_a_picture_s_hard_negatives_are_checked(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"a")
    path = coco(tmp_path, images=[{"id": 359, "file_name": "a.jpg", "hard_negatives": [3]}], annotations=[])
    _, messages = skipping(path)
    assert messages[0] == f'{path}: picture 1: item 1 of "hard_negatives" is a number; write a text in quotes'


@pytest.mark.parametrize("name", ["captions.json", "captions.json.gz"])
def test_mscoco_json_with_mixed_ids(tmp_path, name):
    pictures = tmp_path / "val2014" / "deep"
    pictures.mkdir(parents=True)
    (pictures / "COCO_val2014_000000000359.jpg").write_bytes(b"359")
    write_tar(tmp_path / "val2014" / "rest.tar", {"x/COCO_val2014_000000000962.jpg": b"962"})
    path = coco(tmp_path, name=name)
    for images in (None, tmp_path / "val2014"):
        first, second = read(path, images=images)
        assert first.key == "COCO_val2014_000000000359.jpg"
        assert first.captions == (Caption("Un semaforo"), Caption("Alcuni edifici"))
        assert first.extra == {"license": 1, "height": 332, "image_id": 359}
        assert second.extra == {"license": 4, "image_id": 962}
        assert (first.image.read(), second.image.read()) == (b"359", b"962")


def test_mscoco_pictures_that_are_not_there(tmp_path):
    path = coco(tmp_path)
    write_tar(tmp_path / "some.tar", {"COCO_val2014_000000000359.jpg": b"359"})
    with pytest.raises(BadRecord) as error:
        read(path)
    lost = "COCO_val2014_000000000962.jpg"
    assert str(error.value) == f"{path}: there is no picture {lost} in {tmp_path}; name the folder with it"
    samples, messages = skipping(path, missing="skip", images=tmp_path / "some.tar")
    assert [s.image.read() for s in samples] == [b"359"]
    assert messages == [f"{path}: 1 of 2 records were left out, because their pictures are not there"]
    samples, messages = skipping(path, missing="keep")
    assert [len(s.captions) for s in samples] == [2, 1]
    assert messages == []


BAD_COCO = [
    ({"images": None}, ': has no list "images"; give a file with the layout of MSCOCO\'s captions'),
    ({"annotations": {}}, ': has no list "annotations"; give a file with the layout of MSCOCO\'s captions'),
    ({"images": [{"file_name": "a.jpg"}]}, ': picture 1 has no "id"; give it a number or a text'),
    ({"images": [{"id": True, "file_name": "a.jpg"}]}, ': picture 1 has no "id"; give it a number or a text'),
    ({"images": [{"id": 1}]}, ': picture 1: "file_name" is a null; write a text in quotes'),
    ({"images": ["a.jpg"]}, ': picture 1 has no "id"; give it a number or a text'),
    (
        {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": "1", "file_name": "b.jpg"}]},
        ": picture 2 has the id 1 of a.jpg; give each picture its own",
    ),
    (
        {"annotations": [{"image_id": 5, "caption": "Uno"}]},
        ": annotation 1 is of picture 5, which the file does not list; remove it or add it",
    ),
    (
        {"annotations": [{"image_id": 359, "caption": " "}]},
        ': annotation 1: "caption" is empty; write something or remove it',
    ),
    ({"annotations": [{"image_id": 359}]}, ': annotation 1: "caption" is a null; write a text in quotes'),
    ({"annotations": [{"caption": "Uno"}]}, ': annotation 1 has no "image_id"; give it a number or a text'),
]


@pytest.mark.parametrize(("changes", "message"), BAD_COCO, ids=range(len(BAD_COCO)))
def test_bad_mscoco_files_are_named(tmp_path, changes, message):
    path = coco(tmp_path, **changes)
    with pytest.raises(BadRecord) as error:
        read(path, missing="keep")
    assert str(error.value) == f"{path}{message}"


def test_a_bad_annotation_costs_only_itself(tmp_path):
    annotations = [
        {"image_id": 359, "caption": "Uno"},
        {"image_id": 359, "caption": ""},
        {"image_id": 962, "caption": "X"},
    ]
    samples, messages = skipping(coco(tmp_path, annotations=annotations), missing="keep")
    assert [len(s.captions) for s in samples] == [1, 1]
    assert len(messages) == 1


def test_a_cut_or_foreign_json_is_named(tmp_path):
    path = coco(tmp_path, name="captions.json.gz")
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadRecord, match=r"captions\.json\.gz: the compressed file is damaged or ends early"):
        read(path)
    path.write_bytes(b"no gzip at all")
    with pytest.raises(BadRecord, match=r"captions\.json\.gz: the compressed file is damaged or ends early"):
        read(path)
    other = tmp_path / "other.json"
    other.write_text("[1, 2]")
    with pytest.raises(BadRecord, match=r"other\.json: a JSON list; write an object in braces"):
        read(other)

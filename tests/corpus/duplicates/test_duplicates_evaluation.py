"""Evaluation pictures: their ids, and recognising them."""

import gzip
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from drawn_pictures import drawn
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageOps

from clip_italian.corpus.duplicates.addresses import Identity, identify
from clip_italian.corpus.duplicates.evaluation import EvaluationSet, read_test_set
from clip_italian.corpus.duplicates.ids import EvaluationIds, read_ids, read_names, shipped_ids, write_ids
from clip_italian.corpus.duplicates.perceptual import phash
from clip_italian.corpus.duplicates.plan import DuplicatePlan
from clip_italian.corpus.record import Record
from clip_italian.errors import BadRecord


def record(image="https://example.org/a.jpg", key="1", page="", **extra):
    return Record("wit", key, image, (), page=page, extra=extra)


def jpeg(image, quality=90):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


class SmallEncoder:
    """Takes the 8 × 8 grey picture for the vector."""

    name, dim, fingerprint = "small", 64, "0" * 64

    def encode_images(self, images):
        rows = np.array([np.asarray(image.convert("L").resize((8, 8))).ravel() for image in images], np.float32)
        rows -= rows.mean(1, keepdims=True)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode_texts(self, texts):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("name", "coco", "flickr", "open_images"),
    [
        ("mscoco-it-dev", 2004, 2004, 0),
        ("mscoco-it-test", 4018, 4018, 0),
        ("xtd10", 1000, 0, 0),
        ("crossmodal-3600", 0, 0, 3600),
    ],
)
def test_the_shipped_sets_are_whole(name, coco, flickr, open_images):
    ids = shipped_ids(name)
    assert (len(ids.coco), len(ids.flickr), len(ids.open_images_prefix)) == (coco, flickr, open_images)
    assert all(0 < number < 600_000 for number in ids.coco)
    assert all(10**6 < number < 2 * 10**10 for number in ids.flickr)
    assert all(0 <= number < 2**32 for number in ids.open_images_prefix)


id_sets = st.frozensets(st.integers(0, 10**11), max_size=30)


@given(id_sets, id_sets, id_sets)
@settings(max_examples=30, deadline=None)
def test_ids_come_back_as_they_were_written(tmp_path_factory, coco, flickr, prefixes):
    path = tmp_path_factory.mktemp("ids") / "mine.txt.gz"
    ids = EvaluationIds("mine", coco, flickr, prefixes)
    write_ids(path, ids, ["mine", "Source: me"])
    assert read_ids(path) == ids
    first = path.read_bytes()
    write_ids(path, ids, ["mine", "Source: me"])
    assert path.read_bytes() == first
    assert gzip.decompress(first).decode().startswith("# mine\n# Source: me\n")


@pytest.mark.parametrize(
    "data", [b"coco 1", gzip.compress(b"coco 1 ?"), gzip.compress(b"x 1"), gzip.compress(b"#\xff")]
)
def test_a_damaged_file_of_ids_is_said(tmp_path, data):
    (tmp_path / "a.txt.gz").write_bytes(data)
    with pytest.raises(BadRecord, match="damaged"):
        read_ids(tmp_path / "a.txt.gz")


def test_a_list_of_ones_own(tmp_path):
    lines = [
        "# mine",
        "",
        "COCO_val2014_000000000042.jpg",
        "https://flickr.com/photos/me/4071979537",
        "d89a4889331ce042",
    ]
    (tmp_path / "mine.txt").write_text("\n".join(lines))
    ids = read_names(tmp_path / "mine.txt")
    assert (ids.name, ids.coco, ids.flickr, ids.open_images_prefix) == ("mine", {42}, {4071979537}, {0xD89A4889})
    (tmp_path / "mine.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    assert read_names(tmp_path / "mine.txt.gz") == ids
    (tmp_path / "bad.txt").write_text("000000000042.jpg\ngatto.jpg\n")
    with pytest.raises(BadRecord, match=r"line 2: 'gatto\.jpg'"):
        read_names(tmp_path / "bad.txt")
    with pytest.raises(BadRecord, match="cannot be read"):
        read_names(tmp_path / "none.txt")


def test_records_are_known_by_any_id(tmp_path):
    known = EvaluationSet.open(DuplicatePlan(), tmp_path)
    dev = shipped_ids("mscoco-it-dev")
    coco, flickr = min(dev.coco), min(dev.flickr)
    prefix = min(shipped_ids("crossmodal-3600").open_images_prefix)
    matches = known.matches(
        [
            record(coco_id=coco),
            record(coco_id=str(coco)),
            record(f"http://images.cocodataset.org/val2014/COCO_val2014_{coco:012}.jpg"),
            record(f"val2017.tar#{coco:012}.jpg"),
            record(f"https://live.staticflickr.com/1/{flickr}_0123456789_b.jpg"),
            record(page=f"https://www.flickr.com/photos/me/{flickr}"),
            record(key=f"COCO_train2014_{61844:012}.jpg"),
            record(f"https://s3.amazonaws.com/open-images/{prefix:08x}01234567.jpg"),
            record(coco_id=999_999_999),
            record(coco_id=None),
            record(),
        ]
    )
    assert matches[:4] == [f"mscoco-it-dev: COCO picture {coco}"] * 4
    assert matches[4:6] == [f"mscoco-it-dev: Flickr photo {flickr}"] * 2
    assert matches[6:8] == ["xtd10: COCO picture 61844", f"crossmodal-3600: Open Images picture {prefix:08x}01234567"]
    assert matches[8:] == ["", "", ""]
    assert EvaluationSet.open(DuplicatePlan(sets=()), tmp_path).matches([record(coco_id=coco)]) == [""]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "prova").mkdir()
    for seed in range(5):
        (tmp_path / "prova" / f"{seed}.jpg").write_bytes(jpeg(drawn(seed, 320, 240)))
    return tmp_path


def test_pictures_are_known_by_bytes_hash_and_vector(folder):
    plan = DuplicatePlan(sets=(), test_sets=("prova",))
    encoder = SmallEncoder()
    known = EvaluationSet.open(plan, folder, encoder=encoder)
    digest = known.tests[0].sha256[3]
    crop = drawn(4, 320, 240).crop((14, 10, 306, 230))
    some = [drawn(99), drawn(1).convert("L").convert("RGB"), ImageOps.mirror(drawn(2)), crop, drawn(98)]
    hashes = np.array([phash(image) for image in some], np.uint64)
    seen = []
    found = known.matches(
        sha256=[digest, "", "", "", ""],
        hashes=hashes,
        vectors=encoder.encode_images(some),
        progress=lambda done, of: seen.append((done, of)),
    )
    assert found[0] == "prova: same bytes as 3.jpg"
    assert found[1].startswith("prova: near 1.jpg (") and "cosine" in found[1]
    assert found[2].startswith("prova: near 2.jpg")
    assert found[3].startswith("prova: near 4.jpg")
    assert found[4] == ""
    assert seen == [(5, 5)]
    alone = known.matches(hashes=hashes)
    assert alone[1].startswith("prova: near 1.jpg (") and "cosine" not in alone[1]
    assert alone[3] == ""  # the hash alone does not know it again


def test_a_test_set_of_json_lines_counts_by_its_names_too(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(drawn(1)))
    rows = [
        {"image_path": "a.jpg", "captions": ["uno"], "flickr_id": 4071979537},
        {"image_path": "COCO_val2014_000000000042.jpg", "captions": ["due"]},
    ]
    (tmp_path / "prova.jsonl").write_text("\n".join(map(json.dumps, rows)))
    test = read_test_set(tmp_path / "prova.jsonl")
    assert test.keys == ("a.jpg",)
    known = EvaluationSet(tests=[test])
    assert (
        known.matches([record(coco_id=42), record("http://flic.kr/p/7d2xSH"), record()])[0]
        == "prova.jsonl: COCO picture 42"
    )
    assert known.matches([record(flickr_id=4071979537)]) == ["prova.jsonl: Flickr photo 4071979537"]


def test_a_test_picture_that_cannot_be_opened_is_said(folder):
    (folder / "prova" / "rotta.jpg").write_bytes(jpeg(drawn(9))[:400])
    with pytest.raises(BadRecord, match=r"rotta\.jpg"):
        read_test_set(folder / "prova")
    told = []
    assert len(read_test_set(folder / "prova", on_skip=told.append).keys) == 5
    assert len(told) == 1 and "rotta.jpg" in told[0]
    with pytest.raises(BadRecord, match="no such"):
        EvaluationSet.open(DuplicatePlan(test_sets=("altrove",)), folder)


def test_vectors_must_be_of_one_kind(folder):
    known = EvaluationSet(tests=[read_test_set(folder / "prova")])
    with pytest.raises(ValueError, match="encode both"):
        known.matches(hashes=np.zeros(2, np.uint64), vectors=np.ones((2, 64), np.float32))
    with pytest.raises(ValueError, match="lengths"):
        known.matches([record()], hashes=np.zeros(2, np.uint64))
    assert known.matches() == []


def test_an_identity_of_nothing_matches_nothing():
    assert EvaluationIds("a", frozenset([1]), frozenset([2]), frozenset([3])).match(Identity()) == ""


@pytest.mark.parametrize("name", ["d89a4889331ce042", "7354a91ef1113d6c", "3064de65bb02dc26", "a3b64c359e37dbc9"])
def test_a_picture_of_crossmodal_3600_is_known(name):
    assert shipped_ids("crossmodal-3600").match(identify(f"https://example.org/{name}.jpg"))
    assert not shipped_ids("crossmodal-3600").match(identify(f"https://example.org/{name[::-1]}.jpg"))


def test_bytes_that_are_not_known_are_not_equal(folder):
    test = replace(read_test_set(folder / "prova"), sha256=("",) * 5)
    assert EvaluationSet(tests=[test]).matches(sha256=["", "a"]) == ["", ""]

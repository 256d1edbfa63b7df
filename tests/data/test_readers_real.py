"""The real files: counts as their sources state them."""

import pytest

from clip_italian.data.readers import read, read_all

JSON_LINES = [
    ("flickr8k-it/train.jsonl", 6000),
    ("flickr8k-it/dev.jsonl", 1000),
    ("coco-photos/train.jsonl", 7863),
    ("mscoco-it/dev.jsonl", 175),
]
MSCOCO = [
    ("devset_unvalidated", 1696, 8486),
    ("devset_validated", 308, 1541),
    ("testset_unvalidated", 3422, 17_120),
    ("testset_validated", 596, 2982),
]


@pytest.mark.parametrize(("name", "count"), JSON_LINES)
def test_json_lines(shared, name, count):
    samples = read(shared / "data" / name)
    assert len(samples) == len({s.key for s in samples}) == count
    for sample in (samples[0], samples[count // 2], samples[-1]):
        assert sample.image.read()[:3] == b"\xff\xd8\xff"
        assert len(sample.image.read()) == sample.image.size


def test_the_training_photos_together(shared):
    samples = read_all([shared / "data" / name for name in ("flickr8k-it/train.jsonl", "coco-photos/train.jsonl")])
    assert len({s.key for s in samples}) == 13_863
    coco = [s for s in samples if s.key.startswith("coco-photos/")]
    assert sum(len(s.texts("it")) for s in coco if s.texts("en")) == 8067
    assert sum(len(s.texts("en")) for s in coco) == 19_384
    short = [s for s in coco if s.queries]
    assert len(short) == 3623
    assert all(len(s.texts("it")) == 1 and not s.texts("en") and len(s.queries) == 1 for s in short)
    assert all(isinstance(s.extra["image_id"], int) and s.extra["from"] for s in coco)


@pytest.mark.parametrize(("name", "pictures", "captions"), MSCOCO)
def test_mscoco_it(shared, name, pictures, captions):
    path = shared / "data" / "mscoco-it" / "original" / f"captions_ita_{name}.json.gz"
    samples = read(path, missing="keep")
    assert (len(samples), sum(len(s.captions) for s in samples)) == (pictures, captions)
    assert all(
        isinstance(s.extra["image_id"], int) and s.key.endswith(f"{s.extra['image_id']:012}.jpg") for s in samples
    )


def test_mscoco_it_pictures_found_in_the_tar(shared):
    folder = shared / "data" / "mscoco-it"
    wanted = {s.extra["image_id"]: {c.text for c in s.captions} for s in read(folder / "dev.jsonl")}
    found = {}
    for name in ("devset_unvalidated", "devset_validated"):
        path = folder / "original" / f"captions_ita_{name}.json.gz"
        found |= {
            s.extra["image_id"]: {c.text for c in s.captions}
            for s in read(path, images=folder / "images-dev.tar", missing="skip")
        }
    assert found == wanted


def test_tiny_imagenet(shared):
    folder = shared / "data" / "tiny-imagenet"
    samples = read(folder / "dev.tar.gz")
    wnids = (folder / "wnids.txt").read_text().split()
    assert len(samples) == 2000
    assert all(wnids[s.label] == s.key.split("_")[0] for s in samples)
    assert samples[7].image.read()[:3] == b"\xff\xd8\xff"
    train = read(folder / "train-0003.tar.gz")
    assert len({s.key for s in train}) == 5000


def test_the_album_is_a_folder(shared):
    samples = read(shared / "data" / "album")
    assert len(samples) == 1000
    assert samples[0].key == "n01440764_tench.jpg"

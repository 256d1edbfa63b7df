"""The real files: their ids, and photos found again after edits."""

import io

import numpy as np
import pytest
from PIL import ImageEnhance, ImageOps

from clip_italian.corpus.duplicates.addresses import identify
from clip_italian.corpus.duplicates.combine import bits_between
from clip_italian.corpus.duplicates.evaluation import EvaluationSet
from clip_italian.corpus.duplicates.ids import shipped_ids
from clip_italian.corpus.duplicates.near import pairs_within
from clip_italian.corpus.duplicates.perceptual import phash_file
from clip_italian.corpus.duplicates.plan import DuplicatePlan
from clip_italian.corpus.record import Record
from clip_italian.data.readers import read
from clip_italian.images import open_image


@pytest.mark.parametrize("part", ["dev", "test"])
def test_ids_are_those_of_mscoco_it(shared, part):
    folder = shared / "data" / "mscoco-it" / "original"
    found = set()
    for kind in ("unvalidated", "validated"):
        samples = read(folder / f"captions_ita_{part}set_{kind}.json.gz", missing="keep")
        found |= {sample.extra["image_id"] for sample in samples}
    assert found == shipped_ids(f"mscoco-it-{part}").coco


def test_ids_are_those_of_xtd10(shared):
    names = (shared / "data" / "xtd10-it" / "original" / "test_image_names.txt").read_text().split()
    assert {identify(name).coco for name in names} == shipped_ids("xtd10").coco


def test_no_training_photo_is_an_evaluation_photo_by_id(shared, tmp_path):
    """The folder was made without them; MSCOCO-IT's own dev photos must all be recognised."""
    known = EvaluationSet.open(DuplicatePlan(), tmp_path)
    for name, expected in (("coco-photos/train.jsonl", 0), ("mscoco-it/dev.jsonl", 175)):
        samples = read(shared / "data" / name)
        records = [Record("x", s.key, s.key, (), extra={"coco_id": s.extra["image_id"]}) for s in samples]
        assert sum(map(bool, known.matches(records))) == expected


@pytest.mark.parametrize(
    ("edit", "least"),
    [
        (lambda image: image, 0.99),
        (lambda image: image.resize((image.width // 2, image.height // 2)), 0.98),
        (ImageOps.grayscale, 0.99),
        (ImageOps.mirror, 0.98),
        (ImageEnhance.Brightness, 0.88),
    ],
    ids=["re-encoded", "half", "grey", "mirrored", "brighter"],
)
def test_hashes_find_edited_photos_of_the_album(shared, edit, least):
    samples = read(shared / "data" / "album")[::5]
    images = [open_image(sample.image.read()) for sample in samples]
    hashes = np.array([phash_file(image) for image in images], np.uint64)
    again = []
    for image in images:
        changed = edit(image)
        out = io.BytesIO()
        (changed.enhance(1.3) if isinstance(changed, ImageEnhance.Brightness) else changed).save(
            out, "JPEG", quality=40
        )
        again.append(phash_file(out.getvalue()))
    plan = DuplicatePlan().same
    bits = bits_between(hashes, np.array(again, np.uint64), plan)
    assert (bits <= plan.bits).mean() >= least
    assert len(pairs_within(hashes, plan.bits)) == 0  # and no two different photos are taken for one


def test_a_photo_that_flickr8k_has_twice_is_found(shared):
    wanted = {"3050606344_af711c726c.jpg", "2851198725_37b6027625.jpg"}
    samples = [s for s in read(shared / "data" / "flickr8k-it" / "train.jsonl") if s.key.split("#")[-1] in wanted]
    hashes = np.array([phash_file(sample.image.read()) for sample in samples], np.uint64)
    assert pairs_within(hashes, DuplicatePlan().same.bits).tolist() == [[0, 1]]

"""Pictures kept decoded: unchanged they are what preprocessing gives; changed ones are cut and mirrored as they say."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from toys import squares

from clip_italian.data.sample import Caption, ImageRef, Sample
from clip_italian.images import open_image
from clip_italian.models.towers.base import ImageTower, TowerOutput
from clip_italian.preprocess import Preprocess
from clip_italian.training.resident import Resident, ResidentFeed

SQUARE = Preprocess(32, "squash", mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))
CPU = torch.device("cpu")


def silent(what, done, total):
    assert 0 < done <= total


class Pixels(ImageTower):
    """A tower that gives back what it reads."""

    dim, spec = 3, {}

    def body(self, hidden):
        return TowerOutput(hidden.flatten(2).transpose(1, 2), hidden.mean((2, 3)))


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return squares(tmp_path_factory.mktemp("quadri"), 24)


def halves(folder, count=64):
    """Pictures that are dark on the left and bright on the right, whatever part of them is seen."""
    pixels = np.linspace(20, 230, 32).astype(np.uint8)[None, :, None].repeat(32, 0).repeat(3, 2)
    Image.fromarray(pixels).save(folder / "meta.png")
    return [Sample(f"m{i}", ImageRef(folder / "meta.png"), (Caption("un quadro"),)) for i in range(count)]


def test_unchanged_pictures_are_what_preprocessing_gives(samples):
    resident = Resident(samples, SQUARE, CPU, silent)
    expected = np.stack([SQUARE(open_image(sample.image.read())) for sample in samples])
    assert np.allclose(resident.plain(np.arange(24)).numpy(), expected, atol=1e-5)
    assert np.allclose(resident.plain(np.array([5, 2])).numpy(), expected[[5, 2]], atol=1e-5)


def test_small_squares_come_back_at_the_size_of_the_preprocessing(samples):
    whole, small = (Resident(samples, SQUARE, CPU, silent, side=side).plain(np.arange(24)) for side in (None, 16))
    assert small.shape == whole.shape
    assert torch.nn.functional.cosine_similarity(small.flatten(1), whole.flatten(1)).min() > 0.8


def test_mirrored_pictures_are_the_ones_that_are_said_to_be(tmp_path):
    resident = Resident(halves(tmp_path), SQUARE, CPU, silent)
    pixels, mirrored = resident.changed(np.arange(64), np.random.default_rng(3))
    falls = (pixels[..., :4].mean((1, 2, 3)) > pixels[..., -4:].mean((1, 2, 3))).numpy()
    assert 10 < mirrored.sum() < 54
    assert (falls == mirrored).all()


def test_what_cannot_be_told_mirrored_is_not_mirrored(tmp_path):
    alone = [s for s in halves(tmp_path, 40)]
    told = [Sample(s.key, s.image, (Caption("un giocatore mancino"),)) for s in alone]
    _, mirrored = Resident(told, SQUARE, CPU, silent).changed(np.arange(40), np.random.default_rng(3))
    assert not mirrored.any()


def test_a_picture_of_which_every_object_is_told_is_not_changed(samples):
    told = [replace(sample, extra={"objects": [{"shape": "cerchio"}]}) for sample in samples[:12]]
    resident = Resident([*told, *samples[12:]], SQUARE, CPU, silent)
    pixels, mirrored = resident.changed(np.arange(24), np.random.default_rng(1))
    close = [torch.allclose(*pair, atol=1e-3) for pair in zip(pixels, resident.plain(np.arange(24)), strict=True)]
    assert all(close[:12]) and not any(close[12:]) and not mirrored[:12].any()


def test_a_change_is_a_part_of_the_picture_in_other_light(tmp_path):
    """Seen parts span between 0.6 and all of the side: the slope of a ramp tells which share is seen."""
    resident = Resident(halves(tmp_path), SQUARE, CPU, silent)
    pixels, mirrored = resident.changed(np.arange(64), np.random.default_rng(0))
    column = pixels[~torch.from_numpy(mirrored)].mean((1, 2))
    whole = resident.plain(np.array([0])).mean((1, 2))[0]
    share = (column[:, 24] - column[:, 8]) / (whole[24] - whole[8])
    assert share.min() > 0.35 and share.max() < 1.5
    assert share.std() > 0.05, "all alike"


def test_a_feed_repeats_an_epoch_and_changes_with_the_next(samples):
    feed = ResidentFeed(Resident(samples, SQUARE, CPU, silent), Pixels(), augmented=True, seed=1, bfloat16=False)
    batches = [np.arange(12), np.arange(12, 24)]
    first, again, other = ([pixels for pixels, _ in feed.epoch(batches, epoch)] for epoch in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_a_feed_without_augmentation_leaves_pictures_alone(samples):
    resident = Resident(samples, SQUARE, CPU, silent)
    feed = ResidentFeed(resident, Pixels(), augmented=False, seed=1, bfloat16=False)
    [(pixels, mirrored)] = feed.epoch([np.arange(24)], 5)
    assert torch.equal(pixels, resident.plain(np.arange(24))) and not mirrored.any()

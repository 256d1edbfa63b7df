"""The plan: counts are the run's own, times and memory are measured, nothing is kept."""

import pytest
from toys import HEADS, STAGE, Listener, recipe, squares

from clip_italian.errors import BadRecipe, BadRecord
from clip_italian.training.plan import plan
from clip_italian.training.setup import build
from clip_italian.training.trainer import train


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return squares(tmp_path_factory.mktemp("quadri"), 40)


def test_the_plan_counts_what_a_run_does(samples, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = recipe(HEADS, STAGE | {"augment": "crop", "average": 0.9}, texts={"max_length": 24, "vocabulary": 300})
    notes = []
    made = plan(settings, samples, note=notes.append)
    assert not list(tmp_path.iterdir()), "nothing is written"
    model = build(settings, [c.text for s in samples for c in s.captions]).model
    numbers = [
        sum(p.numel() for p in model.image_tower.parameters()), sum(p.numel() for p in model.text_tower.parameters()),
        2 * 32 * 32, 1,
    ]  # fmt: skip
    heads, everything = made.stages
    assert [part.name for part in heads.parts] == ["image_tower", "text_tower", "heads", "scale"]
    for stage, learning in ((heads, [0, 0, 2048, 0]), (everything, [*numbers[:3], 0])):
        assert [part.numbers for part in stage.parts] == numbers
        assert [part.learning for part in stage.parts] == learning
        assert stage.weights == 4 * sum(numbers)
    assert [part.rate for part in heads.parts] == [None, None, 3e-3, None]
    assert (heads.learning_state, everything.learning_state) == (4 * 3 * 2048, 4 * 4 * sum(numbers[:3]))
    assert (heads.steps, heads.pairs, heads.features, everything.features) == (4, 64, 40, 0)
    listener = Listener()
    train(settings, samples, {"dev": squares(tmp_path / "dev", 8, seed=1)}, tmp_path / "out", reporter=listener)
    assert len(listener.losses) == heads.steps + everything.steps
    for stage in made.stages:
        assert 0 < stage.step_seconds < 60 and stage.weights + stage.learning_state < stage.peak < 2**36
        assert stage.seconds == stage.feature_seconds + stage.steps * stage.step_seconds
    assert any("measuring stage heads: 4 steps of 16" in note for note in notes)


def test_a_plan_neither_warms_up_nor_needs_every_picture(tmp_path):
    samples = squares(tmp_path, 24)
    samples[20].image.path.unlink()
    notes = []
    made = plan(recipe(texts={"max_length": 24, "vocabulary": 300, "warm_start": 10**6}), samples, note=notes.append)
    assert made.pictures == 24 and not any("masked" in note for note in notes)


def test_a_plan_refuses_what_a_run_would(samples):
    with pytest.raises(BadRecipe, match="a batch of 41, but only 40 pictures"):
        plan(recipe(STAGE | {"batch": 41}), samples)
    with pytest.raises(BadRecord, match="has no caption in fr"):
        plan(recipe(texts={"languages": {"fr": 1.0}}), samples)

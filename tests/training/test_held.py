"""Stages that hold an image tower's leading blocks, and runs that begin between two towers."""

import subprocess
import sys

import pytest
import torch
from toys import BAG, STAGE, Listener, recipe, squares

from clip_italian.data.class_names import imagenet
from clip_italian.data.sample import Sample
from clip_italian.errors import BadModel, BadRecipe, MissingExtra
from clip_italian.models.checkpoint import load_checkpoint, save_checkpoint
from clip_italian.training.classes import Labelled
from clip_italian.training.setup import build, learnable
from clip_italian.training.trainer import train

HELD = 20


@pytest.fixture(scope="module")
def lite():
    from clip_italian.models.towers import lite

    try:
        lite.classifier()
    except MissingExtra as missing:
        pytest.skip(f"needs the extra base: {missing}")
    return lite


def held_recipe(blend=None, **stage):
    values = {
        "image_tower": {"type": "efficientnet-lite2"}, "text_tower": BAG, "classes": {"names": 5},
        "pictures": {"size": 64, "resize": "squash"},
    }  # fmt: skip
    stage = STAGE | {"epochs": 1, "batch": 8, "held": HELD, "augment": "crop", "views": 2} | stage
    return recipe(stage, **values, blend=blend)


def test_held_blocks_and_the_rest_are_the_whole_tower(lite):
    tower = lite.LiteTower().load_pretrained().eval()
    pixels = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        whole, parts = tower(pixels), lite.HeldBlocks(tower, HELD)(pixels)
    assert torch.equal(whole.tokens, parts.tokens)
    assert whole.grid == parts.grid


def test_what_lies_behind_the_held_blocks_learns_and_nothing_before(lite):
    model = build(held_recipe(), ["un quadrato"] * 4).model
    learning = {id(parameter) for parameter in learnable(model, held_recipe().stages[0])["image_tower"]}
    names = {name for name, parameter in model.image_tower.named_parameters() if id(parameter) in learning}
    assert {name.split(".")[0] for name in names} == {"blocks", "last"}
    assert {name.split(".")[1] for name in names if name.startswith("blocks")} == {"20"}


def test_a_run_keeps_what_it_began_from_in_the_held_blocks_and_stores_it(lite, tmp_path):
    """Half-way between the pretrained and the finished tower, to the bit, and the rest has moved on."""
    samples, valid = squares(tmp_path / "quadri", 16), {"dev": squares(tmp_path / "dev", 8, seed=1)}
    shown = [Sample(s.key, s.image, label=0) for s in squares(tmp_path / "noti", 6, seed=2)]
    labelled = Labelled.of(shown, [imagenet()[1].wnid])
    settings = held_recipe(blend=0.5, labelled=4)
    start = tmp_path / "start"
    begun = build(held_recipe(), [caption.text for sample in samples for caption in sample.captions])
    with torch.no_grad():
        for parameter in begun.model.image_tower.parameters():
            parameter.mul_(1 + 0.02 * torch.rand_like(parameter))
    save_checkpoint(begun, start)
    out = tmp_path / "run"
    train(settings, samples, valid, out, labelled=labelled, init=start, reporter=Listener())
    found = load_checkpoint(out).model.image_tower.state_dict()
    theirs = load_checkpoint(start).model.image_tower.state_dict()
    untouched = lite.LiteTower().load_pretrained().state_dict()
    for name in ("first.weight", "blocks.7.depthwise.weight", f"blocks.{HELD - 1}.project.weight"):
        middle = (theirs[name] + untouched[name]) / 2
        assert torch.allclose(found[name], middle, atol=1e-6), name
        assert not torch.allclose(found[name], theirs[name], atol=1e-4), name
    middle = (theirs["last.weight"] + untouched["last.weight"]) / 2
    assert not torch.allclose(found["last.weight"], middle, atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"image_tower": {"type": "scratch-image", "dim": 32}, "classes": None}, BadRecipe, "held: only"),
        ({"image_tower": {"type": "efficientnet-lite2", "cut": 5}}, BadRecipe, "cut of its own"),
        ({"stages": [STAGE | {"held": 22}]}, BadRecipe, "21 blocks 22"),
    ],
)
def test_what_cannot_be_held_is_told_before_any_work(lite, tmp_path, changes, error, message):
    values = held_recipe().model_dump(exclude_none=True) | changes
    values = {name: value for name, value in values.items() if value is not None}
    with pytest.raises(error, match=message):
        train(
            type(held_recipe()).model_validate(values),
            squares(tmp_path / "quadri", 16),
            {"dev": squares(tmp_path / "dev", 8, seed=1)},
            tmp_path / "out",
            reporter=Listener(),
        )


def test_a_blend_needs_something_to_blend_with(tmp_path):
    with pytest.raises(BadRecipe, match=r"blend: .*--init"):
        train(held_recipe(blend=0.5), [], {}, tmp_path / "out", reporter=Listener())
    with pytest.raises(ValueError, match="blend"):
        held_recipe(blend=1.5)


def test_a_tower_with_a_cut_holds_no_blocks_besides(lite):
    with pytest.raises(BadModel, match="cut of its own"):
        lite.HeldBlocks(lite.LiteTower(cut=3), 5)


def test_memory_is_kept_where_the_c_library_can_be_told():
    """A second batch takes no new pages; without the call it takes as many as the first."""
    code = (
        "import resource, sys, numpy as np\n"
        "from clip_italian.training.memory import keep_memory\n"
        "kept = keep_memory() if sys.argv[1] == 'keep' else None\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    np.ones(50_000_000, np.uint8)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "first, second = faults(), faults()\n"
        "print(kept, second)\n"
    )
    kept, plain = (
        subprocess.run([sys.executable, "-c", code, mode], capture_output=True, text=True, check=True).stdout.split()
        for mode in ("keep", "leave")
    )
    if kept[0] != "True":
        pytest.skip("this C library has no mallopt")
    assert int(kept[1]) < int(plain[1]) / 2

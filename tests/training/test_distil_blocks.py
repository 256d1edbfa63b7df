"""First parts of a student's run: stages that learn maps, a text side that learns to read; stopped and resumed."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image
from test_distillation import SETTINGS, stop_at
from torch import nn
from toys import Listener, squares

from clip_italian.data.class_names import imagenet
from clip_italian.encoder import load
from clip_italian.errors import BadModel, BadRecipe, BadRecord
from clip_italian.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from clip_italian.models.dual import DualEncoder
from clip_italian.models.tokenizer import Tokenizer
from clip_italian.models.tokenizer_training import train_tokenizer
from clip_italian.models.towers.lite import LiteTower
from clip_italian.models.towers.scratch import BagOfWordsTower
from clip_italian.models.towers.staged import StagedImageTower
from clip_italian.preprocess import Preprocess
from clip_italian.training import distil_losses, distil_part, distil_teacher
from clip_italian.training.distil_maps import Units, stage_errors, teacher_maps
from clip_italian.training.distil_part import read_part
from clip_italian.training.distil_recipe import DistilRecipe
from clip_italian.training.distil_setup import Data
from clip_italian.training.distil_views import decode
from clip_italian.training.distillation import distil

STAGED = {"type": "staged-image", "repeats": [1] * 7, "expansion": 2, "dim": 32}
BLOCKS = {"steps": 6, "batch": 8, "rate": 0.02, "warmup": 2, "joined": 0.5, "sizes": [32, 64]}


def recipe(**changes):
    pictures = {"size": 64, "resize": "squash"}
    return DistilRecipe.model_validate(
        SETTINGS | {"image_tower": STAGED, "pictures": pictures, "blockwise": BLOCKS, "epochs": 1} | changes
    )


def lively(seed=0):
    """A Lite2 of random weights whose maps differ from place to place, down to the last one."""
    torch.manual_seed(seed)
    tower = LiteTower()
    for module in tower.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return tower.eval()


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("maestro")
    texts = [caption.text for sample in squares(folder / "q", 8) for caption in sample.captions]
    tokenizer = Tokenizer(train_tokenizer(texts * 2, 300), 16)
    model = DualEncoder(lively(), BagOfWordsTower(vocabulary=tokenizer.size, width=32), dim=32)
    save_checkpoint(Checkpoint(model, tokenizer, Preprocess(64, "squash"), "maestro"), folder / "modello")
    return folder / "modello"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dati")
    return Data(squares(folder / "a", 24), {"prova": squares(folder / "b", 8, seed=1, name="prova")})


def errors_of(out):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["relative_errors"] for line in lines if "relative_errors" in line]


def test_maps_in_units_have_mean_0_and_variance_1_and_come_back():
    pixels = torch.randn(6, 3, 64, 64)
    with torch.no_grad():
        maps = teacher_maps(lively(), pixels)
    units = Units.of([maps])
    assert [one.shape[1] for one in maps] == [16, 24, 48, 88, 120, 208, 352, 1280]
    assert [one.shape[2] for one in maps] == [32, 16, 8, 4, 4, 2, 2, 2]
    for number, one in enumerate(maps):
        scaled = units.scaled(number, one)
        assert scaled.mean((0, 2, 3)).abs().max() < 1e-2
        varies = one.var((0, 2, 3), correction=0) > 1e-5
        torch.testing.assert_close(
            scaled.var((0, 2, 3), correction=0)[varies].mean(), torch.tensor(1.0), atol=0.02, rtol=0
        )
        torch.testing.assert_close(units.restored(number, scaled), one, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("side", [64, 75])
@torch.no_grad()
def test_a_stage_of_the_teachers_structure_and_weights_makes_no_error(side):
    # Also where a stride leaves an odd pixel over: a student whose places lay half a pixel off could never learn.
    teacher, tower = lively(), StagedImageTower(**{k: v for k, v in STAGED.items() if k != "type"}).eval()
    pixels = 0.3 * torch.randn(4, 3, side, side)
    maps = teacher_maps(teacher, pixels)
    units = Units.of([maps])
    stem, block = tower.stages[0]
    filters, narrow = block.layers
    for own, theirs in (
        (stem, teacher.first),
        (filters, teacher.blocks[0].depthwise),
        (narrow, teacher.blocks[0].project),
    ):
        own[0].weight.copy_(theirs.weight.view_as(own[0].weight))
        own[1].bias.copy_(theirs.bias)
    narrow[1].weight.copy_(1 / units.deviation[0].flatten())
    narrow[1].bias.copy_((teacher.blocks[0].project.bias - units.mean[0].flatten()) / units.deviation[0].flatten())
    errors = stage_errors(tower, teacher, pixels, units, joined=False)
    assert errors[0] < 1e-3 and errors[1] > 0.1


def test_joined_stages_read_the_students_own_maps():
    teacher, tower = lively(), StagedImageTower(**{k: v for k, v in STAGED.items() if k != "type"})
    pixels = torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        units = Units.of([teacher_maps(teacher, pixels)])
    for joined in (False, True):
        tower.zero_grad()
        stage_errors(tower, teacher, pixels, units, joined=joined)[6].backward()
        assert bool(tower.stages[0][0][0].weight.grad.any()) == joined
        assert tower.stages[6][0].layers[0][0].weight.grad.any()


def test_stages_learn_and_the_student_goes_on_from_them(teacher, data, tmp_path, monkeypatch):
    monkeypatch.setattr(distil_part, "READ_EVERY", 10)
    blocks = BLOCKS | {"steps": 60, "joined": 0.2, "sizes": [64]}
    outcome = distil(recipe(blockwise=blocks), teacher, data, tmp_path / "a", only="blocks", reporter=Listener())
    assert outcome.best is None and not (tmp_path / "a" / "model.json").exists()
    errors = errors_of(tmp_path / "a")
    assert len(errors) == 6 and sum(errors[4][:7]) < 0.7 * sum(errors[0][:7])
    with pytest.raises(BadRecipe, match="add --resume"):
        distil(recipe(blockwise=blocks), teacher, data, tmp_path / "a", reporter=Listener())
    part, _, stored = read_part(tmp_path / "a" / "blocks.safetensors")
    assert part == "blocks"
    listener = Listener()
    init = tmp_path / "a" / "blocks.safetensors"
    still = recipe(learn={"heads": 1e-3, "text_tower": 1e-3})
    distil(still, teacher, data, tmp_path / "b", init=[init], reporter=listener)
    assert not errors_of(tmp_path / "b")
    begun = load(tmp_path / "b").model.image_tower.state_dict()
    for name, tensor in stored.items():
        if name.endswith("0.weight"):
            torch.testing.assert_close(begun[name], tensor)
    # With --resume, the whole run goes on behind its blockwise part.
    assert distil(recipe(blockwise=blocks), teacher, data, tmp_path / "a", resume=True, reporter=Listener()).best
    assert not (tmp_path / "a" / "blocks.pt").exists()


def test_stopped_and_resumed_the_stages_end_as_if_never_stopped(teacher, data, tmp_path, monkeypatch):
    monkeypatch.setattr(distil_part, "READ_EVERY", 1)
    distil(recipe(), teacher, data, tmp_path / "whole", only="blocks", reporter=Listener())
    with pytest.raises(KeyboardInterrupt):
        distil(recipe(), teacher, data, tmp_path / "cut", only="blocks", reporter=Listener(stop_at(2)))
    listener = Listener()
    distil(recipe(), teacher, data, tmp_path / "cut", only="blocks", resume=True, reporter=listener)
    assert "blocks: going on at step 3" in listener.notes
    read = [(tmp_path / name / "blocks.safetensors").read_bytes() for name in ("whole", "cut")]
    assert read[0] == read[1] and errors_of(tmp_path / "whole") == errors_of(tmp_path / "cut")
    with pytest.raises(BadRecipe, match="begun with another recipe or other data"):
        other = recipe(blockwise=BLOCKS | {"rate": 0.01})
        distil(other, teacher, data, tmp_path / "cut", only="blocks", resume=True, reporter=Listener())


def test_what_has_no_such_stages_is_refused(teacher, data, tmp_path):
    with pytest.raises(BadRecipe, match=r'only image_tower\.type = "staged-image"'):
        mobile = {"type": "mobile-image", "width": 0.25, "dim": 32}
        distil(recipe(image_tower=mobile), teacher, data, tmp_path / "a", reporter=Listener())
    with pytest.raises(BadRecipe, match=r"--init .*: its image tower does not fit the recipe: image_tower is"):
        distil(recipe(), teacher, data, tmp_path / "b", init=[teacher], reporter=Listener())
    (tmp_path / "rotto").write_bytes(b"no weights")
    with pytest.raises(BadRecipe, match=r"--only blocks: --init .* brings an image tower already"):
        distil(recipe(), teacher, data, tmp_path / "c", init=[teacher], only="blocks", reporter=Listener())
    with pytest.raises(BadModel, match="rotto: cannot be read as what a part"):
        distil(recipe(), teacher, data, tmp_path / "c", init=[tmp_path / "rotto"], reporter=Listener())


READING = {"steps": 8, "batch": 24, "rate": 5e-3, "warmup": 2}


def test_a_student_learns_to_read_without_pictures_and_goes_on_from_there(teacher, data, tmp_path, monkeypatch):
    monkeypatch.setattr(distil_part, "READ_EVERY", 8)
    mobile = {"image_tower": {"type": "mobile-image", "width": 0.25, "dim": 32}, "blockwise": None}
    reader = recipe(**mobile, reading=READING | {"steps": 64})
    listener = Listener()
    outcome = distil(reader, teacher, data, tmp_path / "a", only="reading", reporter=listener)
    assert outcome.best is None and listener.losses[-1] < 0.6 * listener.losses[0]
    part, _, stored = read_part(tmp_path / "a" / "reading.safetensors")
    assert part == "reading" and any(name.startswith("text_head.") for name in stored)
    still = recipe(**mobile, learn={"heads": 1e-9, "image_tower": 1e-3})
    distil(still, teacher, data, tmp_path / "b", init=[tmp_path / "a" / "reading.safetensors"], reporter=Listener())
    lines = [json.loads(line) for line in (tmp_path / "b" / "log.jsonl").read_text().splitlines()]
    losses = [line["text"] for line in lines if "text" in line]
    distil(still, teacher, data, tmp_path / "c", reporter=Listener())
    unread = [json.loads(line) for line in (tmp_path / "c" / "log.jsonl").read_text().splitlines()]
    assert losses[0] < 0.5 * next(line["text"] for line in unread if "text" in line)
    other = recipe(**mobile, texts=SETTINGS["texts"] | {"vocabulary": 310})
    with pytest.raises(BadRecipe, match="its text side does not fit the recipe"):
        distil(other, teacher, data, tmp_path / "d", init=[tmp_path / "a" / "reading.safetensors"], reporter=Listener())


def test_a_text_side_that_is_held_stays_as_it_read(teacher, data, tmp_path, monkeypatch):
    monkeypatch.setattr(distil_part, "READ_EVERY", 8)
    mobile = {"image_tower": {"type": "mobile-image", "width": 0.25, "dim": 32}, "blockwise": None}
    distil(
        recipe(**mobile, reading=READING | {"held": True, "steps": 64}),
        teacher,
        data,
        tmp_path / "a",
        reporter=Listener(),
    )
    finished = load_checkpoint(tmp_path / "a")
    read, tokenizer = finished.model, finished.tokenizer
    _, _, stored = read_part(tmp_path / "a" / "reading.safetensors")
    own = read.state_dict()
    assert all(torch.equal(own[name].half(), tensor.half()) for name, tensor in stored.items())
    # Reading alone goes on where a student's text side is.
    first = []
    for name, init in (("more", [tmp_path / "a"]), ("anew", [])):
        listener = Listener()
        distil(recipe(**mobile, reading=READING | {"steps": 64}), teacher, data, tmp_path / name, init=init,
               only="reading", reporter=listener)  # fmt: skip
        first.append(listener.losses[0])
    assert first[0] < 0.8 * first[1]
    # All of a finished student is where another one begins, its image head too.
    # It brings its tokenizer, though the recipe would have another one trained.
    texts = SETTINGS["texts"] | {"vocabulary": 310}
    still = recipe(**mobile, learn={"image_tower": 1e-12, "scale": 1e-12}, average=1e-6, texts=texts)
    distil(still, teacher, data, tmp_path / "b", init=[tmp_path / "a"], reporter=Listener())
    again = load_checkpoint(tmp_path / "b").model
    assert load_checkpoint(tmp_path / "b").tokenizer.backend.to_str() == tokenizer.backend.to_str()
    for part in ("image_head", "text_head", "text_tower"):
        for mine, other in zip(getattr(again, part).parameters(), getattr(read, part).parameters(), strict=True):
            assert torch.equal(mine, other), part


def test_stopped_and_resumed_reading_ends_as_if_never_stopped(teacher, data, tmp_path, monkeypatch):
    monkeypatch.setattr(distil_part, "READ_EVERY", 1)
    reader = recipe(blockwise=None, reading=READING)
    distil(reader, teacher, data, tmp_path / "whole", only="reading", reporter=Listener())
    with pytest.raises(KeyboardInterrupt):
        distil(reader, teacher, data, tmp_path / "cut", only="reading", reporter=Listener(stop_at(3)))
    monkeypatch.setattr(distil_teacher, "_texts", None)  # the teacher is not asked again
    distil(reader, teacher, data, tmp_path / "cut", only="reading", resume=True, reporter=Listener())
    read = [(tmp_path / name / "reading.safetensors").read_bytes() for name in ("whole", "cut")]
    assert read[0] == read[1]
    with pytest.raises(BadRecipe, match="add --resume"):
        distil(reader, teacher, data, tmp_path / "cut", only="reading", reporter=Listener())


def test_small_pictures_are_kept_small_and_show_the_same(tmp_path):
    samples = squares(tmp_path / "a", 6)
    Image.open(samples[1].image.path).resize((80, 60), Image.Resampling.BICUBIC).save(samples[1].image.path)
    quiet = {"on_skip": pytest.fail, "report": lambda what, done, total: None}
    cpu = torch.device("cpu")
    whole, apart = (decode(samples, Preprocess(64, "squash"), cpu, small=small, **quiet) for small in (None, 32))
    assert apart.pixels.small.shape == (5, 3, 32, 32) and apart.pixels.large.shape == (1, 3, 64, 64)
    assert len(whole.pixels.large) == 6 and whole.digests == apart.digests
    pictures = torch.tensor([5, 1, 0, 5])
    boxes = torch.tensor([[[1.0, 0, 0], [0, 1.0, 0]]] * 4)
    found, expected = (one.pixels.parts(pictures, boxes, 64) for one in (apart, whole))
    assert (found - expected).abs().mean() < 8  # enlarged at once or in two steps
    torch.testing.assert_close(found[1], expected[1])
    assert (found[0] - expected[2]).abs().mean() > 15


def test_a_known_class_takes_its_share_of_the_target():
    places, chances = torch.tensor([[3, 1], [0, 2]]), torch.tensor([[0.6, 0.2], [0.3, 0.3]])
    found, weight = distil_losses.told(places, chances, torch.tensor([4, -1]), 0.5)
    assert found.tolist() == [[3, 1, 4], [0, 2, 0]]
    torch.testing.assert_close(weight, torch.tensor([[0.375, 0.125, 0.5], [0.5, 0.5, 0.0]]))
    prototypes = torch.eye(5)
    right, wrong = (distil_losses.classes(prototypes[[place, 2]], prototypes, found, weight, 5.0) for place in (4, 1))
    assert right < wrong


def test_marked_pictures_need_named_classes(teacher, data, tmp_path):
    marked = replace(data, wnids=["n01440764"])
    with pytest.raises(BadRecipe, match="give the classes' names by --labels"):
        distil(recipe(blockwise=None), teacher, marked, tmp_path / "a", reporter=Listener())
    samples = [replace(data.samples[0], label=1), *data.samples[1:]]
    named = Data(samples, data.valid, [], imagenet(), ["n01440764"])
    with pytest.raises(BadRecord, match=r"quadro0\.png: has class 1, but --wnids lists 1"):
        distil(recipe(blockwise=None), teacher, named, tmp_path / "b", reporter=Listener())

"""What a run begins from and where it computes: other models' weights, devices, and what is refused."""

import pytest
import torch
from toys import BAG, HEADS, IMAGE, STAGE, TEXT, Listener, recipe, squares

from clip_italian.errors import BadModel, BadRecipe
from clip_italian.models.checkpoint import save_checkpoint
from clip_italian.training.setup import begin_from, build, check_device
from clip_italian.training.trainer import train


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    return squares(tmp_path_factory.mktemp("quadri"), 16)


@pytest.fixture(scope="module")
def valid(tmp_path_factory):
    return {"dev": squares(tmp_path_factory.mktemp("dev"), 8, seed=1)}


@pytest.fixture(scope="module")
def finished(samples, tmp_path_factory):
    """A model directory whose weights no seed gives again."""
    folder = tmp_path_factory.mktemp("modello")
    made = build(recipe(), captions(samples))
    with torch.no_grad():
        for parameter in made.model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    save_checkpoint(made, folder)
    return folder, made.model.state_dict()


def captions(samples):
    return [caption.text for sample in samples for caption in sample.captions]


def test_a_model_begins_from_anothers_weights_whatever_its_dropout(samples, finished):
    folder, weights = finished
    checkpoint = build(recipe(text_tower=TEXT | {"dropout": 0.3}), captions(samples))
    model = checkpoint.model
    assert not all(torch.equal(weights[name], value) for name, value in model.state_dict().items())
    begin_from(checkpoint, folder)
    assert all(torch.equal(weights[name], value) for name, value in model.state_dict().items())


def test_a_model_whose_tokenizer_learned_other_pieces_is_no_start(samples, finished):
    folder, _ = finished
    other = build(recipe(), [text.replace("quadrato", "rombo") for text in captions(samples)])
    with pytest.raises(BadRecipe, match="tokenizer has other pieces"):
        begin_from(other, folder)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"image_tower": IMAGE | {"width": 32}}, BadRecipe, r"--init .*: its image_tower is .*but the recipe's is"),
        ({"text_tower": BAG}, BadRecipe, r"--init .*: its text_tower is .*but the recipe's is"),
        ({"dim": 16}, BadModel, r"expected \(16, "),
        ({"text_head": {"type": "mlp", "hidden": 16}}, BadModel, "do not fit the description, such as text_head"),
    ],
)
def test_a_model_of_another_architecture_is_refused(samples, valid, finished, tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        train(recipe(HEADS, **changes), samples, valid, tmp_path, init=finished[0], reporter=Listener())
    assert not (tmp_path / "model.json").exists() and not (tmp_path / "state.pt").exists()


def test_a_device_that_is_none_is_refused_before_anything_is_written(samples, valid, tmp_path):
    with pytest.raises(BadRecipe, match=r"--device cudaX: cannot be used here \(.*leave it out to train on the CPU"):
        train(recipe(), samples, valid, tmp_path / "out", device="cudaX", reporter=Listener())
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_is_refused_where_there_is_none():
    check_device("cpu")
    with pytest.raises(BadRecipe, match="--device cuda: cannot be used here"):
        check_device("cuda")


def test_a_stage_with_labelled_pictures_needs_them_and_classes(samples, valid, tmp_path):
    stage = STAGE | {"batch": 8, "labelled": 4}
    with pytest.raises(BadRecipe, match=r"stage 'all': labelled needs pictures .*and \[classes\]"):
        train(recipe(stage), samples, valid, tmp_path, reporter=Listener())

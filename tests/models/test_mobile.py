"""The small convolutional image tower: what it reads and gives, what travels with a checkpoint, that it exports."""

import pytest
import torch
from small import checkpoint
from torch import nn

from clip_italian.errors import BadModel
from clip_italian.models.checkpoint import load_checkpoint, save_checkpoint
from clip_italian.models.dual import DualEncoder
from clip_italian.models.towers import build_image_tower
from clip_italian.models.towers.mobile import MobileImageTower
from clip_italian.models.towers.scratch import BagOfWordsTower

SMALL = {"width": 0.25, "dim": 32}


def awake(tower):
    """Give batch norms statistics of their own."""
    torch.manual_seed(3)
    tower.train()
    with torch.no_grad():
        for _ in range(3):
            tower(torch.randn(8, 3, 64, 64))
    return tower.eval()


def test_tokens_are_the_last_maps_places_and_pooled_their_mean():
    tower = awake(MobileImageTower(**SMALL))
    output = tower(torch.randn(2, 3, 160, 96))
    assert output.tokens.shape == (2, 15, 32) and output.grid == (5, 3)
    torch.testing.assert_close(output.pooled, output.tokens.mean(1))


def test_sides_that_32_does_not_divide_are_refused():
    with pytest.raises(ValueError, match=r"100 × 96.*divisible by 32"):
        MobileImageTower(**SMALL)(torch.zeros(1, 3, 100, 96))


@pytest.mark.parametrize("changes", [{"width": 0}, {"dim": 0}, {"drop": 1.0}])
def test_settings_that_make_no_tower_are_refused(changes):
    with pytest.raises(BadModel, match="above 0"):
        MobileImageTower(**SMALL | changes)


def test_in_use_neighbours_change_nothing():
    tower = awake(MobileImageTower(**SMALL, drop=0.5))
    pixels = torch.randn(4, 3, 64, 64)
    torch.testing.assert_close(tower(pixels).pooled[1:2], tower(pixels[1:2]).pooled, rtol=1e-4, atol=1e-5)


def test_its_spec_makes_it_again():
    tower = MobileImageTower(width=0.5, dim=48, drop=0.1)
    again = build_image_tower(tower.spec)
    assert again.spec == tower.spec
    assert {n: t.shape for n, t in again.state_dict().items()} == {n: t.shape for n, t in tower.state_dict().items()}


def test_running_statistics_travel_with_a_checkpoint(tmp_path):
    made = checkpoint()
    made.model = DualEncoder(
        awake(MobileImageTower(**SMALL)), made.model.text_tower, dim=8, text_head={"type": "linear"}
    )
    made.model.image_tower.train()
    save_checkpoint(made, tmp_path)
    loaded = load_checkpoint(tmp_path).model
    before, after = made.model.image_tower.state_dict(), loaded.image_tower.state_dict()
    moved = [name for name in before if name.endswith("running_mean") and before[name].abs().sum() > 0]
    assert len(moved) > 20
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor)


def test_the_whole_size_fits_one_core():
    tower = MobileImageTower().eval()
    assert sum(parameter.numel() for parameter in tower.parameters()) < 5e6
    products = 0

    def count(module, inputs, output):
        nonlocal products
        products += module.weight.numel() * output[0, 0].numel()

    for module in tower.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    with torch.no_grad():
        tower(torch.zeros(1, 3, 160, 160))
    assert products < 250e6


class Exported(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, pixels):
        return self.model.encode_images(pixels)


def test_it_exports_for_any_number_of_pictures():
    model = DualEncoder(awake(MobileImageTower(**SMALL)), BagOfWordsTower(vocabulary=300, width=8), dim=16).eval()
    batch = {"pixels": {0: torch.export.Dim("n", min=1, max=64)}}
    program = torch.export.export(Exported(model), (torch.zeros(2, 3, 64, 64),), dynamic_shapes=batch)
    pixels = torch.randn(5, 3, 64, 64)
    torch.testing.assert_close(program.module()(pixels), model.encode_images(pixels))


def test_it_exports_to_onnx(tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    model = DualEncoder(awake(MobileImageTower(**SMALL)), BagOfWordsTower(vocabulary=300, width=8), dim=16).eval()
    torch.onnx.export(Exported(model), (torch.zeros(2, 3, 64, 64),), tmp_path / "image.onnx", dynamo=True)
    assert (tmp_path / "image.onnx").stat().st_size > 10_000

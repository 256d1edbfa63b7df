"""The tower of stages: what it reads and gives, that its maps lie where Lite2's do, that it travels and exports."""

import numpy as np
import pytest
import torch
from torch import nn

from clip_italian.errors import BadModel
from clip_italian.models.towers import build_image_tower
from clip_italian.models.towers.lite import LiteTower
from clip_italian.models.towers.staged import STAGE_WIDTHS, StagedImageTower

SMALL = {"repeats": [1] * 7, "expansion": 2, "dim": 32}


def awake(tower, side=64):
    """Give batch norms statistics of their own."""
    torch.manual_seed(3)
    tower.train()
    with torch.no_grad():
        for _ in range(3):
            tower(torch.randn(8, 3, side, side))
    return tower.eval()


def test_tokens_are_the_last_maps_places_and_pooled_their_mean():
    output = awake(StagedImageTower(**SMALL))(torch.randn(2, 3, 160, 96))
    assert output.tokens.shape == (2, 15, 32) and output.grid == (5, 3)
    torch.testing.assert_close(output.pooled, output.tokens.mean(1))


@pytest.mark.parametrize("side", [64, 70])
@torch.no_grad()
def test_every_stage_ends_in_a_map_of_lite2s_shape(side):
    tower, lite = awake(StagedImageTower(**SMALL)), LiteTower().eval()
    hidden, wanted, begin = torch.randn(1, 3, side, side), lite.leading(torch.randn(1, 3, side, side), 0), 0
    for stage, end in zip(tower.stages, (1, 4, 7, 11, 15, 20, 21), strict=True):
        hidden = stage(hidden)
        for block in lite.blocks[begin:end]:
            wanted = block(wanted)
        assert hidden.shape == wanted.shape
        begin = end
    assert STAGE_WIDTHS == (16, 24, 48, 88, 120, 208, 352)


@pytest.mark.parametrize("changes", [{"repeats": [1, 2]}, {"repeats": [0] + [1] * 6}, {"expansion": 0}, {"dim": 0}])
def test_settings_that_make_no_tower_are_refused(changes):
    with pytest.raises(BadModel, match="7 stages of 1 block or more"):
        StagedImageTower(**SMALL | changes)


def test_in_use_neighbours_change_nothing():
    tower, pixels = awake(StagedImageTower(**SMALL)), torch.randn(4, 3, 64, 64)
    torch.testing.assert_close(tower(pixels).pooled[1:2], tower(pixels[1:2]).pooled, rtol=1e-4, atol=1e-5)


def test_its_spec_makes_it_again():
    tower = StagedImageTower(**SMALL)
    again = build_image_tower(tower.spec)
    assert again.spec == tower.spec
    assert {n: t.shape for n, t in again.state_dict().items()} == {n: t.shape for n, t in tower.state_dict().items()}
    assert sum(p.numel() for p in StagedImageTower().parameters()) < 3.2e6


def test_filters_with_a_stride_learn_in_float32_and_give_the_same():
    tower, pixels = StagedImageTower(**SMALL).train(), torch.randn(4, 3, 64, 64)
    whole = tower(pixels).pooled
    with torch.autocast("cpu", torch.bfloat16):
        half = tower(pixels).pooled
    assert half.dtype == torch.bfloat16
    assert (whole - half).norm() < 0.1 * whole.norm()


def test_it_exports_to_onnx(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")

    class Pooled(nn.Module):
        def __init__(self):
            super().__init__()
            self.tower = awake(StagedImageTower(**SMALL))

        def forward(self, pixels):
            return self.tower(pixels).pooled

    module, pixels = Pooled().eval(), torch.randn(2, 3, 64, 64)
    torch.onnx.export(module, (pixels,), tmp_path / "image.onnx", dynamo=True, verbose=False)
    session = onnxruntime.InferenceSession(tmp_path / "image.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: pixels.numpy()})
    np.testing.assert_allclose(found, module(pixels).detach().numpy(), atol=1e-4)

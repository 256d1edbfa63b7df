"""Low-rank changes: where they start, what learns, what they can become."""

import pytest
import torch
from torch import nn

from clip_italian.models.lowrank import LowRankLinear, make_low_rank


def layer():
    torch.manual_seed(2)
    return nn.ModuleDict({"map": nn.Linear(6, 4), "plain": nn.Linear(4, 4, bias=False), "norm": nn.LayerNorm(4)})


def test_starts_at_the_pretrained_map():
    changed, original, x = layer(), layer(), torch.randn(5, 3, 6)
    make_low_rank([changed], 2)
    assert isinstance(changed["map"], LowRankLinear)
    assert changed["plain"].bias is None
    assert type(changed["norm"]) is nn.LayerNorm
    assert torch.equal(changed["map"](x), original["map"](x))


def test_only_the_change_and_the_bias_learn():
    changed = layer()
    make_low_rank([changed], 2)
    linear = changed["map"]
    with torch.no_grad():
        linear.up.normal_()
    linear(torch.randn(5, 6)).square().sum().backward()
    assert linear.weight.grad is None
    for name in ("up", "down", "bias"):
        assert getattr(linear, name).grad.abs().sum() > 0, name


def test_is_the_weight_plus_the_product():
    linear, x = LowRankLinear(6, 4, 2, bias=True), torch.randn(5, 6)
    with torch.no_grad():
        linear.up.normal_()
    expected = x @ linear.weight.T + (x @ linear.down.T) @ linear.up.T + linear.bias
    torch.testing.assert_close(linear(x), expected)
    assert torch.linalg.matrix_rank(linear.up @ linear.down) == 2


@pytest.mark.parametrize("rank", [1, 3])
def test_names_stay_so_that_pretrained_weights_load(rank):
    changed = layer()
    make_low_rank([changed], rank)
    assert set(changed.state_dict()) - set(layer().state_dict()) == {"map.up", "map.down", "plain.up", "plain.down"}
    assert changed["map"].down.shape == (rank, 6)

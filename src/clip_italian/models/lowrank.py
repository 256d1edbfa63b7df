"""Low-rank changes on top of a pretrained linear map: W + up · down, where only up and down learn.

Source: Hu 2021 (LoRA). Public names: LowRankLinear, make_low_rank.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LowRankLinear(nn.Linear):
    """A linear map whose own weight stays; `up` starts at zero, so training begins at the pretrained map."""

    def __init__(self, inputs: int, outputs: int, rank: int, bias: bool) -> None:
        super().__init__(inputs, outputs, bias)
        self.weight.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(rank, inputs) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        """x: (…, inputs)."""
        # One product with the summed weight is cheaper than two thin ones when many rows go through.
        return F.linear(x, self.weight + self.up @ self.down, self.bias)


def make_low_rank(layers: Iterable[nn.Module], rank: int) -> None:
    """Turn every nn.Linear directly inside `layers` into a LowRankLinear of the same weights, in place."""
    for layer in layers:
        for name, linear in list(layer.named_children()):
            if type(linear) is nn.Linear:
                low = LowRankLinear(linear.in_features, linear.out_features, rank, linear.bias is not None)
                low.load_state_dict(linear.state_dict(), strict=False)
                setattr(layer, name, low)

"""A small convolutional image tower for phones and single cores, trained from random weights.

Two fused stages on the large maps, where a plain 3 × 3 convolution is faster than a depthwise one, then inverted
residuals (Sandler 2018, MobileNetV2; fused: Tan 2021, EfficientNetV2). Batch norms fold into the convolutions at
export, so that a picture costs convolutions and cheap activations only.

Public names: MobileImageTower, Depthwise.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import BadModel
from .base import ImageTower, TowerOutput

STRIDE = 32
# (fused, expansion, kernel, stride, width, repeats) of each stage, at width 1.
STAGES = (
    (True, 4, 3, 2, 24, 1),
    (True, 3, 3, 1, 32, 1),
    (False, 4, 5, 2, 64, 3),
    (False, 4, 3, 2, 128, 5),
    (False, 6, 5, 2, 208, 5),
)
STEM_WIDTH = 16


class MobileImageTower(ImageTower):
    """Reads (n, 3, h, w) with sides divisible by 32; tokens are the last map's places, pooled is their mean.

    At 160 px, 5 × 5 places. width: factor of all channels but the last, rounded to multiples of 8. dim: channels of the
    last map. drop: how often, in training, a picture skips the last block; before it the less the earlier (Huang 2016).
    With the defaults: 3.4 M parameters and 228 M multiply-adds at 160 px.
    """

    kind = "mobile-image"
    step = STRIDE

    def __init__(self, *, width: float = 1.0, dim: int = 640, drop: float = 0.0) -> None:
        super().__init__()
        if width <= 0 or dim <= 0 or not 0 <= drop < 1:
            raise BadModel(f"width and dim are above 0, drop from 0 to below 1, not {width}, {dim} and {drop}")
        self.spec = {"type": self.kind, "width": width, "dim": dim, "drop": drop}
        self.dim = dim
        inner = _rounded(STEM_WIDTH * width)
        self.first = _convolution(3, inner, kernel=3, stride=2)
        blocks: list[_Block] = []
        for fused, expansion, kernel, stride, channels, repeats in STAGES:
            out = _rounded(channels * width)
            for repeat in range(repeats):
                blocks.append(_Block(inner, out, fused, expansion, kernel, stride if repeat == 0 else 1))
                inner = out
        for number, block in enumerate(blocks):
            block.drop = drop * number / (len(blocks) - 1)
        self.blocks = nn.ModuleList(blocks)
        self.last = _convolution(inner, dim)
        _start(self)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def body(self, hidden: Tensor) -> TowerOutput:
        """Run the tower; hidden: (n, 3, h, w). Raises ValueError when a side is not divisible by 32."""
        height, width = hidden.shape[-2:]
        if height % STRIDE or width % STRIDE:
            raise ValueError(f"pictures of {height} × {width}: both sides must be divisible by {STRIDE}")
        hidden = self.first(hidden.contiguous(memory_format=torch.channels_last))
        for block in self.blocks:
            hidden = block(hidden)
        hidden = self.last(hidden)
        tokens = hidden.flatten(2).transpose(1, 2)
        return TowerOutput(tokens, tokens.mean(1), grid=(hidden.shape[2], hidden.shape[3]))


class Depthwise(nn.Conv2d):
    """A convolution of each channel by itself.

    planes: whether it is computed channel after channel instead of channels last; the same numbers, but which is faster
    to learn depends on the GPU and its library.
    """

    planes = False

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: (n, channels, h, w)."""
        if not self.planes:
            return super().forward(hidden)
        # The detour gives the weights plain strides: with one channel a filter, theirs may be taken for the other way.
        weight = self.weight.flatten(1).view(self.weight.shape)
        found = F.conv2d(hidden.contiguous(), weight, None, self.stride, self.padding, 1, self.groups)
        return found.contiguous(memory_format=torch.channels_last)


class _Block(nn.Module):
    """Widen, filter, narrow; fused: widen and filter are one plain convolution. Added back where shapes allow it."""

    drop = 0.0

    def __init__(self, inputs: int, out: int, fused: bool, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = inputs * expansion
        if fused:
            wide: list[nn.Module] = [_convolution(inputs, inner, kernel=kernel, stride=stride)]
        else:
            wide = [_convolution(inputs, inner), _convolution(inner, inner, kernel=kernel, stride=stride, groups=inner)]
        self.layers = nn.Sequential(*wide, _convolution(inner, out, active=False))
        self.residual = stride == 1 and inputs == out

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: (n, inputs, h, w)."""
        found = self.layers(hidden)
        if not self.residual:
            return found
        if self.training and self.drop:
            stays = torch.rand(len(found), 1, 1, 1, device=found.device) >= self.drop
            found = found * (stays / (1 - self.drop)).to(found.dtype)
        return hidden + found


def _convolution(
    inputs: int, out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Sequential:
    """A convolution, its batch norm and, where active, a ReLU."""
    kind = Depthwise if groups == inputs == out else nn.Conv2d
    convolution = kind(inputs, out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    layers: list[nn.Module] = [convolution, nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if active else []))


def _start(tower: MobileImageTower) -> None:
    """Draw the first weights (He 2015, by fan-out); what is added back starts small, so that depth does no harm."""
    for module in tower.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(
                module.weight, std=(2 * module.groups / (module.kernel_size[0] ** 2 * module.out_channels)) ** 0.5
            )
    for block in tower.blocks:
        assert isinstance(block, _Block)
        if block.residual:
            nn.init.constant_(block.layers[-1][1].weight, 0.2)  # type: ignore[index]


def _rounded(channels: float) -> int:
    """Round to the multiple of 8 that processors like, never 0."""
    return max(8, round(channels / 8) * 8)

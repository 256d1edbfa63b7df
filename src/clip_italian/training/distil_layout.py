"""Which way a GPU learns depthwise convolutions faster: tried for a few seconds at the start of a run.

Public name: choose_layout.
"""

import time
from collections.abc import Callable

import torch
from torch import nn

from ..models.towers.mobile import Depthwise

ROUNDS = 4


def choose_layout(tower: nn.Module, pixels: torch.Tensor, *, bfloat16: bool, note: Callable[[str], None]) -> None:
    """Set `planes` of a tower's depthwise convolutions to what is faster for a batch like (n, 3, h, w) `pixels`.

    The tower's running statistics and gradients are left as they were.
    """
    filters = [module for module in tower.modules() if isinstance(module, Depthwise)]
    if not filters:
        return
    buffers = {name: value.clone() for name, value in tower.named_buffers()}
    rates = {}
    for planes in (False, True):
        for module in filters:
            module.planes = planes
        rates[planes] = _rate(tower, pixels, bfloat16)
    best = max(rates, key=lambda planes: rates[planes])
    for module in filters:
        module.planes = best
    for name, value in tower.named_buffers():
        value.copy_(buffers[name])
    tower.zero_grad(set_to_none=True)
    note(
        f"image tower alone: {rates[False]:.0f} pictures/s channels last, {rates[True]:.0f} in planes; "
        f"{'planes' if best else 'channels last'} it is"
    )


def _rate(tower: nn.Module, pixels: torch.Tensor, bfloat16: bool) -> float:
    """Return pictures a second, forth and back, after one round to warm up."""
    begun = 0.0
    for number in range(1 + ROUNDS):
        if number == 1:
            begun = _now(pixels.device)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bfloat16):
            found = tower(pixels).pooled
        found.float().pow(2).mean().backward()
        tower.zero_grad(set_to_none=True)
    return ROUNDS * len(pixels) / (_now(pixels.device) - begun)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.monotonic()

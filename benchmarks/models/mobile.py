"""How fast the small student's image tower is on one core, and how large: parameters, multiply-adds, ms a picture.

Run: OMP_NUM_THREADS=1 python benchmarks/models/mobile.py [width] [size]
"""

import sys
import time

import torch
from torch import nn

from clip_italian.models.towers.lite import LiteTower, Pointwise
from clip_italian.models.towers.mobile import MobileImageTower

ROUNDS = 30


def multiply_adds(tower: nn.Module, size: int) -> int:
    """Count the products of all convolutions and linear layers for one picture of size × size."""
    total = 0

    def count(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        nonlocal total
        places = output[0, 0].numel() if output.ndim == 4 else 1
        total += module.weight.numel() * places

    hooks = [m.register_forward_hook(count) for m in tower.modules() if isinstance(m, nn.Conv2d | Pointwise)]
    with torch.inference_mode():
        tower(torch.zeros(1, 3, size, size))
    for hook in hooks:
        hook.remove()
    return total


def folded(tower: MobileImageTower) -> MobileImageTower:
    """Fold every batch norm into its convolution, as an export does."""
    for parent in list(tower.modules()):
        if isinstance(parent, nn.Sequential) and len(parent) > 1 and isinstance(parent[1], nn.BatchNorm2d):
            parent[0] = nn.utils.fuse_conv_bn_eval(parent[0], parent[1])
            parent[1] = nn.Identity()
    return tower


def milliseconds(tower: nn.Module, size: int) -> float:
    """Return the median time of one picture."""
    pixels, times = torch.randn(1, 3, size, size), []
    with torch.inference_mode():
        for _ in range(ROUNDS):
            begun = time.perf_counter()
            tower(pixels)
            times.append(time.perf_counter() - begun)
    return sorted(times)[ROUNDS // 2] * 1000


def main() -> None:
    """Print a line for the student and one for the teacher's tower, measured in the same process."""
    torch.set_num_threads(1)
    width = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    size = int(sys.argv[2]) if len(sys.argv) > 2 else 160
    student, teacher = MobileImageTower(width=width).eval(), LiteTower().eval()
    numbers = [sum(parameter.numel() for parameter in tower.parameters()) for tower in (student, teacher)]
    products = [multiply_adds(student, size), multiply_adds(teacher, 224)]
    times = [milliseconds(folded(student), size), milliseconds(teacher, 224)]
    for name, *figures in zip(
        (f"mobile-image, {size} px", "efficientnet-lite2, 224 px"), numbers, products, times, strict=True
    ):
        print(
            f"{name}: {figures[0]:,} parameters, {figures[1]:,} multiply-adds, {figures[2]:.1f} ms a picture, one core"
        )
    print(f"ratio of times: {times[1] / times[0]:.1f}")


if __name__ == "__main__":
    main()

"""What every tower gives, whoever made it.

Public names: TowerOutput, ImageTower, TextTower.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass
class TowerOutput:
    """A tower's reading of a batch.

    tokens: (n, t, dim), the map's places in row order or the text's pieces. pooled: (n, dim). mask: (n, t) bool, True where a
    token counts; None when all do. grid: (height, width) of an image tower's places, None when they form no grid.
    """

    tokens: Tensor
    pooled: Tensor
    mask: Tensor | None = None
    grid: tuple[int, int] | None = None


class ImageTower(nn.Module):
    """Reads (n, 3, h, w) normalised pixels.

    `stem` is the part that training may leave untouched and whose output may be computed once and kept; `body` is the rest.
    A tower that cannot be cut has the identity as its stem. spec: JSON values from which `towers.build` makes the same
    architecture again.
    """

    dim: int
    spec: dict[str, Any]

    def stem(self, pixels: Tensor) -> Tensor:
        """Run the part before the cut; returns what `body` reads."""
        return pixels

    def body(self, hidden: Tensor) -> TowerOutput:
        """Run the part after the cut."""
        raise NotImplementedError

    def forward(self, pixels: Tensor) -> TowerOutput:
        """Run the whole tower."""
        return self.body(self.stem(pixels))


class TextTower(nn.Module):
    """Reads (n, t) int64 piece ids and their (n, t) bool mask."""

    dim: int
    spec: dict[str, Any]

    def forward(self, ids: Tensor, mask: Tensor) -> TowerOutput:
        """Run the whole tower."""
        raise NotImplementedError


def mean_over(tokens: Tensor, mask: Tensor) -> Tensor:
    """Average (n, t, dim) over the True places of (n, t); rows without any give zeros."""
    weight = mask.to(tokens.dtype).unsqueeze(-1)
    return (tokens * weight).sum(1) / weight.sum(1).clamp_min(1)

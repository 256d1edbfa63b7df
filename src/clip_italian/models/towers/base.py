"""What every tower gives, whoever made it.

Public names: TowerOutput, ImageTower, TextTower, FrozenImage, FrozenText, mean_over.

A tower is cut in two: `stem` is what training leaves untouched, so that its output may be computed once and kept;
`body` is the rest. A tower that is not cut has the identity as its stem.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass
class TowerOutput:
    """A tower's reading of a batch.

    tokens: (n, t, dim), the map's places in row order or the text's pieces. pooled: (n, dim). mask: (n, t) bool, True
    where a token counts; None when all do. grid: (height, width) of an image tower's places, None when they form none.
    """

    tokens: Tensor
    pooled: Tensor
    mask: Tensor | None = None
    grid: tuple[int, int] | None = None


class ImageTower(nn.Module):
    """Reads (n, 3, h, w) normalised pixels.

    spec: JSON values from which `towers.build_image_tower` makes the same architecture again. has_stem: whether `stem`
    does anything. fixed: names of the tensors that come with the pretrained source and never learn; checkpoints leave
    them out. step: any h and w that are multiples of it can be read; None when only those of the model's own size can.
    """

    dim: int
    spec: dict[str, Any]
    step: int | None = None
    has_stem: bool = False
    fixed: frozenset[str] = frozenset()

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
    """Reads (n, t) int64 piece ids and their (n, t) bool mask.

    max_length: the largest t, None when there is no bound or it is not known; other attributes as for ImageTower.
    """

    dim: int
    spec: dict[str, Any]
    max_length: int | None = None
    has_stem: bool = False
    fixed: frozenset[str] = frozenset()

    def stem(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Run the part before the cut; returns what `body` reads and its mask."""
        return ids, mask

    def body(self, hidden: Tensor, mask: Tensor) -> TowerOutput:
        """Run the part after the cut."""
        raise NotImplementedError

    def forward(self, ids: Tensor, mask: Tensor) -> TowerOutput:
        """Run the whole tower."""
        return self.body(*self.stem(ids, mask))


class FrozenImage(ImageTower):
    """A whole image tower taken as the stem: what a head reads is computed once, and only heads learn.

    keep_tokens: whether the tokens are kept beside the pooled vector (heads that pool by attention read them).
    """

    has_stem = True

    def __init__(self, tower: ImageTower, keep_tokens: bool) -> None:
        super().__init__()
        self.tower, self.keep_tokens, self.dim, self.spec = tower, keep_tokens, tower.dim, tower.spec

    def stem(self, pixels: Tensor) -> Tensor:
        """Return (n, 1 + t, dim): the pooled vector, then the tokens if kept."""
        return _packed(self.tower(pixels), self.keep_tokens)

    def body(self, hidden: Tensor) -> TowerOutput:
        """Take the packed vectors apart again."""
        return TowerOutput(hidden[:, 1:], hidden[:, 0])


class FrozenText(TextTower):
    """A whole text tower taken as the stem; see FrozenImage."""

    has_stem = True

    def __init__(self, tower: TextTower, keep_tokens: bool) -> None:
        super().__init__()
        self.tower, self.keep_tokens, self.dim, self.spec = tower, keep_tokens, tower.dim, tower.spec

    def stem(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return (n, 1 + t, dim) and its mask: the pooled vector, then the tokens if kept."""
        packed = _packed(self.tower(ids, mask), self.keep_tokens)
        first = mask.new_ones(len(mask), 1)
        return packed, torch.cat([first, mask], 1) if self.keep_tokens else first

    def body(self, hidden: Tensor, mask: Tensor) -> TowerOutput:
        """Take the packed vectors apart again."""
        return TowerOutput(hidden[:, 1:], hidden[:, 0], mask[:, 1:])


def mean_over(tokens: Tensor, mask: Tensor) -> Tensor:
    """Average (n, t, dim) over the True places of (n, t); rows without any give zeros."""
    weight = mask.to(tokens.dtype).unsqueeze(-1)
    return (tokens * weight).sum(1) / weight.sum(1).clamp_min(1)


def _packed(output: TowerOutput, keep_tokens: bool) -> Tensor:
    pooled = output.pooled[:, None]
    return torch.cat([pooled, output.tokens], 1) if keep_tokens else pooled

"""Layers that towers and heads share.

Public names: AttentionBlock, mlp, split_heads, visible, waves.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class AttentionBlock(nn.Module):
    """Self-attention and a two-layer network, each on a normalised copy that is added back."""

    def __init__(self, width: int, heads: int, expansion: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.norm1 = nn.LayerNorm(width)
        self.read = nn.Linear(width, 3 * width)
        self.write = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = mlp(width, expansion, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(self, hidden: Tensor, mask: Tensor | None = None) -> Tensor:
        """hidden: (n, t, width); mask: (n, t) bool, True where a token may be looked at."""
        query, key, value = (split_heads(part, self.heads) for part in self.read(self.norm1(hidden)).chunk(3, dim=-1))
        rate = self.rate if self.training else 0.0
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=visible(mask), dropout_p=rate)
        hidden = hidden + self.dropout(self.write(found.transpose(1, 2).flatten(2)))
        return hidden + self.mlp(self.norm2(hidden))


def mlp(width: int, expansion: int, dropout: float) -> nn.Sequential:
    """Make the two-layer network of a transformer block."""
    return nn.Sequential(
        nn.Linear(width, expansion * width), nn.GELU(), nn.Linear(expansion * width, width), nn.Dropout(dropout)
    )


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    """Turn (n, t, width) into (n, heads, t, width / heads)."""
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)


def visible(mask: Tensor | None) -> Tensor | None:
    """Return the mask as (n, 1, 1, t); a row without any token sees its first, as a softmax over nothing is NaN."""
    if mask is None:
        return None
    first = torch.arange(mask.shape[1], device=mask.device) == 0
    return (mask | (first & ~mask.any(1, keepdim=True)))[:, None, None, :]


def waves(grid: tuple[int, int], count: int, like: Tensor) -> Tensor:
    """Return (h · w, 4 · count): sines and cosines of a place's row and column.

    The slowest wave makes half a turn from one side of the picture to the other, each next one twice as many.
    """
    axes = [(torch.arange(n, device=like.device) + 0.5) * 2 / n - 1 for n in grid]
    rows, columns = torch.meshgrid(*axes, indexing="ij")
    turns = torch.pi / 2 * 2.0 ** torch.arange(count, device=like.device)
    angles = torch.stack([rows, columns], -1).reshape(-1, 2, 1) * turns
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(1).to(like.dtype)

"""From a tower's reading to one vector of the common space.

Public names: LinearHead, MLPHead, AttentionHead, build_head, HEADS.
"""

from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadModel
from .towers.base import TowerOutput


class LinearHead(nn.Module):
    """The paper's head: a bias-free projection of the pooled vector, drawn from N(0, 0.02)."""

    needs_tokens = False

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(inputs, dim, bias=False)
        nn.init.normal_(self.projection.weight, std=0.02)

    def forward(self, output: TowerOutput) -> Tensor:
        """Return (n, dim), not normalised."""
        return self.projection(output.pooled)


class MLPHead(nn.Module):
    """Two layers on the pooled vector."""

    needs_tokens = False

    def __init__(self, inputs: int, dim: int, hidden: int = 512, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(inputs), nn.Linear(inputs, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )

    def forward(self, output: TowerOutput) -> Tensor:
        """Return (n, dim), not normalised."""
        return self.layers(output.pooled)


class AttentionHead(nn.Module):
    """Attention over the tokens, each of `heads` with a learned question of its own, plus two layers on the pooled vector."""

    needs_tokens = True

    def __init__(self, inputs: int, dim: int, hidden: int = 512, heads: int = 8, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % heads:
            raise BadModel(f"an attention head of {dim} dimensions cannot be split over {heads} heads")
        self.heads = heads
        self.norm = nn.LayerNorm(inputs)
        self.question = nn.Linear(inputs, heads)
        self.value = nn.Linear(inputs, dim)
        self.dropout = nn.Dropout1d(dropout)
        self.pooled = MLPHead(inputs, dim, hidden, dropout)

    def forward(self, output: TowerOutput) -> Tensor:
        """Return (n, dim), not normalised."""
        # Whole channels are dropped, the same at every place: single values could be read off a neighbour.
        tokens = self.dropout(self.norm(output.tokens).transpose(1, 2)).transpose(1, 2)
        score = self.question(tokens)
        if output.mask is not None:
            score = score.masked_fill(~output.mask[..., None], float("-inf"))
        weight = torch.softmax(score.float(), 1).to(tokens.dtype)
        value = self.value(tokens).unflatten(-1, (self.heads, -1))
        return torch.einsum("nth,nthd->nhd", weight, value.to(weight.dtype)).flatten(1) + self.pooled(output)


HEADS: dict[str, type[nn.Module]] = {"linear": LinearHead, "mlp": MLPHead, "attention": AttentionHead}


def build_head(spec: dict[str, Any], inputs: int, dim: int) -> nn.Module:
    """Build the head that `spec` describes: {"type": "linear" | "mlp" | "attention", …}. Raises BadModel."""
    settings = dict(spec)
    kind = settings.pop("type")
    if kind not in HEADS:
        raise BadModel(f"there is no head of type {kind!r}; the types are {', '.join(HEADS)}")
    return HEADS[kind](inputs, dim, **settings)

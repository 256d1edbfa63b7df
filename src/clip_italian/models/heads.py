"""From a tower's reading to one vector of the common space.

A head's `dense` gives a vector for every token instead, which says what is at that place of a picture. `local`: what it
says of a place does not depend on the other places, costs next to nothing, and holds for maps of other sides.

Public names: LinearHead, MLPHead, AttentionHead, PlacesHead, build_head, HEADS.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadModel
from .layers import AttentionBlock, waves
from .towers.base import TowerOutput


class LinearHead(nn.Module):
    """The paper's head: a bias-free projection of the pooled vector, drawn from N(0, 0.02)."""

    needs_tokens, local = False, True

    def __init__(self, inputs: int, dim: int) -> None:
        super().__init__()
        self.projection = nn.Linear(inputs, dim, bias=False)
        nn.init.normal_(self.projection.weight, std=0.02)

    def forward(self, output: TowerOutput) -> Tensor:
        """Return (n, dim), not normalised."""
        return self.projection(output.pooled)

    def dense(self, output: TowerOutput) -> Tensor:
        """Return (n, t, dim): where pooled is the tokens' mean, of these the picture's vector is the mean."""
        return self.projection(output.tokens)


class MLPHead(nn.Module):
    """Two layers on the pooled vector."""

    needs_tokens, local = False, True

    def __init__(self, inputs: int, dim: int, hidden: int = 512, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.LayerNorm(inputs), nn.Linear(inputs, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim)
        )

    def forward(self, output: TowerOutput) -> Tensor:
        """Return (n, dim), not normalised."""
        return self.layers(output.pooled)

    def dense(self, output: TowerOutput) -> Tensor:
        """Return (n, t, dim): each token taken for the pooled vector."""
        return self.layers(output.tokens)


class AttentionHead(nn.Module):
    """Attention over the tokens, each head with a learned question of its own, plus two layers on the pooled vector."""

    needs_tokens, local = True, True

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

    def dense(self, output: TowerOutput) -> Tensor:
        """Return (n, t, dim): each token's value, that of which the head takes its means. Source: Zhou 2022, MaskCLIP.

        The whole head on each token alone points no better, and costs its two layers at every place.
        """
        return self.value(self.norm(output.tokens))


class PlacesHead(nn.Module):
    """Self-attention between an image tower's places, which know where they are, then their mean and their moments.

    The mean grows with how much of the picture something fills, and so can count; a moment is the mean weighted by a
    low wave over the picture, and tells where something is. Takes maps of any sides where the tower tells them, else
    square ones.
    """

    needs_tokens, local = True, False
    _PLACE_WAVES, _MOMENT_WAVES = 4, 2

    def __init__(
        self, inputs: int, dim: int, hidden: int = 128, heads: int = 4, blocks: int = 1, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.narrow = nn.Sequential(nn.LayerNorm(inputs), nn.Linear(inputs, hidden))
        self.places = nn.Linear(4 * self._PLACE_WAVES, hidden)
        self.blocks = nn.ModuleList(AttentionBlock(hidden, heads, 4, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(hidden)
        self.mean = nn.Linear(hidden, dim)
        self.moments = nn.Linear(4 * self._MOMENT_WAVES * hidden, dim)

    def forward(self, output: TowerOutput) -> Tensor:
        """Return (n, dim), not normalised. Raises ValueError when places without a grid form no square."""
        grid = output.grid or _square(output.tokens.shape[1])
        places = self.narrow(output.tokens)
        places = places + self.places(waves(grid, self._PLACE_WAVES, places))
        for block in self.blocks:
            places = block(places)
        places = self.norm(places)
        moments = waves(grid, self._MOMENT_WAVES, places).T @ places / places.shape[1]
        return self.mean(places.mean(1)) + self.moments(moments.flatten(1))

    def dense(self, output: TowerOutput) -> Tensor:
        """Return (n, t, dim): the head run once a place, all other places of the map being their mean."""
        tokens = output.tokens
        own = torch.eye(tokens.shape[1], dtype=torch.bool, device=tokens.device)[..., None]
        maps = torch.where(own, tokens[:, None], tokens.mean(1)[:, None, None]).flatten(0, 1)
        return self(TowerOutput(maps, maps.mean(1), grid=output.grid)).unflatten(0, tokens.shape[:2])


class Centred(nn.Module):
    """A head whose outputs are brought to mean 0 and variance 1, dimension by dimension, by the batch's own statistics.

    From random initialisation vectors may all point almost the same way, so that cosines hardly differ; centred ones
    differ from the first step. Outside training the running statistics are used.
    """

    def __init__(self, head: nn.Module, dim: int) -> None:
        super().__init__()
        self.head = head
        self.needs_tokens, self.local = head.needs_tokens, head.local
        self.norm = nn.BatchNorm1d(dim, affine=False)

    def forward(self, output: TowerOutput) -> Tensor:
        """Return (n, dim), not normalised to length 1."""
        return self.norm(self.head(output).float())

    def dense(self, output: TowerOutput) -> Tensor:
        """Return (n, t, dim), brought to the same mean and variance as the whole picture's vector."""
        found = self.head.dense(output)  # type: ignore[operator]
        return self.norm(found.flatten(0, 1).float()).unflatten(0, found.shape[:2])


HEADS: dict[str, type[nn.Module]] = {
    "linear": LinearHead,
    "mlp": MLPHead,
    "attention": AttentionHead,
    "places": PlacesHead,
}


def build_head(spec: dict[str, Any], inputs: int, dim: int) -> nn.Module:
    """Build the head that `spec` describes, {"type": one of HEADS, "centred": …, …}. Raises BadModel."""
    settings = dict(spec)
    kind = settings.pop("type", None)
    centred = settings.pop("centred", False)
    if kind not in HEADS:
        raise BadModel(f"there is no head of type {kind!r}; the types are {', '.join(HEADS)}")
    try:
        head = HEADS[kind](inputs, dim, **settings)
    except (TypeError, ValueError) as error:
        raise BadModel(f"head {kind!r}: {error}; see its settings in docs/training.md") from error
    return Centred(head, dim) if centred else head


def _square(places: int) -> tuple[int, int]:
    side = math.isqrt(places)
    if side * side != places:
        raise ValueError(f"{places} places form no square map")
    return side, side

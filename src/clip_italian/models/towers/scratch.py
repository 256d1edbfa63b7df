"""Small towers that start from random weights, for those who have nothing: two cores and minutes are enough.

Public names: ScratchTextTower, GatedTextTower, BagOfWordsTower, ScratchImageTower.

A `spec` holds the "type" by which `towers` knows the class, and the settings of its constructor.
"""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import BadModel
from ..layers import AttentionBlock, mlp, split_heads, visible, waves
from .base import ImageTower, TextTower, TowerOutput, mean_over

Pooling = Literal["mean", "attention"]

_PLACE_WAVES = 4
_MOMENT_WAVES = 2


class ScratchTextTower(TextTower):
    """A small pre-norm transformer (Vaswani 2017; norm first as in Xiong 2020) with learned places.

    vocabulary: number of pieces. Reads at most max_length pieces. pooling: "mean" averages the pieces that count,
    "attention" lets a learned query choose among them. With the defaults, 8,000 pieces and 64 places: 5.4 M parameters.
    """

    kind = "scratch-text"

    def __init__(
        self,
        *,
        vocabulary: int,
        max_length: int = 64,
        width: int = 256,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
        pooling: Pooling = "attention",
    ) -> None:
        super().__init__()
        self.spec = {"type": self.kind} | {
            "vocabulary": vocabulary,
            "max_length": max_length,
            "width": width,
            "depth": depth,
            "heads": heads,
            "dropout": dropout,
            "pooling": pooling,
        }
        self.dim, self.max_length = width, max_length
        self.embedding = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(max_length, width)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(AttentionBlock(width, heads, 4, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)
        self.pool = _AttentionPool(width, heads) if pooling == "attention" else None
        _start(self, depth)

    def body(self, hidden: Tensor, mask: Tensor) -> TowerOutput:
        """Run the tower; hidden: (n, t ≤ max_length) int64 ids. Raises ValueError when t is longer."""
        length, most = hidden.shape[1], self.places.num_embeddings
        if length > most:
            raise ValueError(f"a text of {length} pieces, but this tower reads {most}; cut it first")
        tokens = self.dropout(self.embedding(hidden) + self.places.weight[:length])
        for block in self.blocks:
            tokens = block(tokens, mask)
        tokens = self.norm(tokens)
        pooled = mean_over(tokens, mask) if self.pool is None else self.pool(tokens, mask)
        return TowerOutput(tokens, pooled, mask)


class GatedTextTower(TextTower):
    """Gated convolutions over the pieces (Dauphin 2017), each on a normalised copy that is added back, and their mean.

    What a word is to its neighbours is there to be learned from the first step: from a few thousand captions this tower
    learns who is left of whom, where self-attention of the same size stays at chance (docs/experiments.md).
    vocabulary: number of pieces. kernel: pieces that a convolution sees at once, odd.
    """

    kind = "gated-text"

    def __init__(
        self, *, vocabulary: int, width: int = 96, depth: int = 2, kernel: int = 5, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise BadModel(f"a gated-text tower's kernel is an odd number of pieces, not {kernel}")
        settings = {"vocabulary": vocabulary, "width": width, "depth": depth, "kernel": kernel, "dropout": dropout}
        self.spec = {"type": self.kind, **settings}
        self.dim = width
        self.embedding = nn.Embedding(vocabulary, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.gates = nn.ModuleList(nn.Conv1d(width, 2 * width, kernel, padding=kernel // 2) for _ in range(depth))
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def body(self, hidden: Tensor, mask: Tensor) -> TowerOutput:
        """Run the tower; hidden: (n, t) int64 ids, any t."""
        tokens = self.embedding(hidden)
        for norm, gate in zip(self.norms, self.gates, strict=True):
            seen = norm(tokens) * mask[..., None]  # beyond a text's end there is nothing, however long the batch
            tokens = tokens + self.dropout(F.glu(gate(seen.transpose(1, 2)), dim=1).transpose(1, 2))
        tokens = self.norm(tokens)
        return TowerOutput(tokens, mean_over(tokens, mask), mask)


class BagOfWordsTower(TextTower):
    """The mean of the pieces' vectors and a small network behind it: what a caption says without its word order.

    The baseline that shows what order is worth: two captions of the same words are one to it.
    """

    kind = "bag-of-words"

    def __init__(self, *, vocabulary: int, width: int = 256, dropout: float = 0.0) -> None:
        super().__init__()
        self.spec = {"type": self.kind, "vocabulary": vocabulary, "width": width, "dropout": dropout}
        self.dim = width
        self.embedding = nn.Embedding(vocabulary, width)
        self.norm = nn.LayerNorm(width)
        self.mlp = mlp(width, 4, dropout)
        _start(self, depth=1)

    def body(self, hidden: Tensor, mask: Tensor) -> TowerOutput:
        """Run the tower; hidden: (n, t) int64 ids, any t."""
        tokens = self.embedding(hidden)
        # Word vectors start at 0.02, so that their mean would be all but lost beside the network without the norm.
        mean = self.norm(mean_over(tokens, mask))
        return TowerOutput(tokens, mean + self.mlp(mean), mask)


class ScratchImageTower(ImageTower):
    """A small convolutional network, then self-attention over its map, an eighth of the picture's side.

    Reads (n, 3, h, w) with sides divisible by 8; 96 px gives 12 × 12 places. early_blocks work on a map of quarters,
    late_blocks on the map of eighths, attention_blocks between its places. The pooled vector is made of the places'
    mean, which grows with how much of the picture something fills and so can count, and of their moments, means
    weighted by low waves over the picture: to a linear layer these say where something is. (Pooled by learned queries
    instead, the tower needed seven times the steps before it told left from right.) Group norm keeps a picture's
    vector independent of its batch. With the defaults: 0.6 M parameters.
    """

    kind = "scratch-image"
    step = 8

    def __init__(
        self,
        *,
        width: int = 128,
        dim: int = 256,
        early_blocks: int = 1,
        late_blocks: int = 2,
        attention_blocks: int = 1,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.spec = {"type": self.kind} | {
            "width": width,
            "dim": dim,
            "early_blocks": early_blocks,
            "late_blocks": late_blocks,
            "attention_blocks": attention_blocks,
            "heads": heads,
            "dropout": dropout,
        }
        self.dim = dim
        narrow = width // 2
        self.convolutions = nn.Sequential(
            _convolution(3, narrow, kernel=7, stride=4),
            *(_Residual(narrow) for _ in range(early_blocks)),
            nn.ReLU(),
            _convolution(narrow, width, stride=2),
            *(_Residual(width) for _ in range(late_blocks)),
        )
        self.places = nn.Linear(4 * _PLACE_WAVES, width)
        self.blocks = nn.ModuleList(AttentionBlock(width, heads, 2, dropout) for _ in range(attention_blocks))
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, dim)
        self.join = nn.Linear(4 * _MOMENT_WAVES * width, dim)
        _start(self, attention_blocks)
        # Places as large as what is found at them: the waves of a place have a squared length of half their number.
        nn.init.normal_(self.places.weight, std=(2 * _PLACE_WAVES) ** -0.5)
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def body(self, hidden: Tensor) -> TowerOutput:
        """Run the tower; hidden: (n, 3, h, w). Raises ValueError when a side is not divisible by 8."""
        height, width = hidden.shape[-2:]
        if height % 8 or width % 8:
            raise ValueError(f"pictures of {height} × {width}: both sides must be divisible by 8")
        map_ = self.convolutions(hidden.contiguous(memory_format=torch.channels_last))
        grid = (map_.shape[2], map_.shape[3])
        places = map_.flatten(2).transpose(1, 2) + self.places(waves(grid, _PLACE_WAVES, map_))
        for block in self.blocks:
            places = block(places)
        places = self.norm(places)
        # The mean is taken before widening: it is the same, and spares the way back through every place.
        moments = waves(grid, _MOMENT_WAVES, map_).T @ places / places.shape[1]
        pooled = self.widen(places.mean(1)) + self.join(moments.flatten(1))
        return TowerOutput(self.widen(places), pooled, grid=grid)


class _AttentionPool(nn.Module):
    """A learned query that reads a weighted mean of (n, t, width) tokens; returns (n, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Parameter(torch.empty(1, 1, width))
        nn.init.trunc_normal_(self.query)
        self.read = nn.Linear(width, 2 * width)
        self.write = nn.Linear(width, width)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        key, value = (split_heads(part, self.heads) for part in self.read(tokens).chunk(2, dim=-1))
        query = split_heads(self.query.to(key.dtype).expand(tokens.shape[0], -1, -1), self.heads)
        found = F.scaled_dot_product_attention(query, key, value, attn_mask=visible(mask))
        return self.write(found.transpose(1, 2).flatten(1))


class _Residual(nn.Module):
    """A bottleneck of half the channels around one 3 × 3 convolution, added back; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.inner = nn.Sequential(
            nn.ReLU(),
            _convolution(channels, half, kernel=1),
            nn.ReLU(),
            _convolution(half, half),
            nn.ReLU(),
            nn.Conv2d(half, channels, 1, bias=False),
        )
        self.norm = nn.GroupNorm(8, channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, hidden: Tensor) -> Tensor:
        return hidden + self.norm(self.inner(hidden))


def _convolution(channels: int, out: int, *, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels, out, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(8, out))


def _start(tower: nn.Module, depth: int) -> None:
    """Draw the first weights as GPT-2 does (Radford 2019): N(0, 0.02), what is added back smaller by √(2 · depth)."""
    for module in tower.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.trunc_normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    for name, weight in tower.named_parameters():
        if name.endswith(("write.weight", "mlp.2.weight")):
            nn.init.trunc_normal_(weight, std=0.02 / (2 * depth) ** 0.5)

"""multilingual-e5-small with its vocabulary trimmed to the pieces that Italian and English need.

96 of the model's 118 million weights are its vocabulary; the pieces listed in `pieces.txt.gz` leave about 30 million.
A text's vector is the mean over its pieces. Source: Wang et al. 2024, Multilingual E5 Text Embeddings.

Public names: E5Tower, and from e5_source.py, which needs no torch, tokenizer, all_pieces, kept_pieces, pieces_hash,
SPECIALS.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import BadModel
from ..lowrank import LowRankLinear, make_low_rank
from .base import TextTower, TowerOutput, mean_over
from .e5_source import (
    INNER,
    LAYERS,
    POSITIONS,
    SPECIALS,
    WIDTH,
    all_pieces,
    kept_pieces,
    pieces_hash,
    pretrained,
    tokenizer,
)

__all__ = ["SPECIALS", "E5Tower", "all_pieces", "kept_pieces", "pieces_hash", "tokenizer"]

HEADS, EPSILON = 12, 1e-12


class Layer(nn.Module):
    """A post-norm transformer layer over packed pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.attention_norm = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.widen, self.narrow = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.output_norm = nn.LayerNorm(WIDTH, eps=EPSILON)

    def forward(self, x: Tensor, places: Tensor, bias: Tensor, dropout: float) -> Tensor:
        """x: (pieces, width), at `places` of the flattened (n, t) texts; bias: (n, 1, 1, t), −inf where padded."""
        attended = self.out(self._attend(x, places, bias))
        x = self.attention_norm(x + F.dropout(attended, dropout, self.training))
        narrowed = self.narrow(F.gelu(self.widen(x)))
        return self.output_norm(x + F.dropout(narrowed, dropout, self.training))

    def _attend(self, x: Tensor, places: Tensor, bias: Tensor) -> Tensor:
        rows, length = bias.shape[0], bias.shape[-1]
        query, key, value = (
            _padded(linear(x), places, rows, length).view(rows, length, HEADS, WIDTH // HEADS).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        # Written out: on captions' few pieces the fused kernel's backward pass is ten times slower on CPUs.
        score = query @ key.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5 + bias
        out = torch.softmax(score, -1).to(value.dtype) @ value
        return out.transpose(1, 2).reshape(rows * length, WIDTH)[places]


class E5Tower(TextTower):
    """The encoder; every linear map runs over the real pieces only, never over padding.

    vocabulary: number of rows of the trimmed embedding. cut: the number of leading layers that, with the embeddings,
    make up the stem and stay as they are (None: nothing is cut off). low_rank: rank of the changes that the other
    layers' linear maps learn in place of new weights (None: the weights themselves learn). dropout: on the residual
    branches, in training. Raises BadModel.
    """

    dim = WIDTH
    max_length = POSITIONS

    def __init__(
        self, vocabulary: int, cut: int | None = None, low_rank: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if cut is not None and not 0 <= cut <= LAYERS:
            raise BadModel(f"the text tower has {LAYERS} layers; cut after 0 to {LAYERS} of them, not {cut}")
        if low_rank is not None and low_rank < 1:
            raise BadModel(f"low-rank changes have rank 1 or more, not {low_rank}; leave low_rank out for none")
        if not 0 <= dropout < 1:
            raise BadModel(f"dropout is a share from 0 to below 1, not {dropout}")
        self.spec = {
            "type": "multilingual-e5-small", "vocabulary": vocabulary, "cut": cut, "low_rank": low_rank,
            "dropout": dropout, "pieces_sha256": pieces_hash(),
        }  # fmt: skip
        self.cut, self.dropout, self.has_stem = cut, dropout, cut is not None
        self.pieces = nn.Embedding(vocabulary, WIDTH)
        self.positions = nn.Parameter(torch.zeros(POSITIONS, WIDTH))
        self.embedding_norm = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        if low_rank is not None:
            make_low_rank(self.layers[cut or 0 :], low_rank)
        self.fixed = self._fixed(low_rank is not None)

    def stem(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embed the pieces and run the layers before the cut; ids themselves when nothing is cut off. t ≤ 512."""
        return (ids, mask) if self.cut is None else (self._run(self._embed(ids), mask, 0, self.cut), mask)

    def body(self, hidden: Tensor, mask: Tensor) -> TowerOutput:
        """Run the remaining layers and take the mean."""
        if self.cut is None:
            hidden = self._embed(hidden)
        tokens = self._run(hidden, mask, self.cut or 0, LAYERS)
        return TowerOutput(tokens, mean_over(tokens, mask), mask)

    def _embed(self, ids: Tensor) -> Tensor:
        return self.embedding_norm(self.pieces(ids) + self.positions[: ids.shape[1]])

    def _run(self, hidden: Tensor, mask: Tensor, first: int, last: int) -> Tensor:
        # Found once: a mask as an index makes a GPU wait for its count every time.
        places = mask.flatten().nonzero().squeeze(1)
        packed = hidden.flatten(0, 1)[places]
        bias = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, float("-inf"))[:, None, None]
        for layer in self.layers[first:last]:
            packed = layer(packed, places, bias, self.dropout)
        return _padded(packed, places, *mask.shape)

    def _fixed(self, low_rank: bool) -> frozenset[str]:
        before = ("pieces.", "positions", "embedding_norm.", *(f"layers.{n}." for n in range(self.cut or 0)))
        names = (name for name in self.state_dict() if self.cut is not None or low_rank)
        low = {f"{name}.weight" for name, module in self.named_modules() if isinstance(module, LowRankLinear)}
        return frozenset(name for name in names if name.startswith(before) or name in low)

    @torch.no_grad()
    def load_pretrained(self, pieces: Sequence[str]) -> "E5Tower":
        """Fill in the package's weights for a vocabulary of `pieces`. Raises MissingExtra, BadModel."""
        if len(pieces) != self.pieces.num_embeddings:
            raise BadModel(
                f"the vocabulary has {len(pieces)} pieces, but the text tower {self.pieces.num_embeddings} rows"
            )
        source = pretrained(pieces)
        for name, tensor in self.state_dict().items():
            if not name.endswith((".up", ".down")):
                tensor.copy_(torch.from_numpy(np.ascontiguousarray(source.tensor(name))))
        return self


def _padded(x: Tensor, places: Tensor, rows: int, length: int) -> Tensor:
    """Put (pieces, width) at their places among zeros; returns (rows, length, width)."""
    return x.new_zeros(rows * length, WIDTH).index_copy(0, places, x).view(rows, length, WIDTH)

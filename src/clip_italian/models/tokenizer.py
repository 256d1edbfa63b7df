"""Texts to piece ids, whatever tokenizer a tower brings.

Public names: Tokenizer, PAD_NAMES.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .pieces import PAD_NAMES, PieceTokenizer

__all__ = ["PAD_NAMES", "Tokenizer"]


class Tokenizer(PieceTokenizer):
    """The tokenizer that torch's towers read from; see PieceTokenizer for what it cuts and pads."""

    def encode(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return ids (n, t) int64 and mask (n, t) bool, True at real pieces; t is the longest text's, n at least 1."""
        ids, mask = self.arrays(texts)
        return torch.from_numpy(ids), torch.from_numpy(mask)

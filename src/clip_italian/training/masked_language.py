"""A start for a text tower that has only random weights: guessing hidden pieces of plain texts.

Public names: warm_start, hide.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import BadRecord
from ..models.tokenizer import Tokenizer
from ..models.tokenizer_training import SPECIALS
from ..models.towers.scratch import ScratchTextTower
from .optimizers import build_optimizer
from .schedules import warmup_linear


@dataclass(frozen=True)
class Pieces:
    """What hiding needs to know of a tokenizer: the <mask> piece, and the (k,) int64 ids that are no specials."""

    mask: int
    ordinary: Tensor


def warm_start(
    tower: ScratchTextTower,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    *,
    steps: int,
    batch: int = 64,
    lr: float = 1e-3,
    seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
) -> list[float]:
    """Teach `tower` in place to guess hidden pieces of `texts`; returns each step's loss, nats a hidden piece.

    The head that guesses shares the tower's embedding and is thrown away. AdamW, decay 0.01, a tenth of the steps
    warm-up, then linearly to 0, gradients cut to norm 1. progress: called after every step with (steps made, steps,
    loss). The same seed, texts and threads give the same weights, and torch's own random state is left as it was.
    Raises BadRecord when no text has a piece to hide. Source: Devlin 2019, section 3.1, task 1.
    """
    pieces = _pieces_of(tokenizer)
    rows = _rows(tokenizer, texts, pieces)
    device = tower.embedding.weight.device
    generator = torch.Generator().manual_seed(seed)
    was_training = tower.training
    losses = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = _Guess(tower).to(device)
        parameters = [p for p in [*tower.parameters(), *head.parameters()] if p.requires_grad]
        optimizer = build_optimizer("adamw", [{"params": parameters, "lr": lr}], weight_decay=0.01)
        tower.train()
        for step in range(steps):
            ids, mask = _draw(rows, batch, generator)
            shown, hidden = hide(ids, pieces, generator)
            optimizer.param_groups[0]["lr"] = lr * warmup_linear(step + 1, steps + 1, steps // 10)
            tokens = tower(shown.to(device), mask.to(device)).tokens
            loss = F.cross_entropy(head(tokens[hidden.to(device)]).float(), ids[hidden].to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            losses.append(loss.item())
            if progress is not None:
                progress(step + 1, steps, losses[-1])
    tower.train(was_training)
    return losses


def hide(ids: Tensor, pieces: Pieces, generator: torch.Generator, *, share: float = 0.15) -> tuple[Tensor, Tensor]:
    """Hide a share of the ordinary pieces, at least one in the batch; returns the ids to show and where to guess.

    ids: (n, t) int64; both results (n, t), int64 and bool. Of the places to guess 80 % show <mask>, 10 % any other
    ordinary piece and 10 % what was there. Specials and padding are never chosen. Source: Devlin 2019, appendix A.1.
    """
    luck = torch.rand(ids.shape, generator=generator).masked_fill(~torch.isin(ids, pieces.ordinary), 2.0)
    chosen = luck <= max(share, luck.min().item())
    way = torch.rand(ids.shape, generator=generator)
    other = pieces.ordinary[torch.randint(len(pieces.ordinary), ids.shape, generator=generator)]
    shown = torch.where(chosen & (way < 0.8), pieces.mask, ids)
    return torch.where(chosen & (way >= 0.8) & (way < 0.9), other, shown), chosen


class _Guess(nn.Module):
    """Scores of every piece for (k, dim) tokens, over the tower's own embedding."""

    def __init__(self, tower: ScratchTextTower) -> None:
        super().__init__()
        self.transform = nn.Sequential(nn.Linear(tower.dim, tower.dim), nn.GELU(), nn.LayerNorm(tower.dim))
        self.bias = nn.Parameter(torch.zeros(tower.embedding.num_embeddings))
        # In a list, so that the tower's weights are not counted among the head's.
        self.tied = [tower.embedding]

    def forward(self, tokens: Tensor) -> Tensor:
        return F.linear(self.transform(tokens), self.tied[0].weight, self.bias)


def _pieces_of(tokenizer: Tokenizer) -> Pieces:
    backend = tokenizer.backend
    special = {backend.token_to_id(name) for name in SPECIALS}
    mask = backend.token_to_id("<mask>")
    if mask is None:
        raise BadRecord("the tokenizer has no <mask> piece; train one with `train_tokenizer`")
    return Pieces(mask, torch.tensor([i for i in range(tokenizer.size) if i not in special]))


def _rows(tokenizer: Tokenizer, texts: Sequence[str], pieces: Pieces) -> list[Tensor]:
    """Return the ids of every text that has something to hide, without padding."""
    ordinary = set(pieces.ordinary.tolist())
    rows = []
    for start in range(0, len(texts), 1024):
        ids, mask = tokenizer.encode(texts[start : start + 1024])
        rows += [row[real] for row, real in zip(ids, mask, strict=True) if not ordinary.isdisjoint(row.tolist())]
    if not rows:
        raise BadRecord(f"none of {len(texts)} texts has a word to learn from; give captions or other plain text")
    return rows


def _draw(rows: list[Tensor], batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw texts with replacement; returns padded ids and their mask, (batch, t)."""
    chosen = [rows[i] for i in torch.randint(len(rows), (batch,), generator=generator)]
    padded = nn.utils.rnn.pad_sequence(chosen, batch_first=True, padding_value=SPECIALS.index("<pad>"))
    lengths = torch.tensor([len(row) for row in chosen])
    return padded, torch.arange(padded.shape[1]) < lengths[:, None]

"""The warm start on a made-up language whose words determine each other."""

import math
import random
from collections import Counter

import pytest
import torch

from clip_italian.errors import BadRecord
from clip_italian.models.tokenizer import Tokenizer
from clip_italian.models.tokenizer_training import train_tokenizer
from clip_italian.models.towers.scratch import ScratchTextTower
from clip_italian.training.masked_language import Pieces, hide, warm_start

PAIRS = {"cane": "osso", "gatto": "latte", "pesce": "mare", "uccello": "cielo", "topo": "grano"}


def sentences(count):
    """Write "il X ama il Y": the last word is known from the third."""
    draw = random.Random(0)
    return [f"il {animal} ama il {PAIRS[animal]}" for animal in draw.choices(list(PAIRS), k=count)]


TEXTS = sentences(400)
TOKENIZER = Tokenizer(train_tokenizer(TEXTS, 400), 12)


def tower(dropout=0.0):
    torch.manual_seed(1)
    return ScratchTextTower(
        vocabulary=TOKENIZER.size, max_length=12, width=48, depth=2, heads=2, dropout=dropout, pooling="mean"
    )


def unigram_entropy():
    ids, mask = TOKENIZER.encode(TEXTS)
    counts = Counter(ids[mask].tolist())
    for special in (0, 2):
        del counts[special]
    total = sum(counts.values())
    return -sum(n / total * math.log(n / total) for n in counts.values())


def test_loss_falls_far_below_the_entropy_of_single_words():
    losses = warm_start(tower(), TOKENIZER, TEXTS, steps=150, batch=32, lr=3e-3)
    assert losses[0] > unigram_entropy()
    assert sum(losses[-20:]) / 20 < 0.6 * unigram_entropy()


def test_what_is_learned_is_in_the_tower_and_in_the_context():
    learned = tower()
    warm_start(learned, TOKENIZER, TEXTS, steps=150, batch=32, lr=3e-3)
    mask_id = TOKENIZER.backend.token_to_id("<mask>")
    hidden = []
    for animal in PAIRS:
        ids, mask = TOKENIZER.encode([f"il {animal} ama il {PAIRS[animal]}"])
        ids[0, -2] = mask_id
        with torch.no_grad():
            hidden.append(learned(ids, mask).tokens[0, -2])
    # The hidden place reads differently behind each animal, although its own piece and place are the same.
    distances = torch.cdist(torch.stack(hidden), torch.stack(hidden)) + torch.eye(len(PAIRS)) * 99
    assert distances.min() > 1


def test_a_seeded_run_repeats_exactly_and_leaves_torchs_random_state():
    runs = []
    for seed in (7, 7, 8):
        trained = tower(dropout=0.1)
        torch.manual_seed(seed * 31 + len(runs))
        before = torch.get_rng_state()
        losses = warm_start(trained, TOKENIZER, TEXTS, steps=6, batch=8, seed=seed)
        assert torch.equal(torch.get_rng_state(), before)
        runs.append((losses, trained.state_dict()))
    assert runs[0][0] == runs[1][0]
    assert all(torch.equal(runs[0][1][name], runs[1][1][name]) for name in runs[0][1])
    assert runs[0][0] != runs[2][0]


def test_progress_is_told_after_every_step_and_the_mode_is_kept():
    told = []
    trained = tower().eval()
    losses = warm_start(trained, TOKENIZER, TEXTS, steps=3, batch=4, progress=lambda *news: told.append(news))
    assert told == [(1, 3, losses[0]), (2, 3, losses[1]), (3, 3, losses[2])]
    assert not trained.training


def test_hiding_follows_bert():
    generator = torch.Generator().manual_seed(0)
    ordinary = torch.arange(5, 1000)
    ids = torch.randint(5, 1000, (400, 50), generator=generator)
    ids[:, 0], ids[:, -10:] = 0, 1
    shown, chosen = hide(ids, Pieces(4, ordinary), generator)
    assert not chosen[:, 0].any()
    assert not chosen[:, -10:].any()
    assert torch.equal(shown[~chosen], ids[~chosen])
    assert chosen.sum().item() / (400 * 39) == pytest.approx(0.15, abs=0.01)
    masked, same = shown[chosen] == 4, shown[chosen] == ids[chosen]
    assert masked.float().mean().item() == pytest.approx(0.8, abs=0.03)
    assert same.float().mean().item() == pytest.approx(0.1, abs=0.025)
    replaced = shown[chosen][~masked & ~same]
    assert torch.isin(replaced, ordinary).all()
    assert len(replaced.unique()) > 50


def test_one_short_text_still_has_a_hidden_piece():
    generator = torch.Generator().manual_seed(0)
    for _ in range(50):
        _, chosen = hide(torch.tensor([[0, 9, 2]]), Pieces(4, torch.arange(5, 20)), generator)
        assert chosen.tolist() == [[False, True, False]]


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(BadRecord, match="none of 2 texts has a word to learn from"):
        warm_start(tower(), TOKENIZER, ["", "  "], steps=1)

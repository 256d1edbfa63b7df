"""Towers from scratch: shapes, what they must not see, what they can learn, and the tokenizer behind them."""

import json
import unicodedata

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from clip_italian.models.tokenizer import Tokenizer
from clip_italian.models.tokenizer_training import SPECIALS, train_tokenizer
from clip_italian.models.towers.scratch import (
    BagOfWordsTower,
    GatedTextTower,
    ScratchImageTower,
    ScratchTextTower,
)

SMALL = {"vocabulary": 300, "width": 32}
CAPTIONS = ["due cerchi rossi a sinistra di una stella gialla", "l'albero è più alto della città", "un gatto nero"] * 3


def text_towers(**changes):
    yield ScratchTextTower(**SMALL, max_length=20, depth=2, heads=2, **changes)
    yield ScratchTextTower(**SMALL, max_length=20, depth=2, heads=2, pooling="mean", **changes)
    yield GatedTextTower(**SMALL, depth=2, **changes)
    yield BagOfWordsTower(**SMALL, **changes)


def awake(tower):
    """Move every weight off its start, so that no part is silent because it began at zero."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in tower.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return tower.eval()


@pytest.mark.parametrize("which", range(4))
def test_padding_and_neighbours_change_nothing(which):
    tower = awake(list(text_towers())[which])
    ids = torch.randint(0, 300, (4, 9))
    mask = torch.arange(9) < torch.tensor([9, 4, 1, 6])[:, None]
    together = tower(ids, mask)
    assert together.tokens.shape == (4, 9, 32)
    assert together.pooled.shape == (4, 32)
    noise = torch.where(mask, ids, torch.randint(0, 300, (4, 9)))
    torch.testing.assert_close(tower(noise, mask).pooled, together.pooled)
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = tower(ids[row : row + 1, :length], torch.ones(1, length, dtype=torch.bool))
        torch.testing.assert_close(alone.pooled[0], together.pooled[row], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("which", range(4))
def test_order_counts_for_all_but_the_bag(which):
    tower = awake(list(text_towers())[which])
    ids = torch.randint(0, 300, (1, 9))
    mask = torch.ones(1, 9, dtype=torch.bool)
    difference = (tower(ids, mask).pooled - tower(ids.flip(1), mask).pooled).abs().max()
    assert difference < 1e-5 if isinstance(tower, BagOfWordsTower) else difference > 1e-2


@pytest.mark.parametrize("which", range(4))
def test_a_text_without_any_piece_is_finite(which):
    tower = awake(list(text_towers())[which])
    mask = torch.tensor([[False, False], [True, True]])
    out = tower(torch.zeros(2, 2, dtype=torch.int64), mask)
    assert out.pooled.isfinite().all()
    out.pooled.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in tower.parameters())


def test_a_text_longer_than_the_places_is_refused():
    tower = next(text_towers())
    with pytest.raises(ValueError, match="a text of 21 pieces, but this tower reads 20"):
        tower(torch.zeros(1, 21, dtype=torch.int64), torch.ones(1, 21, dtype=torch.bool))


def image_tower(**changes):
    return ScratchImageTower(**{"width": 32, "dim": 48, "heads": 2, **changes})


def test_spec_survives_json_and_makes_the_same_architecture():
    for tower in [*text_towers(dropout=0.1), image_tower(early_blocks=2, attention_blocks=2)]:
        settings = json.loads(json.dumps(tower.spec))
        assert settings.pop("type") == type(tower).kind
        again = type(tower)(**settings)
        again.load_state_dict(tower.state_dict())
        assert again.spec == tower.spec
        assert again.dim == tower.dim


@pytest.mark.parametrize(("height", "width"), [(96, 96), (128, 128), (64, 96), (8, 8)])
def test_pictures_of_any_size_in_eights_keep_a_map(height, width):
    out = image_tower()(torch.randn(2, 3, height, width))
    assert out.grid == (height // 8, width // 8)
    assert out.tokens.shape == (2, height * width // 64, 48)
    assert out.pooled.shape == (2, 48)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="pictures of 96 × 100: both sides must be divisible by 8"):
        image_tower()(torch.zeros(1, 3, 96, 100))


def test_a_picture_does_not_depend_on_its_batch():
    tower = awake(image_tower())
    pixels = torch.randn(5, 3, 32, 32)
    together = tower(pixels).pooled
    torch.testing.assert_close(tower(pixels[2:3]).pooled, together[2:3], rtol=1e-4, atol=1e-5)
    tower.train()
    torch.testing.assert_close(tower(pixels).pooled, together, rtol=1e-4, atol=1e-5)


def test_every_parameter_learns():
    for tower in text_towers():
        out = awake(tower)(torch.randint(0, 300, (2, 20)), torch.ones(2, 20, dtype=torch.bool))
        out.pooled.square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in tower.parameters())
    tower = awake(image_tower())
    tower(torch.randn(2, 3, 32, 32)).pooled.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in tower.parameters())


def test_half_precision_autocast_stays_close():
    torch.manual_seed(0)
    image, text = image_tower().eval(), next(text_towers()).eval()
    pixels, ids, mask = torch.randn(4, 3, 32, 32), torch.randint(0, 300, (4, 9)), torch.ones(4, 9, dtype=torch.bool)
    plain = [image(pixels).pooled, text(ids, mask).pooled]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = [image(pixels).pooled, text(ids, mask).pooled]
    for one, other in zip(plain, half, strict=True):
        assert F.cosine_similarity(one, other.float()).min() > 0.99


def dots(count, generator):
    """Draw 1–4 green dots, a red and a blue one on noise; returns pixels, the count less 1, red left of blue."""
    pixels = torch.rand(count, 3, 48, 48, generator=generator) * 0.3
    greens = torch.randint(1, 5, (count,), generator=generator)
    red_left = torch.zeros(count, dtype=torch.int64)
    for i in range(count):
        cells = torch.randperm(9, generator=generator)[: int(greens[i]) + 2]
        corners = torch.stack([cells // 3, cells % 3], 1) * 16 + torch.randint(
            0, 9, (len(cells), 2), generator=generator
        )
        for k, (row, column) in enumerate(corners.tolist()):
            pixels[i, :, row : row + 7, column : column + 7] = 0
            pixels[i, (0, 2)[k] if k < 2 else 1, row : row + 7, column : column + 7] = 1
        red_left[i] = corners[0, 1] < corners[1, 1]
    return pixels * 2 - 1, greens - 1, red_left


def test_image_tower_learns_to_count_and_to_tell_left_from_right():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    pixels, greens, red_left = dots(1500, generator)
    unseen, unseen_greens, unseen_left = dots(300, generator)
    tower = image_tower(width=64, dim=64)
    head = nn.Linear(64, 6)
    optimizer = torch.optim.AdamW([*tower.parameters(), *head.parameters()], lr=2e-3)
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 2e-3 * min(1.0, (step + 1) / 20, 2 - step / 75)
        batch = torch.randint(0, 1500, (48,), generator=generator)
        scores = head(tower(pixels[batch]).pooled)
        loss = F.cross_entropy(scores[:, :4], greens[batch]) + F.cross_entropy(scores[:, 4:], red_left[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        scores = head(tower.eval()(unseen).pooled)
    assert (scores[:, :4].argmax(1) == unseen_greens).float().mean() > 0.9
    assert (scores[:, 4:].argmax(1) == unseen_left).float().mean() > 0.8


def test_tokenizer_is_the_same_each_time_and_keeps_the_specials_first():
    first, second = (train_tokenizer(iter(CAPTIONS), 320) for _ in range(2))
    assert first.to_str() == second.to_str()
    assert [first.token_to_id(name) for name in SPECIALS] == [0, 1, 2, 3, 4]
    assert 261 < first.get_vocab_size() <= 320


def test_tokenizer_lowers_case_keeps_accents_and_splits_elisions():
    tokenizer = train_tokenizer(["l'albero", "un albero", "perché", "perche"] * 3, 400)
    assert tokenizer.encode("L’ALBERO").tokens == ["<s>", "Ġl'", "Ġalbero", "</s>"]
    assert tokenizer.encode("Un albero").tokens == ["<s>", "Ġun", "Ġalbero", "</s>"]
    assert tokenizer.encode("perché").ids != tokenizer.encode("perche").ids
    assert tokenizer.encode(unicodedata.normalize("NFD", "perché")).ids == tokenizer.encode("perché").ids
    assert tokenizer.encode(" un \n\t albero ").ids == tokenizer.encode("un albero").ids


TRAINED = train_tokenizer(CAPTIONS, 320)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40).filter(lambda text: not any(name in text for name in SPECIALS)))
def test_no_text_is_unknown_and_nothing_is_lost(text):
    encoding = TRAINED.encode(text)
    assert TRAINED.token_to_id("<unk>") not in encoding.ids
    assert encoding.tokens[0] == "<s>"
    assert encoding.tokens[-1] == "</s>"
    kept = [c for c in TRAINED.decode(encoding.ids) if not c.isspace()]
    assert kept == [c for c in TRAINED.normalizer.normalize_str(text) if not c.isspace()]


def test_tokenizer_feeds_the_tower():
    tokenizer = Tokenizer(TRAINED, 16)
    ids, mask = tokenizer.encode(["un gatto nero", "", "x" * 10_000])
    assert ids.shape == (3, 16)
    assert mask.sum(1).tolist()[1:] == [2, 16]
    tower = ScratchTextTower(vocabulary=tokenizer.size, max_length=16, width=32, depth=1, heads=2)
    assert tower(ids, mask).pooled.shape == (3, 32)

"""The dual encoder: unit rows, the scale, and which parameters belong to which part."""

import pytest
import torch
from small import checkpoint

from clip_italian.models.dual import MAX_SCALE, PARTS, DualEncoder
from clip_italian.models.towers.base import FrozenImage, FrozenText


@pytest.fixture(scope="module")
def model():
    return checkpoint(text="scratch-text").model.eval()


def texts():
    mask = torch.arange(6) < torch.tensor([6, 2, 4])[:, None]
    return torch.randint(0, 300, (3, 6), generator=torch.Generator().manual_seed(1)) * mask, mask


@torch.no_grad()
def test_rows_are_unit_float32_also_from_half_precision(model):
    pixels = torch.randn(3, 3, 32, 32)
    for precision in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision):
            for rows in (model.encode_images(pixels), model.encode_texts(*texts())):
                assert (rows.shape, rows.dtype) == ((3, 8), torch.float32)
                torch.testing.assert_close(rows.norm(dim=1), torch.ones(3))


@torch.no_grad()
def test_rows_are_the_heads_of_the_towers(model):
    pixels = torch.randn(2, 3, 32, 32)
    expected = model.image_head(model.image_tower(pixels))
    torch.testing.assert_close(model.encode_images(pixels), expected / expected.norm(dim=1, keepdim=True))
    expected = model.text_head(model.text_tower(*texts()))
    torch.testing.assert_close(model.encode_texts(*texts()), expected / expected.norm(dim=1, keepdim=True))


def test_scale_is_twenty_and_fixed_unless_it_is_told_to_learn(model):
    plain = DualEncoder(model.image_tower, model.text_tower)
    assert plain.scale.item() == pytest.approx(20)
    assert not plain.log_scale.requires_grad
    assert (plain.image_head_spec, plain.text_head_spec, plain.dim) == ({"type": "linear"}, {"type": "linear"}, 512)
    plain.log_scale.requires_grad_(True)
    plain.scale.backward()
    assert plain.log_scale.grad.item() == pytest.approx(20)  # d exp(s) / d s
    assert DualEncoder(model.image_tower, model.text_tower, scale=500.0).scale.item() == MAX_SCALE


def test_parts_share_out_every_parameter_once(model):
    parts = [id(parameter) for name in PARTS for parameter in model.part(name)]
    assert len(parts) == len(set(parts))
    assert set(parts) == {id(parameter) for parameter in model.parameters()}


def test_parts_leave_out_what_the_towers_hold_fixed(model):
    fixed = {"embedding.weight", "norm.bias"}
    model.text_tower.fixed = frozenset(fixed)
    try:
        learns = {id(parameter) for parameter in model.part("text_tower")}
        for name, parameter in model.text_tower.named_parameters():
            assert (id(parameter) in learns) == (name not in fixed)
    finally:
        del model.text_tower.fixed


@torch.no_grad()
@pytest.mark.parametrize("tokens", [False, True])
def test_frozen_towers_give_what_their_heads_read(model, tokens):
    pixels, (ids, mask) = torch.randn(2, 3, 32, 32), texts()
    image, text = FrozenImage(model.image_tower, tokens), FrozenText(model.text_tower, tokens)
    assert image.stem(pixels).shape[1] == (17 if tokens else 1)
    for frozen, plain, inputs in ((image, model.image_tower, (pixels,)), (text, model.text_tower, (ids, mask))):
        found, expected = frozen(*inputs), plain(*inputs)
        torch.testing.assert_close(found.pooled, expected.pooled)
        if tokens:
            torch.testing.assert_close(found.tokens, expected.tokens)
        assert found.tokens.shape[1] == (expected.tokens.shape[1] if tokens else 0)
    if tokens:
        assert torch.equal(text(ids, mask).mask, mask)
        head = model.image_head
        torch.testing.assert_close(head(image(pixels)), head(model.image_tower(pixels)))

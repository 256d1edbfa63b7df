"""Losses against transformers' own, against loops over the definition, and their symmetries."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F
from transformers import SiglipConfig, SiglipModel
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from clip_italian.training.losses import contrastive, positive_pairs, sigmoid


def rows(n, dim=16, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(n, dim, generator=generator, dtype=torch.float64), dim=1).to(dtype)


def gradients(loss, *inputs):
    return torch.autograd.grad(loss, inputs)


@pytest.mark.parametrize("n", [1, 2, 7, 128])
@pytest.mark.parametrize("scale", [1.0, 20.0, 100.0])
def test_contrastive_equals_transformers_forward_and_backward(n, scale):
    image, text = rows(n, seed=1).requires_grad_(), rows(n, seed=2).requires_grad_()
    scale = torch.tensor(scale, requires_grad=True)
    ours = contrastive(image, text, scale)
    theirs = image_text_contrastive_loss(scale * text @ image.T)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    for mine, other in zip(gradients(ours, image, text, scale), gradients(theirs, image, text, scale), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


def siglip(image, text, scale, bias):
    """Return what SiglipModel says of these embeddings, through its own forward."""
    sizes = {"hidden_size": 16, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = SiglipModel(SiglipConfig(text_config={**sizes, "vocab_size": 4}, vision_config={**sizes, "image_size": 32}))

    class Fixed(torch.nn.Module):
        def __init__(self, pooled):
            super().__init__()
            self.pooled = pooled

        def forward(self, *args, **kwargs):
            return type("Output", (), {"pooler_output": self.pooled})()

    model.vision_model, model.text_model = Fixed(image), Fixed(text)
    del model.logit_scale, model.logit_bias
    model.logit_scale, model.logit_bias = scale.log(), bias
    return model(input_ids=None, pixel_values=None, return_loss=True).loss


@pytest.mark.parametrize("n", [1, 2, 33])
def test_sigmoid_equals_transformers_forward_and_backward(n):
    leaves = [rows(n, seed=3), rows(n, seed=4), torch.tensor(10.0), torch.tensor(-10.0)]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    ours, theirs = sigmoid(*leaves), siglip(*leaves)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    # transformers normalises once more; only what is left across a unit row's own direction can be compared.
    for mine, other, leaf in zip(gradients(ours, *leaves), gradients(theirs, *leaves), leaves, strict=True):
        if leaf.ndim == 2:
            mine = mine - (mine * leaf).sum(1, keepdim=True) * leaf
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def by_definition(image, text, scale, positives, smoothing, margin):
    """Compute the loss with loops, in Python floats."""
    n, m = positives.shape
    logits = [[scale * float(image[i] @ text[j]) + margin * (not positives[i, j]) for j in range(m)] for i in range(n)]

    def side(table, own):
        found = []
        for line, mine in zip(table, own, strict=True):
            log_sum = math.log(sum(math.exp(v) for v in line))
            if sum(mine):
                target = [(1 - smoothing) * p / sum(mine) + smoothing / len(line) for p in mine]
                found.append(-sum(t * (v - log_sum) for t, v in zip(target, line, strict=True)))
        return sum(found) / len(found) if found else 0.0

    turned = [list(column) for column in zip(*logits, strict=True)]
    own = positives.tolist()
    return (side(logits, own) + side(turned, [list(c) for c in zip(*own, strict=True)])) / 2


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 6), st.integers(1, 9), st.integers(0, 10**6), st.floats(0, 0.5), st.sampled_from([0.0, 0.2]))
def test_several_positives_smoothing_and_margin_are_the_definition(n, m, seed, smoothing, margin):
    positives = torch.rand(n, m, generator=torch.Generator().manual_seed(seed)) < 0.4
    image, text = rows(n, seed=seed, dtype=torch.float64), rows(m, seed=seed + 1, dtype=torch.float64)
    loss = contrastive(image, text, 20.0, positives=positives, smoothing=smoothing, margin=margin)
    assert loss.dtype == torch.float64
    assert loss.item() == pytest.approx(by_definition(image, text, 20.0, positives, smoothing, margin), abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.permutations(range(9)), st.integers(0, 10**6))
def test_order_of_the_batch_does_not_matter(order, seed):
    image, text = rows(9, seed=seed, dtype=torch.float64), rows(9, seed=seed + 1, dtype=torch.float64)
    positives = torch.rand(9, 9, generator=torch.Generator().manual_seed(seed)) < 0.3
    turned = positives[order][:, order]
    for loss in (
        lambda i, t, p: contrastive(i, t, 20.0, positives=p, smoothing=0.1),
        lambda i, t, p: sigmoid(i, t, 10.0, -10.0, positives=p),
    ):
        for before, after in ((None, None), (positives, turned)):
            expected = loss(image, text, before)
            torch.testing.assert_close(loss(image[order], text[order], after), expected)


@pytest.mark.parametrize("n", [2, 128])
def test_chance_is_the_logarithm_of_the_batch(n):
    blind = torch.ones(n, 4) / 2
    assert contrastive(blind, blind, 20.0).item() == pytest.approx(math.log(n), rel=1e-6)
    assert contrastive(blind, blind, 20.0, smoothing=0.1).item() == pytest.approx(math.log(n), rel=1e-6)


def test_a_picture_twice_in_the_batch_is_not_its_own_negative():
    image = torch.eye(4)[[0, 0, 1, 2]]
    pairs = positive_pairs(["a", "a", "b", "c"], ["a", "a", "b", "c"])
    # Both copies share the target, so that the best loss is the entropy of an even choice between them, not more.
    best = (2 * math.log(2) + 0) / 4
    assert contrastive(image, image, 100.0, positives=pairs).item() == pytest.approx(best, abs=1e-6)
    leaf = image.clone().requires_grad_()
    (gradient,) = gradients(contrastive(leaf, image, 100.0, positives=pairs), leaf)
    assert gradient.abs().max() < 1e-5


def test_texts_of_no_picture_count_only_as_negatives():
    image, text = rows(3, seed=1), rows(5, seed=2)
    positives = torch.eye(3, 5, dtype=torch.bool)
    logits = 20 * image @ text.T
    expected = (F.cross_entropy(logits, torch.arange(3)) + F.cross_entropy(logits.T[:3], torch.arange(3))) / 2
    torch.testing.assert_close(contrastive(image, text, 20.0, positives=positives), expected)


def test_nothing_belongs_together_is_zero_with_a_finite_gradient():
    image = rows(3).requires_grad_()
    loss = contrastive(image, rows(3, seed=1), 20.0, positives=torch.zeros(3, 3, dtype=torch.bool))
    assert loss.item() == 0
    assert gradients(loss, image)[0].isfinite().all()


def test_margin_lifts_the_loss_of_a_batch_but_not_of_one_pair():
    image, text = rows(6, seed=5), rows(6, seed=6)
    assert contrastive(image, text, 20.0, margin=0.2) > contrastive(image, text, 20.0)
    assert contrastive(image[:1], text[:1], 20.0, margin=0.2).item() == 0


@pytest.mark.parametrize("half", [False, True])
def test_float32_under_autocast_and_for_half_inputs(half):
    image, text = rows(64, seed=7), rows(64, seed=8)
    if half:
        image, text = image.bfloat16(), text.bfloat16()
    expected = contrastive(image.float(), text.float(), 100.0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for loss, plain in (
            (contrastive(image, text, 100.0), expected),
            (sigmoid(image, text, 10.0, -10.0), sigmoid(image.float(), text.float(), 10.0, -10.0)),
        ):
            assert loss.dtype == torch.float32
            torch.testing.assert_close(loss, plain, rtol=1e-6, atol=1e-6)


def test_sigmoid_with_several_positives_by_hand():
    image, text = torch.eye(2), torch.eye(2)[[0, 0, 1]]
    positives = torch.tensor([[True, True, False], [False, False, True]])
    right, wrong = math.log1p(math.exp(-(4 - 1))), math.log1p(math.exp(-1))
    expected = (3 * right + 3 * wrong) / 2
    assert sigmoid(image, text, 4.0, -1.0, positives=positives).item() == pytest.approx(expected, rel=1e-6)


def test_pairs_by_key_and_by_equal_captions():
    by_key = positive_pairs(["a", "b"], ["a", "a", "b"])
    assert by_key.tolist() == [[True, True, False], [False, False, True]]
    captions = ["Un cane", "Un gatto", " un  CANE "]
    both = positive_pairs(["a", "b"], ["a", "a", "b"], captions=captions)
    assert both.tolist() == [[True, True, True], [True, False, True]]
    assert positive_pairs([1, 2, 1], [1, 2, 1]).tolist() == [
        [True, False, True],
        [False, True, False],
        [True, False, True],
    ]


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="3 pictures and 4 texts: say which belong together"):
        contrastive(rows(3), rows(4), 20.0)
    with pytest.raises(ValueError, match=r"positives are \(3, 3\), but there are 3 pictures and 4 texts"):
        sigmoid(rows(3), rows(4), 10.0, -10.0, positives=torch.eye(3, dtype=torch.bool))
    with pytest.raises(ValueError, match="1 captions for 2 texts"):
        positive_pairs([1, 2], [1, 2], captions=["uno"])

"""Heads against their definitions, written out with loops."""

import math

import pytest
import torch

from clip_italian.errors import BadModel
from clip_italian.models.heads import HEADS, build_head
from clip_italian.models.towers.base import TowerOutput


def reading(mask=None):
    generator = torch.Generator().manual_seed(4)
    return TowerOutput(torch.randn(3, 5, 16, generator=generator), torch.randn(3, 16, generator=generator), mask=mask)


def head(**spec):
    torch.manual_seed(5)
    return build_head(spec, 16, 8).eval()


def normalised(x):
    return (x - x.mean()) / (x.var(unbiased=False) + 1e-5).sqrt()


def two_layers(layers, x):
    norm, first, _, _, second = layers
    hidden = first.weight @ (normalised(x) * norm.weight + norm.bias) + first.bias
    hidden = torch.tensor([0.5 * h * (1 + math.erf(h / math.sqrt(2))) for h in hidden.tolist()])
    return second.weight @ hidden + second.bias


def test_linear_is_a_bias_free_projection_of_the_pooled_vector():
    built = head(type="linear")
    assert [name for name, _ in built.named_parameters()] == ["projection.weight"]
    torch.testing.assert_close(built(reading()), reading().pooled @ built.projection.weight.T)


def test_linear_starts_as_the_papers():
    torch.manual_seed(0)
    weight = build_head({"type": "linear"}, 512, 512).projection.weight
    assert weight.mean().abs() < 2e-4
    assert weight.std().item() == pytest.approx(0.02, rel=0.01)


@torch.no_grad()
def test_mlp_is_two_layers_on_the_pooled_vector():
    built = head(type="mlp", hidden=12)
    expected = torch.stack([two_layers(built.layers, row) for row in reading().pooled])
    torch.testing.assert_close(built(reading()), expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_each_heads_weighted_mean_and_two_layers(masked):
    built = head(type="attention", hidden=12, heads=4)
    mask = torch.tensor([[True] * 5, [True] * 2 + [False] * 3, [False] * 4 + [True]]) if masked else None
    output, expected = reading(mask), []
    for row in range(3):
        kept = [t for t in range(5) if mask is None or mask[row, t]]
        tokens = [normalised(output.tokens[row, t]) * built.norm.weight + built.norm.bias for t in kept]
        vector = []
        for number in range(4):
            score = [math.exp(built.question.weight[number] @ token + built.question.bias[number]) for token in tokens]
            rows = slice(2 * number, 2 * number + 2)
            values = [built.value.weight[rows] @ token + built.value.bias[rows] for token in tokens]
            vector.append(sum(s * value for s, value in zip(score, values, strict=True)) / sum(score))
        expected.append(torch.cat(vector) + two_layers(built.pooled.layers, output.pooled[row]))
    torch.testing.assert_close(built(output), torch.stack(expected), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_attention_never_sees_what_is_masked():
    built = head(type="attention")
    output = reading(torch.tensor([[True, True, False, True, False]] * 3))
    before = built(output)
    output.tokens[:, [2, 4]] = 1e4
    torch.testing.assert_close(built(output), before, rtol=0, atol=0)


def test_attention_drops_whole_channels():
    built = head(type="attention", dropout=0.5).train()
    seen = []
    built.value.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    built(reading())
    dropped = seen[0] == 0
    assert dropped.any()
    assert torch.equal(dropped.all(1), dropped.any(1))


@pytest.mark.parametrize("kind", HEADS)
def test_heads_say_whether_they_read_tokens(kind):
    built, output = head(type=kind), reading()
    output.tokens = output.tokens[:, :4]  # a square map, which a head that knows places needs
    with_tokens = built(output)
    output.tokens = torch.zeros_like(output.tokens)
    assert built.needs_tokens == (not torch.equal(built(output), with_tokens))


def test_places_tell_where_something_is_and_how_much_of_it():
    built = head(type="places", hidden=8, heads=2, blocks=0)
    one = torch.zeros(1, 16, 16)
    places = [one.clone() for _ in range(3)]
    mark = torch.linspace(-3, 3, 16)
    for tokens, where in zip(places, ([0], [3], [0, 3]), strict=True):
        tokens[0, where] = mark
    left, right, both = (built(TowerOutput(tokens, tokens.mean(1))) for tokens in places)
    without_place = [built.norm(built.narrow(tokens)).mean(1) for tokens in places]
    assert torch.allclose(without_place[0], without_place[1], atol=1e-6)
    assert (left - right).abs().max() > 1e-3
    assert (left - both).abs().max() > 1e-3
    with pytest.raises(ValueError, match="5 places form no square map"):
        built(reading())


@torch.no_grad()
@pytest.mark.parametrize("grid", [(2, 3), (3, 2), (1, 6)])
def test_places_of_a_map_of_any_sides_are_told_by_row_and_column(grid):
    built = head(type="places", hidden=8, heads=2, blocks=0)
    tokens = reading().tokens[:, :1] + torch.linspace(-2, 2, 6)[:, None] * torch.linspace(-1, 1, 16) ** 2

    def wave(row, column, count):
        values = []
        for where, side in ((row, grid[0]), (column, grid[1])):
            angles = [math.pi / 2 * 2**turn * ((where + 0.5) * 2 / side - 1) for turn in range(count)]
            values += [*map(math.sin, angles), *map(math.cos, angles)]
        return torch.tensor(values)

    expected = []
    for row in tokens:
        mean, moments = torch.zeros(8), torch.zeros(8, 8)
        for place, token in enumerate(row):
            where = divmod(place, grid[1])
            read = built.narrow(token) + built.places.weight @ wave(*where, 4) + built.places.bias
            read = normalised(read) * built.norm.weight + built.norm.bias
            mean += read / 6
            moments += wave(*where, 2)[:, None] * read / 6
        expected.append(built.mean(mean) + built.moments(moments.flatten()))
    found = built(TowerOutput(tokens, tokens.mean(1), grid=grid))
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_centred_heads_give_each_dimension_mean_0_and_variance_1_in_training():
    built = head(type="linear", centred=True)
    plain = built.head
    pooled = torch.randn(64, 16) + 5
    output = TowerOutput(pooled[:, None], pooled)
    built.train()
    found = built(output)
    expected = plain(output)
    expected = (expected - expected.mean(0)) / (expected.var(0, unbiased=False) + 1e-5).sqrt()
    assert torch.allclose(found, expected, atol=1e-5)
    for _ in range(200):
        built(output)
    assert torch.allclose(built.eval()(output), expected, atol=0.05)
    assert not built.needs_tokens


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"type": "round"}, "linear, mlp, attention, places"),
        ({}, "type None"),
        ({"type": "linear", "hidden": 3}, "hidden"),
        ({"type": "mlp", "dropout": 2.0}, "dropout"),
        ({"type": "attention", "heads": 3}, "8 dimensions cannot be split over 3"),
    ],
)
def test_wrong_settings_are_refused(spec, said):
    with pytest.raises(BadModel, match=said):
        build_head(spec, 16, 8)


@pytest.mark.parametrize("spec", [{"type": "linear"}, {"type": "mlp"}, {"type": "linear", "centred": True}])
def test_dense_reads_each_token_as_the_pooled_vector(spec):
    output, made = reading(), head(**spec)
    dense = made.dense(output)
    assert dense.shape == (3, 5, 8) and made.local
    for place in range(5):
        alone = TowerOutput(output.tokens[:, place : place + 1], output.tokens[:, place])
        torch.testing.assert_close(dense[:, place], made(alone))


def test_a_linear_heads_picture_is_the_mean_of_its_places():
    tokens = reading().tokens
    made = head(type="linear")
    output = TowerOutput(tokens, tokens.mean(1))
    torch.testing.assert_close(made.dense(output).mean(1), made(output))


def test_an_attention_heads_picture_is_weighted_means_of_its_places_and_the_pooled_part():
    output, made = reading(), head(type="attention", heads=2)
    weight = torch.softmax(made.question(made.norm(output.tokens)), 1)
    per_head = made.dense(output).unflatten(-1, (2, 4))
    expected = torch.cat([(weight[..., h, None] * per_head[:, :, h]).sum(1) for h in (0, 1)], 1) + made.pooled(output)
    torch.testing.assert_close(made(output), expected)


def test_a_places_head_is_run_with_one_place_among_means():
    generator = torch.Generator().manual_seed(6)
    tokens = torch.randn(2, 6, 16, generator=generator)
    made = head(type="places", hidden=16, centred=True)
    dense = made.dense(TowerOutput(tokens, tokens.mean(1), grid=(2, 3)))
    assert dense.shape == (2, 6, 8) and not made.local
    for place in (0, 4):
        map_ = tokens.mean(1, keepdim=True).repeat(1, 6, 1)
        map_[:, place] = tokens[:, place]
        torch.testing.assert_close(dense[:, place], made(TowerOutput(map_, map_.mean(1), grid=(2, 3))))

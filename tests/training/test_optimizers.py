"""The paper's optimiser against optax 0.0.9 itself, against a plain float64 implementation, and its state on disk."""

import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from make_optax_golden import KEPT, RATE, SHAPES, STEPS, WARMUP, pull, start
from torch import nn

from clip_italian.errors import BadRecipe
from clip_italian.training.optimizers import AdaBelief, adaptive_grad_clip_, build_optimizer, unit_axes
from clip_italian.training.schedules import warmup_cosine

GOLDEN = json.loads((Path(__file__).parent / "golden" / "optax_chain.json").read_text())


class Zoo(nn.Module):
    """One parameter of every kind in SHAPES, in torch's layout."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.convolution = nn.Conv2d(3, 4, 2, bias=False)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4, bias=False)
        self.embedding = nn.Embedding(6, 3)
        self.norm = nn.LayerNorm(3)
        self.scalar = nn.Parameter(torch.zeros(()))
        self.class_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.places = nn.Parameter(torch.zeros(1, 5, 3))

    def named(self):
        return {
            "linear": self.linear.weight,
            "convolution": self.convolution.weight,
            "depthwise": self.depthwise.weight,
            "embedding": self.embedding.weight,
            "bias": self.linear.bias,
            "norm": self.norm.weight,
            "scalar": self.scalar,
            "class_token": self.class_token,
            "places": self.places,
        }


def to_torch(name, value):
    order = {"linear": (1, 0), "convolution": (3, 2, 0, 1), "depthwise": (3, 2, 0, 1)}.get(name)
    return torch.tensor(value if order is None else np.transpose(value, order).copy())


def to_flax(name, value):
    order = {"linear": (1, 0), "convolution": (2, 3, 1, 0), "depthwise": (2, 3, 1, 0)}.get(name)
    value = value.detach().numpy()
    return value if order is None else np.transpose(value, order)


def zoo(dtype):
    model = Zoo().to(dtype)
    with torch.no_grad():
        for name, parameter in model.named().items():
            parameter.copy_(to_torch(name, start(name)))
    return model


def run(model, optimizer, steps, begin=0):
    """Yield (updates made, model) over the golden run's gradients and schedule."""
    for step in range(begin, steps):
        for name, parameter in model.named().items():
            gradient = to_torch(name, pull(name, to_flax(name, parameter).astype(np.float64), step))
            parameter.grad = gradient.to(parameter.dtype)
        for group in optimizer.param_groups:
            group["lr"] = RATE * warmup_cosine(step, STEPS, WARMUP)
        optimizer.step()
        yield step + 1


def paper(model, **changes):
    groups = [{"params": list(model.parameters()), "lr": RATE}]
    return build_optimizer("adabelief", groups, **{"clipping": 0.01, "axes": unit_axes(model), **changes})


# optax computes the joined schedule in float32 even where everything else is float64: hence 2e-8 and not 1e-12.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 2e-8), (torch.float32, 2e-6)])
def test_twenty_steps_equal_optax_of_the_papers_days(dtype, tolerance):
    model = zoo(dtype)
    compared = 0
    for done in run(model, paper(model), STEPS):
        if done in KEPT:
            for name, parameter in model.named().items():
                expected = np.reshape(GOLDEN["weights"][str(done)][name], SHAPES[name])
                np.testing.assert_allclose(to_flax(name, parameter), expected, rtol=0, atol=tolerance, err_msg=name)
                compared += 1
    assert compared == len(KEPT) * len(SHAPES)


@pytest.mark.parametrize("change", [{"clipping": None}, {"clipping": 0.02}, {"axes": None}, {"betas": (0.9, 0.99)}])
def test_golden_run_notices_every_setting(change):
    model = zoo(torch.float64)
    for _ in run(model, paper(model, **change), STEPS):
        pass
    worst = max(
        np.abs(to_flax(n, p).ravel() - GOLDEN["weights"][str(STEPS)][n]).max() for n, p in model.named().items()
    )
    assert worst > 1e-3


def units(name, shape):
    """List the index of every unit of a parameter in torch's layout, written out by hand."""
    if name in ("linear", "convolution", "depthwise"):
        return [(o,) for o in range(shape[0])]
    if name == "embedding":
        return [(slice(None), d) for d in range(shape[1])]
    if name == "places":
        return [(0, i, d) for i in range(shape[1]) for d in range(shape[2])]
    return [(...,)]


def test_twenty_steps_equal_a_plain_float64_implementation():
    model, rng = zoo(torch.float64), np.random.default_rng(0)
    optimizer = AdaBelief(model.parameters(), lr=0.03, clipping=0.05, axes=unit_axes(model), weight_decay=0.1, eps=1e-3)
    weights = {name: p.detach().numpy().copy() for name, p in model.named().items()}
    mean, variance = ({name: np.zeros_like(w) for name, w in weights.items()} for _ in range(2))
    for step in range(1, 21):
        for name, parameter in model.named().items():
            gradient = np.asarray(rng.normal(size=weights[name].shape) * 10 ** rng.uniform(-4, 1))
            parameter.grad = torch.tensor(gradient)
            for unit in units(name, gradient.shape):
                norm = math.sqrt(float(np.sum(gradient[unit] ** 2)))
                bound = 0.05 * max(math.sqrt(float(np.sum(weights[name][unit] ** 2))), 1e-3)
                if norm >= bound:
                    gradient[unit] = gradient[unit] * (bound / norm)
            error = gradient - mean[name]
            mean[name] = 0.9 * mean[name] + 0.1 * gradient
            variance[name] = 0.999 * variance[name] + 0.001 * error**2
            root = np.sqrt(variance[name] / (1 - 0.999**step) + 1e-16) + 1e-3
            weights[name] = weights[name] - 0.03 * 0.1 * weights[name] - 0.03 * mean[name] / (1 - 0.9**step) / root
        optimizer.step()
        for name, parameter in model.named().items():
            np.testing.assert_allclose(parameter.detach().numpy(), weights[name], rtol=1e-10, atol=1e-12, err_msg=name)


def test_axes_follow_the_module_and_a_tied_table_stays_an_embedding():
    model = Zoo()
    model.decoder = nn.Linear(3, 6)
    model.decoder.weight = model.embedding.weight
    model.attention = nn.MultiheadAttention(4, 2)
    axes = unit_axes(model)
    assert set(axes) == set(model.parameters())
    named = {name: axes[p] for name, p in model.named().items()}
    assert named == {
        "linear": (1,),
        "convolution": (1, 2, 3),
        "depthwise": (1, 2, 3),
        "embedding": (0,),
        "bias": (0,),
        "norm": (0,),
        "scalar": (),
        "class_token": (0, 1, 2),
        "places": (0,),
    }
    assert axes[model.attention.in_proj_weight] == (1,)


def test_clipping_bounds_every_unit_and_leaves_small_gradients_alone():
    layer = nn.Linear(5, 3)
    layer.weight.grad = torch.randn(3, 5)
    layer.weight.grad[1] *= 1e-6
    before = layer.weight.grad.clone()
    adaptive_grad_clip_(layer.parameters(), 0.01, axes=unit_axes(layer))
    ratio = layer.weight.grad.norm(dim=1) / layer.weight.norm(dim=1)
    assert torch.equal(layer.weight.grad[1], before[1])
    torch.testing.assert_close(ratio[[0, 2]], torch.full((2,), 0.01))
    assert torch.cosine_similarity(layer.weight.grad, before).min() > 0.999999
    assert layer.bias.grad is None


@pytest.mark.parametrize("name", ["adabelief", "adamw", "sgd"])
def test_clipping_acts_before_every_optimiser(name):
    steps = []
    for scale in (1.0, 1000.0):
        model = zoo(torch.float64)
        groups = [{"params": list(model.parameters()), "lr": 0.1}]
        optimizer = build_optimizer(name, groups, clipping=0.01, axes=unit_axes(model))
        for key, parameter in model.named().items():
            parameter.grad = scale * 50 * torch.ones_like(to_torch(key, start(key)))
        optimizer.step()
        steps.append(torch.cat([p.detach().ravel() for p in model.parameters()]))
    torch.testing.assert_close(steps[0], steps[1])
    assert not torch.equal(steps[0], torch.cat([p.detach().ravel() for p in zoo(torch.float64).parameters()]))


def test_state_survives_a_file_and_the_run_goes_on_bit_for_bit():
    straight, halved = zoo(torch.float32), zoo(torch.float32)
    for _ in run(straight, paper(straight), STEPS):
        pass
    optimizer = paper(halved)
    for _ in run(halved, optimizer, 9):
        pass
    file = io.BytesIO()
    torch.save({"model": halved.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = Zoo()
    resumed.load_state_dict(saved["model"])
    optimizer = paper(resumed)
    optimizer.load_state_dict(saved["optimizer"])
    for _ in run(resumed, optimizer, STEPS, begin=9):
        pass
    for first, second in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(first, second)


def test_groups_keep_their_own_rate_and_a_late_parameter_its_own_count():
    slow, fast = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = build_optimizer("adabelief", [{"params": [slow], "lr": 0.0}, {"params": [fast], "lr": 0.5}])
    for step in range(4):
        slow.grad = torch.ones(3) if step == 3 else None
        fast.grad = None if step else torch.ones(3)
        if step == 3:
            optimizer.param_groups[0]["lr"] = 0.5
        optimizer.step()
    # The first update of any parameter has the length of its rate, whenever it comes.
    torch.testing.assert_close(slow, fast)
    torch.testing.assert_close(fast.detach(), torch.full((3,), 0.5))


def test_many_small_and_large_parameters_all_move_once():
    parameters = [nn.Parameter(torch.zeros(size)) for size in (3, 1 << 17, 5, 1 << 18, 1, 70_000, 70_000)]
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, -2.0)
    build_optimizer("adabelief", [{"params": parameters, "lr": 0.25}]).step()
    assert all(torch.allclose(p, torch.full_like(p, 0.25)) for p in parameters)


def test_step_returns_the_closures_loss_with_gradients_on():
    weight = nn.Parameter(torch.tensor([2.0]))
    optimizer = AdaBelief([weight], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 4.0
    assert weight.item() == pytest.approx(1.9)


def test_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(BadRecipe, match='no optimiser is called "adam"; there are adabelief, adamw, sgd'):
        build_optimizer("adam", [{"params": [nn.Parameter(torch.zeros(1))], "lr": 1.0}])

"""The paper's optimiser, AdaBelief behind adaptive gradient clipping, and the usual ones beside it.

Public names: AdaBelief, adaptive_grad_clip_, align_gradients, unit_axes, build_optimizer, OPTIMIZERS.

The paper ran optax as released in July 2021 (0.0.9; 0.0.8 is the same): adaptive_grad_clip(0.01) → scale_by_belief() →
schedule → −1. It is written out here because no kept library equals that chain. adabelief-pytorch (last release 2021)
and pytorch-optimizer take the gradient's error against the mean *after* the step and add eps to the variance at every
step, as today's optax does; optax of that time took it against the mean *before* the step and added eps_root once,
under the root. The first step thus goes 11 % further in theirs. The clipping of pytorch-optimizer and timm takes norms
over the rows of an embedding table, where optax's rule for matrices makes it a norm over the vocabulary.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadRecipe

Axes = Mapping[Tensor, tuple[int, ...]]

# Parameters whose first axis counts output units in torch; Flax keeps the same axis last.
_OUTPUT_FIRST = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MultiheadAttention)

# On a CPU the update is bound by memory: a bucket of this many numbers stays in the cache from its first line to its
# last.
_BUCKET = 1 << 17


def unit_axes(model: nn.Module) -> dict[Tensor, tuple[int, ...]]:
    """Return, for every parameter, the axes over which adaptive gradient clipping takes its norms.

    They are those that optax takes on the same layer written in Flax. Scalars and vectors (also with axes of length
    1): all axes. Linear, convolution, attention: all but the output unit's. Embedding tables, and bare parameters,
    which have no other layout: the first axis of matrices, that is over the vocabulary, one norm for each of the dim
    columns. A tied parameter counts as what it is where the model names it first.
    """
    axes: dict[Tensor, tuple[int, ...]] = {}
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            axes.setdefault(parameter, _axes_in(module, parameter))
    return axes


@torch.no_grad()
def adaptive_grad_clip_(
    parameters: Iterable[Tensor], clipping: float, *, eps: float = 1e-3, axes: Axes | None = None
) -> None:
    """Scale gradients in place so that no unit's norm exceeds `clipping` × max(its weights' norm, `eps`).

    axes: from `unit_axes`; a parameter that it does not hold counts as a linear or convolution weight. Parameters
    without a gradient are left out. Source: Brock 2021, eq. 3; as in optax 0.0.9.
    """
    axes = axes or {}
    for parameter in parameters:
        if parameter.grad is None:
            continue
        over = axes[parameter] if parameter in axes else _output_first(parameter)
        gradient = parameter.grad
        norm = torch.linalg.vector_norm(gradient, dim=over, keepdim=True)
        allowed = torch.linalg.vector_norm(parameter.detach(), dim=over, keepdim=True).clamp_min_(eps).mul_(clipping)
        gradient.mul_(torch.where(norm < allowed, torch.ones_like(norm), allowed / norm.clamp_min(1e-6)))


def align_gradients(parameters: Iterable[Tensor]) -> None:
    """Give each gradient its parameter's strides, which a GPU's fused step demands even along axes of length 1.

    There a convolution's backward pass may write others; along all other axes autograd keeps them equal.
    """
    for parameter in parameters:
        gradient = parameter.grad
        if gradient is not None and gradient.stride() != parameter.stride():
            parameter.grad = gradient.as_strided(parameter.shape, parameter.stride())


class AdaBelief(torch.optim.Optimizer):
    """Steps divided by how far the gradient strays from its running mean, after optional adaptive gradient clipping.

    With g the (clipped) gradient and t counting from 1:

        e = g − m        m += (1 − β₁) e        v = β₂ v + (1 − β₂) e²
        p −= lr · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ) + eps_root) + eps)

    groups: parameters, or dicts of "params" with their own "lr", "weight_decay", "betas" or "clipping". clipping:
    largest ratio of a unit's gradient to its weights, None for none; gradients are then changed in place. axes: from
    `unit_axes`, not part of `state_dict`. weight_decay: decoupled, p −= lr · weight_decay · p, as in AdamW; the paper
    used none. The defaults are optax 0.0.9's. Source: Zhuang 2020, algorithm 2.
    """

    def __init__(
        self,
        groups: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 0.0,
        eps_root: float = 1e-16,
        weight_decay: float = 0.0,
        clipping: float | None = None,
        axes: Axes | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "eps_root": eps_root,
            "weight_decay": weight_decay,
            "clipping": clipping,
        }
        self.axes = axes
        super().__init__(groups, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; returns what `closure` returns."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            active = [p for p in group["params"] if p.grad is not None]
            for bucket in _buckets(active):
                if group["clipping"] is not None:
                    adaptive_grad_clip_(bucket, group["clipping"], axes=self.axes)
                self._update(bucket, group)
        return loss

    def _update(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        states = [self._state_of(p) for p in parameters]
        mean, variance = [s["mean"] for s in states], [s["variance"] for s in states]
        beta1, beta2 = group["betas"]
        error = torch._foreach_sub([p.grad for p in parameters if p.grad is not None], mean)
        torch._foreach_add_(mean, error, alpha=1 - beta1)
        torch._foreach_mul_(variance, beta2)
        torch._foreach_addcmul_(variance, error, error, 1 - beta2)
        # A parameter unfrozen late has its own count, so the corrections differ from one to the next. √(1 − β₂ᵗ) is
        # taken out of the root and put into the rate, which saves a pass over memory.
        correction = [1 - beta2 ** s["step"] for s in states]
        rate = [-group["lr"] * c**0.5 / (1 - beta1 ** s["step"]) for c, s in zip(correction, states, strict=True)]
        root = torch._foreach_add(variance, [group["eps_root"] * c for c in correction])
        torch._foreach_sqrt_(root)
        if group["eps"]:
            torch._foreach_add_(root, [group["eps"] * c**0.5 for c in correction])
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_addcdiv_(parameters, mean, root, rate)

    def _state_of(self, parameter: Tensor) -> dict[str, Any]:
        state = self.state[parameter]
        if not state:
            state.update(step=0, mean=torch.zeros_like(parameter), variance=torch.zeros_like(parameter))
        state["step"] += 1
        return state


def build_optimizer(
    name: str,
    groups: Sequence[dict[str, Any]],
    *,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 0.0,
    clipping: float | None = None,
    axes: Axes | None = None,
) -> torch.optim.Optimizer:
    """Make the optimiser called `name` in OPTIMIZERS; each group is {"params", "lr"} and what else is its own.

    betas: decay of the running moments; sgd takes the first as its (Nesterov) momentum. clipping, axes: adaptive
    gradient clipping before every step, for any of them; the paper's is "adabelief" with 0.01. Raises BadRecipe for an
    unknown name.

    >>> build_optimizer("adabelief", [{"params": model.parameters(), "lr": 8e-5}],      # doctest: +SKIP
    ...                 clipping=0.01, axes=unit_axes(model))
    """
    if name not in OPTIMIZERS:
        raise BadRecipe(f'no optimiser is called "{name}"; there are {", ".join(OPTIMIZERS)}')
    assert all("lr" in group for group in groups), "every group needs its own lr"
    return OPTIMIZERS[name](groups, betas, weight_decay, clipping, axes)


def _adabelief(
    groups: Any, betas: tuple[float, float], weight_decay: float, clipping: float | None, axes: Axes | None
) -> torch.optim.Optimizer:
    return AdaBelief(groups, betas=betas, weight_decay=weight_decay, clipping=clipping, axes=axes)


def _adamw(
    groups: Any, betas: tuple[float, float], weight_decay: float, clipping: float | None, axes: Axes | None
) -> torch.optim.Optimizer:
    optimizer = torch.optim.AdamW(groups, betas=betas, weight_decay=weight_decay, fused=True)

    def align(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for group in optimizer.param_groups:
            align_gradients(group["params"])

    optimizer.register_step_pre_hook(align)
    return _clipped(optimizer, clipping, axes)


def _sgd(
    groups: Any, betas: tuple[float, float], weight_decay: float, clipping: float | None, axes: Axes | None
) -> torch.optim.Optimizer:
    momentum = betas[0]
    optimizer = torch.optim.SGD(groups, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0)
    return _clipped(optimizer, clipping, axes)


def _clipped(optimizer: torch.optim.Optimizer, clipping: float | None, axes: Axes | None) -> torch.optim.Optimizer:
    if clipping is None:
        return optimizer

    def clip(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any, ratio: float = clipping) -> None:
        for group in optimizer.param_groups:
            adaptive_grad_clip_(group["params"], ratio, axes=axes)

    optimizer.register_step_pre_hook(clip)
    return optimizer


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {"adabelief": _adabelief, "adamw": _adamw, "sgd": _sgd}


def _axes_in(module: nn.Module, parameter: Tensor) -> tuple[int, ...]:
    if isinstance(module, _OUTPUT_FIRST):
        return _output_first(parameter)
    if parameter.squeeze().ndim <= 1:
        return tuple(range(parameter.ndim))
    return (0,) if parameter.ndim <= 3 else tuple(range(parameter.ndim - 1))


def _output_first(parameter: Tensor) -> tuple[int, ...]:
    if parameter.squeeze().ndim <= 1:
        return tuple(range(parameter.ndim))
    return tuple(range(1, parameter.ndim))


def _buckets(parameters: list[Tensor]) -> Iterator[list[Tensor]]:
    """Cut the list into runs of one device: small ones on a CPU, whole ones where launching kernels costs most."""
    bucket: list[Tensor] = []
    size = 0
    for parameter in parameters:
        on_cpu = parameter.device.type == "cpu"
        full = on_cpu and size + parameter.numel() > _BUCKET
        if bucket and (full or parameter.device != bucket[0].device):
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += parameter.numel()
    if bucket:
        yield bucket

"""Learning rates over a run, as factors of a group's own rate.

Public names: warmup_cosine, warmup_linear, warmup_constant, SCHEDULES.

Each takes `step`, the number of updates already made, `steps`, those of the whole run, and `warmup`, those of the
linear rise from 0; the factor reaches 1 at `warmup` and is 0 at the very first update, as in the optax schedules that
the paper joined. Past `steps` it stays what it is at the end.
"""

import math
from collections.abc import Callable


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """Rise linearly from 0 to 1, then fall to 0 over the remaining steps along half a cosine: the paper's schedule.

    Source: run_hybrid_clip.py of CLIP-Italian; Loshchilov 2017, eq. 5, without restarts.
    """
    if step < warmup:
        return step / warmup
    return 0.5 * (1 + math.cos(math.pi * _progress(step, steps, warmup)))


def warmup_linear(step: int, steps: int, warmup: int) -> float:
    """Rise linearly from 0 to 1, then fall linearly to 0 over the remaining steps."""
    if step < warmup:
        return step / warmup
    return 1 - _progress(step, steps, warmup)


def warmup_constant(step: int, steps: int, warmup: int) -> float:
    """Rise linearly from 0 to 1 and stay there."""
    return min(1.0, step / warmup) if warmup else 1.0


SCHEDULES: dict[str, Callable[[int, int, int], float]] = {
    "cosine": warmup_cosine,
    "linear": warmup_linear,
    "constant": warmup_constant,
}


def _progress(step: int, steps: int, warmup: int) -> float:
    return min(1.0, (step - warmup) / (steps - warmup)) if warmup < steps else 0.0

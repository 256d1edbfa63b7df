"""Schedules against their formulas."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_italian.training.schedules import SCHEDULES, warmup_constant, warmup_cosine, warmup_linear

RUNS = st.tuples(st.integers(1, 5000), st.floats(0, 1), st.integers(0, 6000)).map(
    lambda r: (r[2], r[0], int(r[1] * r[0]))
)


def test_paper_schedule_by_hand():
    factors = [warmup_cosine(step, 20, 4) for step in (0, 1, 2, 4, 8, 12, 16, 20)]
    half = math.sqrt(0.5)
    assert factors == pytest.approx([0, 0.25, 0.5, 1, (1 + half) / 2, 0.5, (1 - half) / 2, 0])


def test_linear_and_constant_by_hand():
    assert [warmup_linear(step, 20, 4) for step in (0, 2, 4, 8, 12, 20)] == pytest.approx([0, 0.5, 1, 0.75, 0.5, 0])
    assert [warmup_constant(step, 20, 4) for step in (0, 1, 4, 12, 20)] == pytest.approx([0, 0.25, 1, 1, 1])


@given(RUNS)
def test_cosine_is_the_formula(run):
    step, steps, warmup = run
    if step < warmup:
        expected = step / warmup
    elif step >= steps:
        expected = 0.0 if warmup < steps else 1.0
    else:
        expected = math.cos(math.pi / 2 * (step - warmup) / (steps - warmup)) ** 2
    assert warmup_cosine(*run) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
@given(run=RUNS)
def test_factors_stay_in_the_unit_interval_and_turn_once(name, run):
    _, steps, warmup = run
    factors = [SCHEDULES[name](step, steps, warmup) for step in sorted({0, warmup // 2, warmup, steps, steps + 9})]
    assert all(0 <= factor <= 1 for factor in factors)
    assert SCHEDULES[name](warmup, steps, warmup) == 1
    down = [SCHEDULES[name](step, steps, warmup) for step in range(warmup, steps + 1, max(1, steps // 50))]
    assert down == sorted(down, reverse=True)
    up = [SCHEDULES[name](step, steps, warmup) for step in range(0, warmup + 1, max(1, warmup // 50))]
    assert up == sorted(up)


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_warm_up_starts_at_the_full_rate(name):
    assert SCHEDULES[name](0, 10, 0) == 1

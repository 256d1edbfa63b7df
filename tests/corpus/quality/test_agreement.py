import json
import math
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from clip_italian.corpus.quality.agreement import WEIGHTS, gwet, two_sided_t, weight_matrix

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text())["agreement"]
N = math.nan

# Gwet 2014, table 2.10: four raters, twelve units, five categories (irrCAC calls it cac.raw4raters).
FOUR_RATERS = [
    [1, 1, N, 1],
    [2, 2, 3, 2],
    [3, 3, 3, 3],
    [3, 3, 3, 3],
    [2, 2, 2, 2],
    [1, 2, 3, 4],
    [4, 4, 4, 4],
    [1, 1, 2, 1],
    [2, 2, 2, 2],
    [N, 5, 5, 5],
    [N, N, 1, 1],
    [N, N, 3, N],
]
# How many of six psychiatrists gave each of 15 patients each of five diagnoses (Fleiss 1971; distrib.6raters).
DIAGNOSES = [
    [0, 0, 0, 6, 0],
    [0, 3, 0, 0, 3],
    [0, 1, 4, 0, 1],
    [0, 0, 0, 0, 6],
    [0, 3, 0, 3, 0],
    [2, 0, 4, 0, 0],
    [0, 0, 4, 0, 2],
    [2, 0, 3, 1, 0],
    [2, 0, 0, 4, 0],
    [0, 0, 0, 0, 6],
    [1, 0, 0, 5, 0],
    [1, 1, 0, 4, 0],
    [0, 3, 3, 0, 0],
    [1, 0, 0, 5, 0],
    [0, 2, 0, 3, 1],
]
# Two abstractors who sorted 100 pregnancies into three kinds (Gwet 2014; cont3x3abstractors).
ABSTRACTORS = [[13, 0, 0], [0, 20, 7], [0, 4, 56]]
# Five observers, fifteen units, values 0 to 3 (Gwet 2014; cac.raw5obser).
FIVE_OBSERVERS = np.array(
    [
        [1, 1, 2, N, 0, 0, 1, 1, 2, 2, N, 0, 1, 3, 1],
        [1, 1, 3, 0, 0, 0, 0, N, 2, 1, 1, 0, 2, 3, 1],
        [2, 0, 3, 0, 0, 0, 2, 2, 2, 1, 0, 0, 2, 2, 1],
        [N, 1, 3, N, N, N, N, 0, N, 1, 0, 0, 2, 2, N],
        [2, N, N, 0, 0, 0, 1, N, 2, N, N, N, N, 3, 1],
    ]
).T


def from_counts(table):
    return np.array([[k for k, count in enumerate(row) for _ in range(count)] for row in table], float)


def from_contingency(table):
    return np.array([[i, j] for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)], float)


# Printed in Gwet's irrCAC: README and vignette "Weighted Chance-corrected Agreement Coefficients" (2021-08-15, commit
# 00b8451); linear and ordinal ones in the tests of its Python port (afergadis/irrCAC, commit 0c7676d, three places).
PUBLISHED = [
    # ratings, weights, value, standard error, interval, observed, chance, places
    (FOUR_RATERS, "identity", 0.77544, 0.14295, (0.461, 1), 0.8181818, 0.1903212, 5),
    (FOUR_RATERS, "quadratic", 0.914, 0.10396, (0.685, 1), 0.9753788, 0.7137044, 5),
    (FOUR_RATERS, "ordinal", 0.899, 0.107, (0.664, 1), 0.968, 0.685, 3),
    (FOUR_RATERS, "linear", 0.859, 0.117, (0.600, 1), 0.939, 0.571, 3),
    (FIVE_OBSERVERS, "identity", 0.497, 0.122, (0.235, 0.758), 0.616, 0.236, 3),
    (from_counts(DIAGNOSES), "identity", 0.4448007, 0.08418757, (0.264, 0.625), 0.5511111, 0.1914815, 7),
    (from_counts(DIAGNOSES), "quadratic", 0.4837438, 0.1058227, (0.257, 0.711), 0.8544444, 0.7180556, 7),
]


@pytest.mark.parametrize(
    ("ratings", "weights", "value", "error", "interval", "observed", "chance", "places"), PUBLISHED
)
def test_published_examples(ratings, weights, value, error, interval, observed, chance, places):
    found = gwet(np.array(ratings), weights=weights)
    printed = 0.51 * 10.0**-places
    assert found.value == pytest.approx(value, abs=printed)
    assert found.standard_error == pytest.approx(error, abs=printed)
    assert (round(found.low, 3), round(found.high, 3)) == interval
    assert (found.observed, found.chance) == pytest.approx((observed, chance), abs=printed)


@pytest.mark.parametrize(
    ("weights", "value", "error", "interval"),
    [("identity", 0.8493305, 0.04321747, (0.764, 0.935)), ("quadratic", 0.9402369, 0.01792019, (0.905, 0.976))],
)
def test_published_contingency_tables(weights, value, error, interval):
    found = gwet(from_contingency(ABSTRACTORS), weights=weights)
    assert round(found.value, 7) == value
    # For two raters' tables Gwet divides the variance by n, for any number of raters by n - 1 (Gwet 2014, 5.3).
    assert round(found.standard_error * math.sqrt(99 / 100), 8) == error
    assert found.low == pytest.approx(interval[0], abs=0.0011)
    assert found.high == pytest.approx(interval[1], abs=0.0011)


@pytest.mark.parametrize("case", GOLDEN, ids=lambda case: f"{case['name']}, {str(case['weights'])[:9]}")
def test_as_irrcac(case):
    ratings = np.array(case["ratings"], dtype=float)
    weights = case["weights"] if isinstance(case["weights"], str) else np.array(case["weights"])
    found = gwet(ratings, weights=weights, categories=case["categories"])
    for name in ("value", "standard_error", "observed", "chance"):
        assert getattr(found, name) == pytest.approx(case[name], abs=2e-12), name
    # The older scipy that irrCAC ran on has Student's quantiles to nine places only.
    assert (found.low, found.high) == pytest.approx((case["low"], case["high"]), abs=2e-9)


def by_hand(ratings, weight, categories):
    """Gwet's estimate, pair of raters by pair of raters, in plain loops; its error by the formula written out."""
    items = [[r for r in row if not math.isnan(r)] for row in ratings]
    items = [row for row in items if row]
    n, q = len(items), len(categories)
    agreement = {}
    for i, row in enumerate(items):
        pairs = [weight[categories.index(a)][categories.index(b)] for a, b in permutations(row, 2)]
        if pairs:
            agreement[i] = sum(pairs) / len(pairs)
    observed = sum(agreement.values()) / len(agreement)
    share = [sum(row.count(k) / len(row) for row in items) / n for k in categories]
    total = sum(sum(row) for row in weight)
    chance = total / (q * (q - 1)) * sum(p * (1 - p) for p in share)
    value = (observed - chance) / (1 - chance)
    squares = 0.0
    for i, row in enumerate(items):
        own = n / len(agreement) * (agreement[i] - chance) / (1 - chance) if i in agreement else 0.0
        own_chance = (
            total
            / (q * (q - 1))
            * sum(row.count(k) / len(row) * (1 - p) for k, p in zip(categories, share, strict=True))
        )
        squares += (own - 2 * (1 - value) * (own_chance - chance) / (1 - chance) - value) ** 2
    error = math.sqrt(squares / n / (n - 1))
    return value, error, value - stats.t.ppf(0.975, n - 1) * error, min(1, value + stats.t.ppf(0.975, n - 1) * error)


RATING = st.one_of(st.sampled_from([1.0, 2.0, 3.0, 4.0]), st.just(N))
TABLES = st.integers(2, 6).flatmap(
    lambda raters: st.lists(st.lists(RATING, min_size=raters, max_size=raters), min_size=2, max_size=14)
)


@settings(max_examples=150, deadline=None)
@given(TABLES, st.sampled_from(sorted(WEIGHTS)))
def test_as_plain_loops(rows, weights):
    ratings, categories = np.array(rows), [1.0, 2.0, 3.0, 4.0]
    counts = (~np.isnan(ratings)).sum(axis=1)
    if (counts > 0).sum() < 2 or counts.max() < 2:
        with pytest.raises(ValueError, match="two"):
            gwet(ratings, weights=weights, categories=categories)
        return
    found = gwet(ratings, weights=weights, categories=categories)
    expected = by_hand(rows, weight_matrix(weights, np.array(categories)).tolist(), categories)
    assert (found.value, found.standard_error, found.low, found.high) == pytest.approx(expected, abs=1e-11)
    assert found.items == (counts > 0).sum()


@settings(max_examples=60, deadline=None)
@given(TABLES, st.randoms(use_true_random=False))
def test_order_of_items_and_raters_does_not_matter(rows, random):
    ratings = np.array(rows)
    if (np.isfinite(ratings).sum(axis=1) > 0).sum() < 2 or np.isfinite(ratings).sum(axis=1).max() < 2:
        return
    first = gwet(ratings, categories=(1, 2, 3, 4))
    items, raters = list(range(ratings.shape[0])), list(range(ratings.shape[1]))
    random.shuffle(items)
    random.shuffle(raters)
    again = gwet(ratings[items][:, raters], categories=(1, 2, 3, 4))
    assert again.value == pytest.approx(first.value, abs=1e-12)
    assert again.standard_error == pytest.approx(first.standard_error, abs=1e-12)


def test_all_agree():
    found = gwet(np.full((20, 3), 4.0), categories=(1, 2, 3, 4))
    assert (found.value, found.low, found.high, found.standard_error) == (1, 1, 1, 0)
    assert gwet(np.full((20, 3), 4.0)).value == 1  # one category in use: agreement by chance cannot be told, 0


def test_items_and_raters_without_ratings_do_not_count():
    found = gwet(np.array([[1, 2, N], [N, N, N], [2, 2, N], [1, 1, N]]), categories=(1, 2))
    assert (found.items, found.raters) == (3, 2)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 7, 30, 99, 100, 1001])
def test_student(freedom):
    assert two_sided_t(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-11)


TWO = np.array([[1, 1], [1, 2]], float)


@pytest.mark.parametrize(
    ("ratings", "options", "message"),
    [
        (TWO[0], {}, "items × raters"),
        (TWO, {"weights": "kappa"}, "no weights called 'kappa'; choose one of identity, ordinal, linear, quadratic"),
        (TWO, {"weights": np.eye(3)}, "weights of 2 categories are 2 × 2, not 3 × 3"),
        (TWO, {"weights": np.array([[1, 0.5], [0.4, 1]])}, "symmetric"),
        (TWO, {"weights": np.array([[1, 2], [2, 1.0]])}, "between 0 and 1"),
        (TWO, {"weights": np.array([[1, N], [N, 1.0]])}, "between 0 and 1"),
        (np.array([[1, 2], [2, 1]]), {"weights": np.ones((2, 2))}, "nothing to measure"),
        (TWO, {"categories": (1, 3)}, "a rating of 2 is none of 1, 3"),
        (TWO, {"categories": (2, 1)}, "ascending"),
        (TWO[:1], {}, "1 rated items"),
        (np.array([[1, N], [N, 2]]), {}, "no item was rated by two"),
        (np.array([[1, np.inf], [1, 2]]), {}, "infinite"),
    ],
)
def test_refused(ratings, options, message):
    with pytest.raises(ValueError, match=message):
        gwet(ratings, **options)

"""How far raters agree beyond chance: Gwet's AC1 and AC2 with standard error and 95 % interval.

Public names: Agreement, gwet, weight_matrix, WEIGHTS.

Source: Gwet 2008, "Computing inter-rater reliability and its variance in the presence of high agreement"; Gwet 2014,
Handbook of Inter-Rater Reliability, 4th edition, chapters 2, 3 and 5 (weights, any number of raters, missing ratings).
AC1 has identity weights; with any others the coefficient is called AC2, though the paper says "AC1, ordinal weights".
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_BISECTIONS = 60  # halvings of an interval of 11: past the last digit of a double


@dataclass(frozen=True)
class Agreement:
    """A coefficient of agreement and what it was made of.

    value: 1 when all agree, 0 when they agree as often as by chance, below 0 when less. low, high: ends of the 95 %
    interval (Student's t, items - 1 degrees of freedom), high at most 1, low not bounded. observed, chance: weighted
    agreement seen, and expected by chance. items: with one rating or more. raters: with one rating or more.
    """

    value: float
    low: float
    high: float
    standard_error: float
    observed: float
    chance: float
    items: int
    raters: int


def gwet(
    ratings: np.ndarray, *, weights: str | np.ndarray = "ordinal", categories: Sequence[float] | None = None
) -> Agreement:
    """Compute Gwet's AC1 (weights="identity") or AC2 of numeric ratings.

    ratings: (items, raters), NaN where a rater did not rate. weights: a name in WEIGHTS, or a symmetric
    (categories, categories) array in [0, 1] with ones on the diagonal. categories: all values a rater could choose,
    ascending; None takes those that occur. Name them when you know them: a value nobody chose still counts for chance.
    Raises ValueError: no two ratings of one item, fewer than two items, a rating outside the categories, bad weights.

    >>> answers = np.array([[4, 4], [4, 3], [1, 1], [2, 2]])
    >>> round(gwet(answers, categories=(1, 2, 3, 4)).value, 3)
    0.878
    """
    ratings = np.asarray(ratings, np.float64)
    if ratings.ndim != 2:
        raise ValueError(f"ratings are items × raters, an array of two axes, not of {ratings.ndim}")
    given = ~np.isnan(ratings)
    ratings = ratings[given.any(axis=1)][:, given.any(axis=0)]
    values = _categories(ratings, categories)
    matrix = weight_matrix(weights, values)
    counts = np.stack([(ratings == value).sum(axis=1) for value in values], axis=1).astype(np.float64)
    if len(counts) < 2:
        raise ValueError(f"{len(counts)} rated items; an interval takes two at least")
    if (counts.sum(axis=1) < 2).all():
        raise ValueError("no item was rated by two raters; agreement takes two ratings of one item")
    return _coefficient(counts, matrix, ratings.shape[1])


def _coefficient(counts: np.ndarray, weights: np.ndarray, raters: int) -> Agreement:
    """Compute the coefficient from (items, categories) numbers of raters who chose each category."""
    n, q = counts.shape
    rated = counts.sum(axis=1)
    pairs = rated * (rated - 1)
    agreeing = (counts * (counts @ weights.T - 1)).sum(axis=1)  # ordered pairs of raters, weighted by how near they are
    observed_by_item = np.divide(agreeing, pairs, out=np.zeros(n), where=pairs > 0)
    paired = int((pairs > 0).sum())
    observed = float(observed_by_item.sum() / paired)

    prevalence = (counts / rated[:, None]).mean(axis=0)
    scale = weights.sum() / (q * (q - 1)) if q > 1 else 0.0
    chance = float(scale * (prevalence * (1 - prevalence)).sum())
    if chance >= 1:
        raise ValueError("these weights call every pair of ratings an agreement; there is nothing to measure")
    value = (observed - chance) / (1 - chance)

    # An item's share of the coefficient, and what its ratings do to the estimate of chance (Gwet 2014, section 5.3).
    chance_by_item = scale * (counts @ (1 - prevalence)) / rated
    share = (n / paired) * np.where(pairs > 0, observed_by_item - chance, 0.0) / (1 - chance)
    share -= 2 * (1 - value) * (chance_by_item - chance) / (1 - chance)
    error = math.sqrt(float(((share - value) ** 2).sum()) / (n * (n - 1)))
    reach = error * two_sided_t(n - 1)
    return Agreement(value, value - reach, min(1.0, value + reach), error, observed, chance, n, raters)


def weight_matrix(weights: str | np.ndarray, categories: np.ndarray) -> np.ndarray:
    """Return the (categories, categories) weights of each pair of ratings: 1 for equal ones, less the further apart.

    Linear and quadratic ones go by the categories' values, ordinal ones by their ranks. Raises ValueError.
    """
    q = len(categories)
    if isinstance(weights, str):
        if weights not in WEIGHTS:
            raise ValueError(f"there are no weights called {weights!r}; choose one of {', '.join(WEIGHTS)}")
        return WEIGHTS[weights](np.asarray(categories, np.float64))
    matrix = np.asarray(weights, np.float64)
    if matrix.shape != (q, q):
        raise ValueError(f"weights of {q} categories are {q} × {q}, not {' × '.join(map(str, matrix.shape))}")
    if not (np.isfinite(matrix).all() and (matrix >= 0).all() and (matrix <= 1).all()):
        raise ValueError("weights lie between 0 and 1")
    if not (np.diag(matrix) == 1).all() or not np.array_equal(matrix, matrix.T):
        raise ValueError("weights are symmetric, and 1 on the diagonal")
    return matrix


def _identity(categories: np.ndarray) -> np.ndarray:
    return np.eye(len(categories))


def _ordinal(categories: np.ndarray) -> np.ndarray:
    rank = np.arange(len(categories))
    apart = np.abs(rank[:, None] - rank)
    between = apart * (apart + 1) / 2  # how many pairs can be drawn from the ranks from one rating to the other
    return 1 - between / max(1, between.max())


def _by_distance(power: int) -> Callable[[np.ndarray], np.ndarray]:
    def weights(categories: np.ndarray) -> np.ndarray:
        apart = np.abs(categories[:, None] - categories) ** power
        return 1 - apart / (apart.max() or 1.0)

    return weights


WEIGHTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": _identity,
    "ordinal": _ordinal,
    "linear": _by_distance(1),
    "quadratic": _by_distance(2),
}


def two_sided_t(freedom: int) -> float:
    """Return the t that Student's t with `freedom` degrees exceeds, either way, in 5 % of cases.

    Source: Abramowitz & Stegun 1964, 26.7.3 and 26.7.4, which are exact for whole degrees of freedom; bisected.
    """
    low, high = 1.9, 13.0  # from normal to Cauchy
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, freedom) < 0.95 else (low, middle)
    return (low + high) / 2


def _within(t: float, freedom: int) -> float:
    """Return the probability that |Student's t| stays below `t`."""
    angle = math.atan(t / math.sqrt(freedom))
    square = math.cos(angle) ** 2
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= square * (k - 1) / k
        total += term
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total


def _categories(ratings: np.ndarray, categories: Sequence[float] | None) -> np.ndarray:
    used = np.unique(ratings[~np.isnan(ratings)])
    if not np.isfinite(used).all():
        raise ValueError("a rating is infinite; missing ones are NaN")
    if categories is None:
        return used
    values = np.asarray(categories, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all() or not (np.diff(values) > 0).all():
        raise ValueError("categories are numbers in ascending order, each once")
    strange = np.setdiff1d(used, values)
    if len(strange):
        raise ValueError(f"a rating of {strange[0]:g} is none of {', '.join(f'{value:g}' for value in values)}")
    return values

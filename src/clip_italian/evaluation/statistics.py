"""How far a score would move with other data of the same kind: 95 % percentile bootstrap intervals (Efron 1979).

Public names: Interval, bootstrap_means, bootstrap_median.

What is drawn again is a group, not a row: captions of one picture are alike, and drawing them one by one would make the
intervals too narrow. Same seed and same groups give the same draws, so intervals of several scores belong together.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

RESAMPLES = 2000

_BLOCK = 1 << 22  # counts held at once: 32 MB of int64
_QUANTILES = (0.025, 0.975)


@dataclass(frozen=True)
class Interval:
    """A score and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def bootstrap_means(
    values: Mapping[str, np.ndarray], groups: np.ndarray | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Average each named score over its rows, with intervals.

    values: name → (n,) numbers, one per row. groups: (n,) labels of what is drawn together, None when every row stands
    alone. Raises ValueError when there are no rows.
    """
    columns = np.stack([np.asarray(value, np.float64) for value in values.values()], axis=1)
    owner, n_groups = _number(groups, len(columns))
    totals = np.zeros((n_groups, columns.shape[1] + 1))  # per group: the sum of each score, and how many rows
    np.add.at(totals, owner, np.hstack([columns, np.ones((len(columns), 1))]))
    sums = np.concatenate([counts @ totals for counts in _draws(n_groups, n_groups, resamples, seed)])
    low, high = np.quantile(sums[:, :-1] / sums[:, -1:], _QUANTILES, axis=0)
    means = columns.mean(axis=0)
    return {name: Interval(float(means[i]), float(low[i]), float(high[i])) for i, name in enumerate(values)}


def bootstrap_median(
    values: np.ndarray, groups: np.ndarray | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> Interval:
    """Take the median of (n,) numbers, with its interval; groups and errors as in `bootstrap_means`."""
    owner, n_groups = _number(groups, len(values))
    order = np.argsort(values, kind="stable")
    ordered, owner = np.asarray(values, np.float64)[order], owner[order]
    medians = []
    for counts in _draws(n_groups, len(values), resamples, seed):
        upto = counts[:, owner].cumsum(axis=1)  # how many drawn rows stand at or before each place
        total = upto[:, -1:]
        lower = (upto >= (total + 1) // 2).argmax(axis=1)
        upper = (upto >= total // 2 + 1).argmax(axis=1)
        medians.append((ordered[lower] + ordered[upper]) / 2)
    low, high = np.quantile(np.concatenate(medians), _QUANTILES)
    return Interval(float(np.median(ordered)), float(low), float(high))


def _number(groups: np.ndarray | None, n: int) -> tuple[np.ndarray, int]:
    if n == 0:
        raise ValueError("no rows to average")
    if groups is None:
        return np.arange(n), n
    names, owner = np.unique(np.asarray(groups), return_inverse=True)
    if len(owner) != n:
        raise ValueError(f"{len(owner)} groups for {n} rows")
    return owner, len(names)


def _draws(n_groups: int, width: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield (some, n_groups) int64: how often each group was drawn; `width` is what the caller holds per resample."""
    generator = np.random.default_rng(seed)
    step = max(1, _BLOCK // max(n_groups, width))
    for start in range(0, resamples, step):
        some = min(step, resamples - start)
        drawn = generator.integers(n_groups, size=(some, n_groups))
        drawn += n_groups * np.arange(some)[:, None]
        yield np.bincount(drawn.ravel(), minlength=some * n_groups).reshape(some, n_groups)

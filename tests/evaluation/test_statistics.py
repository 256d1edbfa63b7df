import numpy as np
import pytest
import scipy.stats

from clip_italian.evaluation import statistics
from clip_italian.evaluation.statistics import Interval, bootstrap_means, bootstrap_median


def brute_force(statistic, values, groups, resamples, seed):
    """Draw groups, lay out all their rows, compute, and take the quantiles: the definition, one resample at a time."""
    members = [np.asarray(values)[groups == name] for name in np.unique(groups)]
    drawn = np.random.default_rng(seed).integers(len(members), size=(resamples, len(members)))
    found = [statistic(np.concatenate([members[i] for i in row])) for row in drawn]
    return Interval(statistic(np.asarray(values)), *np.quantile(found, [0.025, 0.975]))


@pytest.mark.parametrize("block", [1, 100, 1 << 22])
@pytest.mark.parametrize("seed", [0, 5])
def test_equals_the_definition_for_any_block(monkeypatch, block, seed):
    monkeypatch.setattr(statistics, "_BLOCK", block)
    generator = np.random.default_rng(seed)
    values, groups = generator.integers(1, 30, size=41), generator.choice(["a", "b", "c", "d", "e", "f"], size=41)
    mean = bootstrap_means({"x": values}, groups, resamples=60, seed=seed)["x"]
    median = bootstrap_median(values, groups, resamples=60, seed=seed)
    for ours, statistic in ((mean, np.mean), (median, np.median)):
        expected = brute_force(statistic, values, groups, 60, seed)
        assert [ours.value, ours.low, ours.high] == pytest.approx([expected.value, expected.low, expected.high])


def test_agrees_with_scipy_when_rows_stand_alone():
    values = np.random.default_rng(4).exponential(size=200)
    ours = bootstrap_means({"x": values}, resamples=20_000)["x"]
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=1)
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval), abs=0.01)


def test_intervals_by_picture_cover_the_truth_and_those_by_caption_do_not():
    """Captions of one picture agree, as they do in life; 95 % of the intervals must hold the true mean 0.5."""
    generator = np.random.default_rng(6)
    groups = np.repeat(np.arange(80), 5)
    by_picture = by_caption = 0
    for trial in range(300):
        easy = generator.beta(0.5, 0.5, size=80)
        found = (generator.random(400) < easy[groups]).astype(float)
        by_picture += _covers(bootstrap_means({"x": found}, groups, resamples=400, seed=trial)["x"], 0.5)
        by_caption += _covers(bootstrap_means({"x": found}, resamples=400, seed=trial)["x"], 0.5)
    assert 0.91 <= by_picture / 300 <= 0.98
    assert by_caption / 300 < 0.85


def test_scores_of_one_call_share_their_draws():
    values = np.random.default_rng(7).random(50)
    both = bootstrap_means({"a": values, "b": 2 * values})
    assert (both["b"].low, both["b"].high) == pytest.approx((2 * both["a"].low, 2 * both["a"].high))
    assert both == bootstrap_means({"a": values, "b": 2 * values})


def test_one_group_leaves_nothing_to_draw():
    assert bootstrap_means({"x": np.array([1.0, 3.0])}, np.array([4, 4]))["x"] == Interval(2.0, 2.0, 2.0)
    assert bootstrap_median(np.array([1, 2, 9]), np.zeros(3)) == Interval(2.0, 2.0, 2.0)


def test_no_rows_and_wrong_groups_are_refused():
    with pytest.raises(ValueError, match="no rows"):
        bootstrap_means({"x": np.array([])})
    with pytest.raises(ValueError, match="3 groups for 2 rows"):
        bootstrap_median(np.array([1, 2]), np.zeros(3))


def _covers(interval, truth):
    return interval.low <= truth <= interval.high

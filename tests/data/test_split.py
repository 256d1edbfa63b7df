"""The split by picture: stable, apart, near its share."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clip_italian.data.sample import ImageRef, Sample
from clip_italian.data.split import split

keys = st.lists(st.text(max_size=8), max_size=60)


def samples_of(names: list[str]) -> list[Sample]:
    return [Sample(name, ImageRef(Path(name or "_"))) for name in names]


@given(keys, st.integers(0, 5), st.floats(0.01, 0.99))
def test_every_sample_lands_once_and_in_order(names, seed, valid):
    samples = samples_of(names)
    train, kept = split(samples, valid=valid, seed=seed)
    sides = {id(s): "train" for s in train} | {id(s): "valid" for s in kept}
    assert len(sides) == len(samples) == len(train) + len(kept)
    assert train == [s for s in samples if sides[id(s)] == "train"]
    assert kept == [s for s in samples if sides[id(s)] == "valid"]


@given(keys, st.integers(0, 5), st.floats(0.01, 0.99))
def test_samples_of_one_picture_stay_together_and_no_side_is_empty(names, seed, valid):
    train, kept = split(samples_of(names + names[::2]), valid=valid, seed=seed)
    assert not {s.key for s in train} & {s.key for s in kept}
    if len(set(names)) >= 2:
        assert train
        assert kept


@given(st.permutations([f"foto{i}" for i in range(40)]))
def test_order_does_not_matter(names):
    assert {s.key for s in split(samples_of(names))[1]} == {
        s.key for s in split(samples_of([f"foto{i}" for i in range(40)]))[1]
    }


@given(st.sets(st.integers(0, 599), min_size=100, max_size=120))
def test_a_picture_keeps_its_side_when_others_come(some):
    everything = [f"foto{i}.jpg" for i in range(600)]
    kept = {s.key for s in split(samples_of(everything), valid=0.2)[1]}
    part = [f"foto{i}.jpg" for i in some]
    assert {s.key for s in split(samples_of(part), valid=0.2)[1]} == kept & set(part)


def test_share_and_seed():
    samples = samples_of([f"foto{i}.jpg" for i in range(20_000)])
    kept = {s.key for s in split(samples)[1]}
    assert abs(len(kept) - 1000) < 100
    other = {s.key for s in split(samples, seed=1)[1]}
    assert len(kept & other) < 100
    wider = {s.key for s in split(samples, valid=0.1)[1]}
    assert kept < wider


def test_golden_membership():
    # Frozen: a change here moves pictures between training and validation of runs that are resumed.
    kept = split(samples_of([f"{i:012}.jpg" for i in range(100)]))[1]
    assert [int(s.key[:12]) for s in kept] == [0, 20, 21, 37, 50, 66, 67, 95, 96]


def test_copies_under_two_names_stay_together_by_content(tmp_path):
    samples = []
    for i in range(60):
        for copy in "ab":
            path = tmp_path / f"{copy}{i}.jpg"
            path.write_bytes(b"picture %d" % i)
            samples.append(Sample(path.name, ImageRef(path)))
    train, kept = split(samples, valid=0.3, by_content=True)
    assert len(kept) % 2 == 0
    assert {s.key[1:] for s in train}.isdisjoint(s.key[1:] for s in kept)
    by_key = split(samples, valid=0.3)
    assert not {s.key[1:] for s in by_key[0]}.isdisjoint(s.key[1:] for s in by_key[1])
    renamed = [replace(s, key=f"new/{s.key}") for s in samples]
    assert [s.key for s in split(renamed, valid=0.3, by_content=True)[1]] == [f"new/{s.key}" for s in kept]


@pytest.mark.parametrize("valid", [0, 1, -0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(valid):
    with pytest.raises(ValueError, match="share between 0 and 1"):
        split([], valid=valid)


def test_nothing_and_one_picture():
    assert split([]) == ([], [])
    one = samples_of(["a", "a"])
    assert split(one) == (one, [])

"""Near pairs against all with all, groups against a slow search."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_italian.corpus.duplicates import near
from clip_italian.corpus.duplicates.near import Groups, groups, pair_blocks, pairs_within, vector_pairs


def every_pair(hashes, bits):
    """All pairs of different hashes, of their first places; and every later equal with its first."""
    first = {}
    for place, value in enumerate(hashes.tolist()):
        first.setdefault(value, place)
    pairs = {(first[value], place) for place, value in enumerate(hashes.tolist()) if first[value] != place}
    values = list(first)
    for at, one in enumerate(values):
        for other in values[at + 1 :]:
            if (one ^ other).bit_count() <= bits:
                pairs.add(tuple(sorted((first[one], first[other]))))
    return pairs


def planted(n, bits, seed):
    """Return hashes of which many are others with some bits turned over."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
    for _ in range(n // 3):
        turned = sum(1 << int(bit) for bit in rng.permutation(64)[: rng.integers(0, bits + 3)])
        hashes[rng.integers(n)] = hashes[rng.integers(n)] ^ np.uint64(turned)
    return hashes


hash_lists = st.lists(st.integers(0, 2**64 - 1), max_size=40)
close_lists = st.lists(st.sets(st.integers(0, 63), max_size=6), max_size=40).map(
    lambda sets: [sum(1 << bit for bit in bits) for bits in sets]
)


@given(hash_lists | close_lists, st.integers(0, 12))
@settings(max_examples=150, deadline=None)
def test_pairs_are_all_pairs(values, bits):
    hashes = np.array(values, np.uint64)
    found = pairs_within(hashes, bits)
    assert len(found) == len({tuple(pair) for pair in found.tolist()})
    assert {tuple(pair) for pair in found.tolist()} == every_pair(hashes, bits)


@pytest.mark.parametrize("bits", [0, 1, 4, 6, 8, 11])
def test_pairs_among_many(bits):
    hashes = planted(1200, bits, seed=bits)
    assert {tuple(pair) for pair in pairs_within(hashes, bits).tolist()} == every_pair(hashes, bits)


@pytest.mark.parametrize("equal", [1, 2, 3, 4])
def test_every_division_into_bands_finds_the_same(equal, monkeypatch):
    hashes = planted(1500, 5, seed=9)
    expected = pairs_within(hashes, 5)
    monkeypatch.setattr(near, "_masks", lambda distinct, bits: near._tables(bits + equal, equal))
    assert np.array_equal(pairs_within(hashes, 5), expected)


def test_a_dense_cluster_is_compared_in_strips(monkeypatch):
    monkeypatch.setattr(near, "_STRIP", 64)
    rng = np.random.default_rng(0)
    hashes = np.unique(rng.integers(0, 2**11, 900).astype(np.uint64))  # all within eleven bits: long runs of equal keys
    blocks = list(pair_blocks(hashes, 4))
    assert len(blocks) > 10
    together = np.concatenate(blocks)
    assert len(together) == len({tuple(pair) for pair in together.tolist()})
    assert {tuple(pair) for pair in together.tolist()} == every_pair(hashes, 4)


def test_many_equal_hashes_do_not_explode():
    rng = np.random.default_rng(0)
    hashes = np.concatenate([np.zeros(200_000, np.uint64), rng.integers(0, 2**64, 2000, dtype=np.uint64)])
    found = pairs_within(hashes, 6)
    assert len(found) == 199_999
    assert (groups(len(hashes), found)[:200_000] == 0).all()


@pytest.mark.parametrize("bits", [-1, 33])
def test_a_senseless_distance_is_refused(bits):
    with pytest.raises(ValueError, match="0 to 32"):
        pairs_within(np.zeros(3, np.uint64), bits)


@given(st.integers(1, 30), st.data())
@settings(max_examples=150, deadline=None)
def test_groups_are_connected_components(n, data):
    pairs = data.draw(st.lists(st.tuples(st.integers(0, n - 1), st.integers(0, n - 1)), max_size=40))
    label = list(range(n))
    for _ in range(n):  # the slow way: pass the smaller label over every pair until nothing changes
        for one, other in pairs:
            label[one] = label[other] = min(label[one], label[other])
    array = np.array(pairs, np.int64).reshape(-1, 2)
    assert groups(n, array).tolist() == label
    union = Groups(n)
    for part in data.draw(st.permutations(list(array))):  # in any order, one by one, either way round
        union.join(part[None, ::-1])
    assert union.labels().tolist() == label


def test_a_long_chain_is_one_group():
    n = 100_000
    order = np.random.default_rng(0).permutation(n)
    chain = np.stack([order[:-1], order[1:]], 1)
    assert (groups(n, chain) == 0).all()
    assert groups(0).tolist() == []


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def planted_vectors(n, dim, seed=0):
    """Return unit vectors, and pairs of which the second is the first with noise: cosines of 0.85 to 1."""
    rng = np.random.default_rng(seed)
    vectors = unit(rng.standard_normal((n, dim)))
    first, second = rng.permutation(n)[: n // 5 * 2].reshape(2, -1)
    vectors[second] = unit(
        vectors[first] + rng.uniform(0, 0.6, (len(first), 1)) * unit(rng.standard_normal((len(first), dim)))
    )
    return vectors, np.sort(np.stack([first, second], 1), axis=1)


def exact(vectors, threshold):
    left, right = np.nonzero(np.triu(vectors @ vectors.T >= threshold, 1))
    return {tuple(pair) for pair in zip(left.tolist(), right.tolist(), strict=True)}


@pytest.mark.parametrize("threshold", [0.8, 0.95])
def test_few_vectors_are_compared_all_with_all(threshold):
    vectors, _ = planted_vectors(1500, 24)
    assert {tuple(pair) for pair in vector_pairs(vectors, threshold).tolist()} == exact(vectors, threshold)


def test_many_vectors_meet_at_centres(tmp_path, monkeypatch):
    monkeypatch.setattr(near, "_EXACT", 4096)
    vectors, _ = planted_vectors(9000, 32)
    truth = exact(vectors, 0.9)
    found = {tuple(pair) for pair in vector_pairs(vectors, 0.9).tolist()}
    assert found <= truth
    assert len(found) > 0.95 * len(truth) > 500
    np.save(tmp_path / "v.npy", vectors)
    again = vector_pairs(np.load(tmp_path / "v.npy", mmap_mode="r"), 0.9)
    assert {tuple(pair) for pair in again.tolist()} == found


def test_half_precision_vectors():
    vectors, pairs = planted_vectors(1000, 16)
    found = {tuple(pair) for pair in vector_pairs(vectors.astype(np.float16), 0.8).tolist()}
    assert {tuple(pair) for pair in pairs.tolist()} <= found


def test_equal_vectors_do_not_explode(monkeypatch):
    monkeypatch.setattr(near, "_EXACT", 100)
    vectors = unit(np.random.default_rng(0).standard_normal((6000, 8)))
    vectors[1000:] = vectors[5]
    found = vector_pairs(vectors, 0.9999)
    assert len(found) < 5200
    assert (groups(6000, found)[1000:] == 5).all()


@pytest.mark.parametrize("n", [0, 1, 2])
def test_hardly_any(n):
    vectors = np.ones((n, 4), np.float32) / 2
    assert vector_pairs(vectors, 0.9).tolist() == ([[0, 1]] if n == 2 else [])
    assert pairs_within(np.zeros(n, np.uint64), 3).tolist() == ([[0, 1]] if n == 2 else [])

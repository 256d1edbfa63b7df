"""Near pairs among a million hashes or vectors, and the groups that pairs make.

Public names: pairs_within, pair_blocks, vector_pairs, vector_pair_blocks, groups, Groups.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations

import numpy as np

_BITS = 64
_BLOCK = 2048  # hashes or vectors compared with as many others at once: 4 million pairs, 16 MB of cosines
_EXACT = 16 * _BLOCK  # up to so many vectors, comparing all with all is as fast as searching
_SHORT = 96  # runs of equal keys up to this length are compared all together, longer ones one by one
_STRIP, _ROWS = 2**16, 16  # hashes compared at once, half a megabyte: they stay in the cache
_SAMPLE = 2**14  # hashes from which the cost of a division into bands is estimated
_SORT_COST = 40.0  # what sorting one hash costs, in comparisons of two hashes (measured)

# Of the closest centres of a vector, so many at most, and none further than `_MARGIN` × (distance of the pair sought)
# from the best: measured on photos, see docs/corpus-duplicates.md.
_CENTRES, _MARGIN = 8, 0.5


def pairs_within(hashes: np.ndarray, bits: int) -> np.ndarray:
    """Return (m, 2) int64, first < second, sorted: all pairs of hashes that differ in at most `bits` bits.

    hashes: (n,) uint64. Of hashes that are equal, the first stands for all: the others are paired with it alone, so
    that a thousand blank pictures give 999 pairs, not half a million, and the same groups. Exact: with m bands of
    bits, two hashes within `bits` agree in m - bits bands at least, so they meet in one of the tables whose key is
    such a choice of bands. Time: C(m, bits) sorts of n plus the comparisons of hashes with one key, m chosen by an
    estimate from the hashes themselves; memory: some 60 bytes a hash, and the pairs. Source: Manku et al. 2007.
    Raises ValueError for bits outside 0 to 32.
    """
    return _sorted_pairs(pair_blocks(hashes, bits))


def pair_blocks(hashes: np.ndarray, bits: int) -> Iterator[np.ndarray]:
    """Yield the pairs of `pairs_within` in parts of at most some millions, each pair once, unsorted."""
    if not 0 <= bits <= 32:
        raise ValueError(f"bits is a distance from 0 to 32, not {bits}")
    hashes = np.ascontiguousarray(hashes, np.uint64)
    distinct, first, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    yield _to_first(first, inverse)
    if bits == 0 or len(distinct) < 2:
        return
    masks = _masks(distinct, bits)
    for at, mask in enumerate(masks):
        order = np.argsort(distinct & mask)
        ordered = distinct[order]
        for left, right in _near_with_one_key(ordered, mask, bits):
            difference = ordered[left] ^ ordered[right]
            for earlier in masks[:at]:  # a pair belongs to the first table in which it meets
                new = difference & earlier != 0
                left, right, difference = left[new], right[new], difference[new]
            if len(left):
                yield _in_order(first[order[left]], first[order[right]])


def vector_pairs(vectors: np.ndarray, threshold: float) -> np.ndarray:
    """Return (m, 2) int64, first < second, sorted: pairs of unit vectors whose cosine is at least `threshold`.

    vectors: (n, dim) float32 or float16 unit rows, also a memory map. Up to 32,768 vectors all pairs are compared;
    above, only those that share a centre (`vector_pair_blocks`), which loses some: recall is measured in
    docs/corpus-duplicates.md. Equal rows are paired with the first of them alone, as in `pairs_within`.
    """
    return _sorted_pairs(pairs for pairs, _ in vector_pair_blocks(vectors, threshold))


def vector_pair_blocks(vectors: np.ndarray, threshold: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs (m, 2) and their cosines (m,) in parts of at most four million; a pair may come twice.

    About √n × 2 centres are found among a sample (three rounds of k-means, always the same); a vector belongs to its
    nearest centre, visits up to seven more that are nearly as near, and is compared with those who belong where it
    visits. Time: n^1.5 × dim for even clusters, and the square of a cluster that is not; memory beside the vectors:
    some 60 bytes a vector, and parts of the vectors.
    """
    first, inverse = _equal_rows(vectors)
    same = _to_first(first, inverse)
    yield same, np.ones(len(same), np.float32)
    n = len(first)
    count = 1 if n <= _EXACT else int(2 * np.sqrt(n))
    centres = _k_means(vectors, first, count)
    home, visits = _assign(vectors, first, centres, _MARGIN * np.sqrt(max(0.0, 2 - 2 * threshold)))
    home_order, home_start = _by_cluster(home, count)
    visitor, where = visits
    visit_order, visit_start = _by_cluster(where, count)
    for cluster in range(count):
        owners = first[home_order[home_start[cluster] : home_start[cluster + 1]]]
        guests = first[visitor[visit_order[visit_start[cluster] : visit_start[cluster + 1]]]]
        yield from _cluster_pairs(vectors, owners, guests, threshold)


class Groups:
    """Union-find over n pictures: pairs come in any order and in parts; a group is named by its smallest index."""

    def __init__(self, n: int) -> None:
        self._parent = np.arange(n)

    def join(self, pairs: np.ndarray) -> None:
        """Put the two of every pair into one group. pairs: (m, 2) integers from 0 to n - 1."""
        pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
        while len(pairs):
            roots = self._roots(pairs)
            pairs = roots[roots[:, 0] != roots[:, 1]]
            np.minimum.at(self._parent, pairs.max(1), pairs.min(1))

    def labels(self) -> np.ndarray:
        """Return (n,) int64: for each picture the smallest index of its group, its own when it is alone."""
        self._parent = self._roots(np.arange(len(self._parent)))
        return self._parent.copy()

    def _roots(self, index: np.ndarray) -> np.ndarray:
        roots = self._parent[index]
        while True:
            above = self._parent[roots]
            if np.array_equal(above, roots):
                break
            roots = above
        self._parent[index] = roots  # the next search is one step
        return roots


def groups(n: int, *pairs: np.ndarray) -> np.ndarray:
    """Return (n,) int64: for each of n pictures the smallest index of the group that the pairs, all together, make.

    >>> groups(5, np.array([[3, 1]]), np.array([[3, 4]])).tolist()
    [0, 1, 2, 1, 1]
    """
    union = Groups(n)
    for some in pairs:
        union.join(some)
    return union.labels()


def _sorted_pairs(blocks: Iterable[np.ndarray]) -> np.ndarray:
    return np.unique(np.concatenate([np.empty((0, 2), np.int64), *blocks]), axis=0)


def _in_order(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.stack([np.minimum(left, right), np.maximum(left, right)], axis=1)


def _to_first(first: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Pair every row that is not the first of its value with the first."""
    of_each = first[inverse.ravel()]
    others = np.flatnonzero(of_each != np.arange(len(of_each)))
    return np.stack([of_each[others], others], axis=1)


def _masks(distinct: np.ndarray, bits: int) -> list[np.uint64]:
    """Choose the number of bands by their estimated cost; returns one mask a table."""
    sample = np.random.default_rng(0).choice(distinct, min(len(distinct), _SAMPLE), replace=False)
    plans = (_tables(bits + equal, equal) for equal in range(1, 4) if bits + equal <= _BITS)
    return min(plans, key=lambda masks: _cost(masks, sample, len(distinct)))


def _tables(bands: int, equal: int) -> list[np.uint64]:
    """Give every bit in turn to one of the bands; returns a mask for each choice of `equal` bands."""
    # In turn, because neighbouring bits are waves of like length, which are certain or uncertain together.
    masks = [sum(1 << bit for bit in range(band, _BITS, bands)) for band in range(bands)]
    return [np.uint64(sum(chosen)) for chosen in combinations(masks, equal)]


def _cost(masks: list[np.uint64], sample: np.ndarray, n: int) -> float:
    """Estimate the comparisons: pairs with one key in the sample, of a few tables, scaled to n; and the sorting.

    Runs of like keys are as long as the longest of many, some three times the mean, and few hashes are in none.
    """
    some = masks[:: max(1, len(masks) // 8)]
    met = sum(float((counts * (counts - 1) / 2).sum()) for counts in (_counts(sample & mask) for mask in some))
    possible = max(1, len(sample) * (len(sample) - 1) / 2)
    chance = (met / len(some) + 1) / possible  # one more than was met, for tables so fine that none was
    return len(masks) * n * (3 * chance * n + 2 + _SORT_COST)


def _counts(keys: np.ndarray) -> np.ndarray:
    return np.unique(keys, return_counts=True)[1]


def _near_with_one_key(ordered: np.ndarray, mask: np.uint64, bits: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield places (left, right) of hashes within `bits` and alike under the mask, by which they are ordered."""
    keys = ordered & mask
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    lengths = np.diff(np.append(starts, len(keys)))
    places = np.flatnonzero(np.repeat((lengths > 1) & (lengths <= _SHORT), lengths))
    remaining = np.repeat(lengths, lengths)[places]  # the length of the run that a place is in
    hashes = ordered[places]
    for step in range(1, int(remaining.max(initial=0))):
        if step & (step - 1) == 0:  # from time to time, put away the runs that are finished
            longer = remaining > step
            places, remaining, hashes = places[longer], remaining[longer], hashes[longer]
        for start in range(0, len(hashes) - step, _STRIP):
            left = hashes[start : min(start + _STRIP, len(hashes) - step)]
            right = hashes[start + step : start + step + len(left)]
            near = np.flatnonzero(np.bitwise_count(left ^ right) <= bits)
            near = near[(left[near] ^ right[near]) & mask == 0]  # of a neighbouring run: found in another table
            if len(near):
                yield places[near + start], places[near + start + step]
    for start, length in zip(starts[lengths > _SHORT], lengths[lengths > _SHORT], strict=True):
        yield from _near_in_run(ordered[start : start + length], start, bits)


def _near_in_run(hashes: np.ndarray, place: int, bits: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Compare all hashes of a long run, which begins at `place`."""
    for top in range(0, len(hashes), _ROWS):
        rows = hashes[top : top + _ROWS, None]
        for side in range(top, len(hashes), _STRIP // _ROWS):
            columns = hashes[None, side : side + _STRIP // _ROWS]
            left, right = np.nonzero(np.bitwise_count(rows ^ columns) <= bits)
            new = left + top < right + side
            if new.any():
                yield left[new] + top + place, right[new] + side + place


def _equal_rows(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first row of each value, and for each row which of these it equals."""
    prints = np.empty(len(vectors), np.uint64)
    words = None
    for start in range(0, len(vectors), _BLOCK):
        part = np.ascontiguousarray(vectors[start : start + _BLOCK], np.float32).view(np.uint32)
        if words is None:
            words = np.random.default_rng(0).integers(0, 2**63, part.shape[1], dtype=np.uint64) * 2 + 1
        prints[start : start + _BLOCK] = (part * words).sum(1)
    _, first, inverse = np.unique(prints, return_index=True, return_inverse=True)
    return first, inverse  # two different rows have one print by chance once in 2^63


def _rows(vectors: np.ndarray, index: np.ndarray) -> np.ndarray:
    return np.asarray(vectors[index], np.float32)


def _k_means(vectors: np.ndarray, first: np.ndarray, count: int) -> np.ndarray:
    """Return (count, dim) unit centres from three rounds over a sample."""
    rng = np.random.default_rng(0)
    sample = _rows(vectors, np.sort(rng.choice(first, min(len(first), 24 * count), replace=False)))
    centres = sample[rng.choice(len(sample), min(count, len(sample)), replace=False)]
    for _ in range(3 if count > 1 else 0):
        nearest = np.concatenate(
            [(sample[i : i + _BLOCK] @ centres.T).argmax(1) for i in range(0, len(sample), _BLOCK)]
        )
        order, start = _by_cluster(nearest, len(centres))
        taken = np.diff(start) > 0
        sums = np.add.reduceat(sample[order], start[:-1][taken], axis=0)
        centres = centres.copy()
        centres[taken] = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return centres


def _assign(
    vectors: np.ndarray, first: np.ndarray, centres: np.ndarray, margin: float
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Return the nearest centre of each (n,), and who visits which other centre: two arrays of one length."""
    home, visitors, wheres = np.empty(len(first), np.int32), [], []
    for start in range(0, len(first), _BLOCK):
        cosines = _rows(vectors, first[start : start + _BLOCK]) @ centres.T
        rows = np.arange(len(cosines))
        nearest = cosines.argmax(1)
        home[start : start + _BLOCK] = nearest
        least = cosines[rows, nearest] - margin
        for _ in range(min(_CENTRES, len(centres)) - 1):
            cosines[rows, nearest] = -np.inf
            nearest = cosines.argmax(1)
            close = cosines[rows, nearest] >= least
            visitors.append((rows[close] + start).astype(np.int32))
            wheres.append(nearest[close].astype(np.int32))
    empty = np.empty(0, np.int32)
    return home, (np.concatenate([empty, *visitors]), np.concatenate([empty, *wheres]))


def _by_cluster(cluster: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an order by cluster, and where each cluster starts in it (count + 1 places)."""
    order = np.argsort(cluster, kind="stable")
    return order, np.searchsorted(cluster[order], np.arange(count + 1))


def _cluster_pairs(
    vectors: np.ndarray, owners: np.ndarray, guests: np.ndarray, threshold: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Compare the owners of a cluster with each other and with its guests."""
    everyone = np.concatenate([owners, guests])
    for top in range(0, len(owners), _BLOCK):
        rows = owners[top : top + _BLOCK]
        own = _rows(vectors, rows)
        for side in range(top, len(everyone), _BLOCK):
            columns = everyone[side : side + _BLOCK]
            cosines = own @ _rows(vectors, columns).T
            left, right = np.nonzero(cosines >= threshold)
            new = (left + top < right + side) & (rows[left] != columns[right])
            left, right = left[new], right[new]
            if len(left):
                yield _in_order(rows[left], columns[right]), cosines[left, right]

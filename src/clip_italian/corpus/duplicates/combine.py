"""All evidence together: which pictures of a corpus are one, and which of them stays.

Public names: Pictures, Duplicates, find_duplicates, EVIDENCE.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .addresses import address_key
from .near import Groups, pair_blocks, vector_pair_blocks
from .perceptual import distance, mirrored
from .plan import DuplicatePlan, Likeness

EVIDENCE = ("same address", "same bytes", "near hash", "near hash and vector")  # from the plainest on


@dataclass(frozen=True)
class Pictures:
    """What is known of n stored pictures, in one order.

    ids: any unique names. addresses: where each comes from. sha256: of the bytes. hashes: (n,) uint64 perceptual.
    pixels: width × height of the original. captions: how many each has. vectors: (n, dim) float32 or float16 unit rows
    (also a memory map), or None to go without.
    """

    ids: Sequence[str]
    addresses: Sequence[str]
    sha256: Sequence[str]
    hashes: np.ndarray
    pixels: np.ndarray
    captions: np.ndarray
    vectors: np.ndarray | None = None

    def __post_init__(self) -> None:
        if len({len(column) for column in vars(self).values() if column is not None}) > 1:
            lengths = {name: len(column) for name, column in vars(self).items() if column is not None}
            raise ValueError(f"every column has one value a picture, but their lengths are {lengths}")


@dataclass(frozen=True)
class Duplicates:
    """For each picture the one of its group that stays, itself for most.

    keeper: (n,) int64. evidence: (n,) int8, into EVIDENCE: the plainest kind that, with those before it, connects the
    picture with the one that stays; -1 for those that stay.
    """

    keeper: np.ndarray
    evidence: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """(n,) bool: which pictures stay."""
        return self.keeper == np.arange(len(self.keeper))

    def reason(self, index: int, ids: Sequence[str]) -> str:
        """Say why a picture goes, "" when it stays."""
        if self.evidence[index] < 0:
            return ""
        return f"{EVIDENCE[self.evidence[index]]} as {ids[self.keeper[index]]}"


def find_duplicates(
    pictures: Pictures, plan: DuplicatePlan, progress: Callable[[str], None] | None = None
) -> Duplicates:
    """Group what is one picture and choose who stays: the largest, then the one with most captions, then by id.

    The result does not depend on the order of the pictures (with vectors, but for pairs that the approximate search
    happens to find in one order and not in the other: near.vector_pair_blocks). Groups are closed: of three pictures
    of which the first two and the last two are near, one stays. progress: called with each kind of evidence as its
    turn comes. A million with vectors take some minutes.
    """
    n = len(pictures.ids)
    union, stages = Groups(n), []
    for name, blocks in zip(EVIDENCE, _evidence(pictures, plan), strict=True):
        if progress:
            progress(name)
        for pairs in blocks:
            union.join(pairs)
        stages.append(union.labels())
    keeper = _keepers(pictures, stages[-1])
    evidence = np.full(n, -1, np.int8)
    for stage in reversed(range(len(stages))):
        evidence[stages[stage] == stages[stage][keeper]] = stage
    evidence[keeper == np.arange(n)] = -1
    return Duplicates(keeper, evidence)


def _evidence(pictures: Pictures, plan: DuplicatePlan) -> Iterator[Iterator[np.ndarray]]:
    """Yield the pairs of each kind, in the order of EVIDENCE."""
    yield _equal([address_key(address) for address in pictures.addresses] if plan.addresses else [])
    yield _equal(pictures.sha256)
    yield hash_pairs(pictures.hashes, plan.same)
    yield _vector_pairs(pictures, plan.same)


def hash_pairs(hashes: np.ndarray, likeness: Likeness) -> Iterator[np.ndarray]:
    """Yield pairs (m, 2) that the hashes alone make, mirrored ones too if so wished; some come twice."""
    n = len(hashes)
    for pairs in pair_blocks(
        np.concatenate([hashes, mirrored(hashes)]) if likeness.mirrored else hashes, likeness.bits
    ):
        yield pairs % n if n else pairs


def _equal(values: Sequence[str]) -> Iterator[np.ndarray]:
    """Yield, once, each value's later places paired with its first; "" is no value."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(value, place), place) for place, value in enumerate(values) if value]
    yield np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)


def _vector_pairs(pictures: Pictures, likeness: Likeness) -> Iterator[np.ndarray]:
    if pictures.vectors is None:
        return
    hashes = np.asarray(pictures.hashes, np.uint64)
    for pairs, cosines in vector_pair_blocks(pictures.vectors, likeness.least_cosine):
        bits = bits_between(hashes[pairs[:, 0]], hashes[pairs[:, 1]], likeness)
        yield pairs[likeness.alike(bits, cosines)]


def bits_between(first: np.ndarray, second: np.ndarray, likeness: Likeness) -> np.ndarray:
    """Count the bits in which hashes differ, with the second picture as it is or, if so wished, in the mirror."""
    bits = distance(first, second)
    return np.minimum(bits, distance(first, mirrored(second))) if likeness.mirrored else bits


def _keepers(pictures: Pictures, label: np.ndarray) -> np.ndarray:
    """Return for each picture who stays of its group."""
    captions, pixels = (-np.asarray(column, np.int64) for column in (pictures.captions, pictures.pixels))
    order = np.lexsort((np.array(pictures.ids, dtype=str), captions, pixels, label))
    first = np.concatenate([[True], label[order][1:] != label[order][:-1]]) if len(order) else np.empty(0, bool)
    stays = np.empty(len(label), np.int64)
    stays[label[order[first]]] = order[first]
    return stays[label]

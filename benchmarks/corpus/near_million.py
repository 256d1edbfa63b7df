"""Time, memory and recall of finding near pairs among 100,000 and a million synthetic hashes and vectors.

python benchmarks/corpus/near_million.py [--sizes 100000 1000000] [--bits 6] [--dim 256] [--threshold 0.8] [--only KIND]

Hashes: random 64-bit words, of which one in a hundred is repeated with up to --bits bits turned over, and one in a
hundred is the same word (blank pictures). "All but vectors" is find_duplicates with as many addresses, contents, and
hashes with their mirrors, to who stays. Vectors: random directions of an uneven spectrum, of which one in a hundred is
repeated with noise that leaves a cosine from --threshold to 1; they form no clusters, which is harder to search than
photos are (benchmarks/corpus/duplicates.py measures those). The peer is the comparison of all with all by the same
numpy operations, timed on some rows and scaled to n; recall is of the planted pairs. One line each, with the process's
highest memory; each measurement runs in a process of its own, so that the memory is its own. The ratio is of seconds
of one core, which other work on the machine does not change much.
"""

import argparse
import multiprocessing
import resource
import time

import numpy as np

from clip_italian.corpus.duplicates.combine import Pictures, find_duplicates
from clip_italian.corpus.duplicates.near import groups, pairs_within, vector_pair_blocks
from clip_italian.corpus.duplicates.plan import DuplicatePlan, Likeness

KINDS = ("hashes", "all but vectors", "vectors")


def planted_hashes(n: int, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Return n hashes and the planted pairs (m, 2)."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
    m = n // 100
    place = rng.permutation(n)[: 3 * m].reshape(3, m)
    turned = np.array([sum(1 << int(b) for b in rng.permutation(64)[: rng.integers(0, bits + 1)]) for _ in range(m)])
    hashes[place[1]] = hashes[place[0]] ^ turned.astype(np.uint64)
    hashes[place[2]] = 0
    return hashes, place[:2].T


def planted_vectors(n: int, dim: int, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return n unit vectors (n, dim) float32 and the planted pairs (m, 2)."""
    rng = np.random.default_rng(0)
    spectrum = (1 / np.sqrt(1 + np.arange(dim) / 8)).astype(np.float32)  # about as many directions matter as in photos
    vectors = np.empty((n, dim), np.float32)
    for start in range(0, n, 10_000):
        vectors[start : start + 10_000] = rng.standard_normal((min(10_000, n - start), dim), np.float32) * spectrum
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    place = rng.permutation(n)[: n // 50].reshape(2, -1)
    cosine = rng.uniform(threshold + 0.005, 1, (place.shape[1], 1)).astype(np.float32)
    first = vectors[place[0]]
    other = rng.standard_normal(first.shape, np.float32) * spectrum
    other -= (other * first).sum(1, keepdims=True) * first
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    vectors[place[1]] = cosine * first + np.sqrt(1 - cosine**2) * other
    return vectors, place.T


def memory_mb() -> float:
    """Return the highest memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def all_with_all_s(items: np.ndarray) -> float:
    """Return the seconds of one core that comparing every item with every other takes, from three seconds of it."""
    rows = 16 if items.ndim == 1 else 2048  # strips that stay in the cache, as the search itself compares
    some, start, done = items[:rows], time.process_time(), 0
    while time.process_time() - start < 3:
        columns = items[done % len(items) :][:4096]
        if items.ndim == 1:
            np.nonzero(np.bitwise_count(some[:, None] ^ columns) <= 6)
        else:
            np.nonzero(some @ columns.T >= 0.9)
        done += len(columns)
    return (time.process_time() - start) / (done * rows) * len(items) ** 2 / 2


def measure(kind: str, n: int, options: argparse.Namespace) -> None:
    """Measure one kind at one size and print a line."""
    if kind == "vectors":
        items, planted = planted_vectors(n, options.dim, options.threshold)
    else:
        items, planted = planted_hashes(n, options.bits)
    if kind == "all but vectors":
        names = [f"{place:032x}" for place in range(n)]
        addresses = [f"https://upload.wikimedia.org/wikipedia/commons/a/ab/{name}.jpg" for name in names]
        pictures = Pictures(names, addresses, [2 * name for name in names], items, np.ones(n), np.ones(n))
    before, start, cpu = memory_mb(), time.perf_counter(), time.process_time()
    if kind == "vectors":
        blocks = [pairs for pairs, _ in vector_pair_blocks(items, options.threshold)]
        pairs = np.concatenate(blocks)
    elif kind == "hashes":
        pairs = pairs_within(items, options.bits)
    else:
        plan = DuplicatePlan(same=Likeness(bits=options.bits))
        found = find_duplicates(pictures, plan)
        pairs = np.flatnonzero(~found.kept)
    label = found.keeper if kind == "all but vectors" else groups(len(items), pairs)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    recall = (label[planted[:, 0]] == label[planted[:, 1]]).mean()
    peer = all_with_all_s(items)
    print(
        f"{kind:<16} n {n:>9,}  to groups {seconds:6.1f} s, {cpu:6.1f} s of one core  all with all {peer:7.0f} s  ratio"
        f" {peer / cpu:6.1f}  recall {recall:.5f} of {len(planted):,}  found {len(pairs):,}"
        f"  memory {memory_mb():5.0f} MB (items {before:.0f})",
        flush=True,
    )


def main() -> None:
    """Measure every kind at every size, each in its own process."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--bits", type=int, default=6)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--only", choices=KINDS)
    options = parser.parse_args()
    for kind in KINDS if options.only is None else (options.only,):
        for n in options.sizes:
            process = multiprocessing.get_context("spawn").Process(target=measure, args=(kind, n, options))
            process.start()
            process.join()
            if process.exitcode:
                raise SystemExit(f"{kind}, {n}: ended with {process.exitcode}")


if __name__ == "__main__":
    main()

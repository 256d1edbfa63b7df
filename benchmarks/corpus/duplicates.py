"""What finds near duplicates: recall for each edit, false pairs per million, and the speed of hashing.

python benchmarks/corpus/duplicates.py --data ../shared/data [--model clip-italian-small] [--cache DIR] [--peer PYTHON]

Photos: the album (1,000) and Flickr8k-IT dev (1,000), each after eleven edits of ours (edits.py); false pairs are
pairs among these and 13,863 further photos of Flickr8k-IT and COCO, all counted as different although a few are not
(the same photo twice, one scene a moment later). --cache keeps vectors between runs. --peer: a Python with ImageHash
installed (python -m venv peer && peer/bin/pip install imagehash), whose phash hashes the same files. --speed: the
first table alone. --held N: instead of all, recall on N photos of coco-photos, on which no threshold was chosen.
Encoding takes some five minutes on two cores. Intervals: 95 %, Wilson for recall, exact Poisson for false pairs.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from edits import EDITS, edited
from scipy.stats import chi2

from clip_italian.corpus.duplicates import near
from clip_italian.corpus.duplicates.combine import bits_between
from clip_italian.corpus.duplicates.evaluation import EvaluationSet, TestPictures
from clip_italian.corpus.duplicates.perceptual import phash, phash_file
from clip_italian.corpus.duplicates.plan import DuplicatePlan, Likeness
from clip_italian.data.readers import read
from clip_italian.encoder import load
from clip_italian.images import open_image

EDITED, OTHERS = ("album", "flickr8k-it/dev.jsonl"), ("flickr8k-it/train.jsonl", "coco-photos/train.jsonl")
Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (bits, cosine) → bool
_PEER = """
import json, sys, time
from pathlib import Path
import imagehash
from PIL import Image
start, found = time.process_time(), {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    with Image.open(path) as image:
        found[path.name] = str(imagehash.phash(image))
print(json.dumps({"seconds": time.process_time() - start, "version": imagehash.__version__, "hashes": found}))
"""


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share."""
    z, share = 1.96, hits / n
    centre, half = share + z * z / (2 * n), z * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)


def poisson(count: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a count."""
    return (chi2.ppf(0.025, 2 * count) / 2 if count else 0.0), chi2.ppf(0.975, 2 * count + 2) / 2


def peer_hashes(python: Path, pictures: Sequence[bytes]) -> tuple[np.ndarray, float, str]:
    """Return ImageHash's phash of the pictures, the seconds it took, reading included, and its version."""
    with tempfile.TemporaryDirectory() as folder:
        for place, data in enumerate(pictures):
            Path(folder, f"{place:06}.jpg").write_bytes(data)
        told = json.loads(subprocess.run([python, "-c", _PEER, folder], check=True, capture_output=True).stdout)
    hashes = [int(told["hashes"][f"{place:06}.jpg"], 16) for place in range(len(pictures))]
    return np.array(hashes, np.uint64), told["seconds"], told["version"]


def our_hashes(pictures: Sequence[bytes]) -> np.ndarray:
    """Return our hashes of encoded pictures."""
    return np.array([phash_file(data) for data in pictures], np.uint64)


def print_speed(photos: Sequence[bytes], peer: Path | None) -> None:
    """Print milliseconds of one core a picture of decoding and hashing, best and worst of five rounds."""
    whole = [open_image(data, min_side=32) for data in photos]
    ways: dict[str, Callable[[], object]] = {
        "decode the whole picture": lambda: [open_image(data) for data in photos],
        "decode at reduced scale": lambda: [open_image(data, min_side=32) for data in photos],
        "hash a decoded picture": lambda: [phash(image) for image in whole],
        "phash_file: both": lambda: our_hashes(photos),
    }
    if peer:
        ways[f"ImageHash phash ({peer_hashes(peer, photos[:1])[2]})"] = lambda: peer_hashes(peer, photos)[1]
    print(f"\nmilliseconds of one core a picture ({len(photos)} photos of the album; best and worst of five rounds)")
    best = {}
    for name, way in ways.items():
        times = []
        for _ in range(5):
            start = time.process_time()
            told = way()
            times.append((told if isinstance(told, float) else time.process_time() - start) / len(photos) * 1e3)
        best[name] = min(times)
        print(f"  {name:<28} {min(times):6.3f} to {max(times):6.3f}")
    if peer:
        print(f"  ImageHash / phash_file: {list(best.values())[-1] / best['phash_file: both']:.1f} times as long")


def print_recall(rules: dict[str, Rule], edits: dict[str, tuple[np.ndarray, np.ndarray]], title: str) -> None:
    """Print the share of edited photos that each rule recognises."""
    print(f"\n{title}")
    for name, rule in rules.items():
        print(f"  {name}")
        for edit, (bits, cosine) in edits.items():
            found = rule(bits, cosine)
            low, high = wilson(int(found.sum()), len(found))
            print(f"    {edit:<18} {100 * found.mean():5.1f} %  [{100 * low:.1f}, {100 * high:.1f}]")


def print_false(
    rules: dict[str, Rule], hashes: np.ndarray, vectors: np.ndarray, bits_of: Callable[..., np.ndarray]
) -> None:
    """Print pairs of different photos that each rule takes for one."""
    n, counts = len(hashes), dict.fromkeys(rules, 0)
    for start in range(0, n, 256):
        later = np.arange(n)[None] > np.arange(start, min(start + 256, n))[:, None]
        bits = bits_of(hashes[start : start + 256, None], hashes[None])
        cosines = vectors[start : start + 256] @ vectors.T
        for name, rule in rules.items():
            counts[name] += int((rule(bits, cosines) & later).sum())
    millions = n * (n - 1) / 2e6
    for name, count in counts.items():
        low, high = poisson(count)
        print(
            f"  {name:<38} {count:6} of {millions:.0f} million pairs: {count / millions:8.3f} per million"
            f"  [{low / millions:.3f}, {high / millions:.3f}]"
        )


def print_search(vectors: np.ndarray, hashes: np.ndarray, plan: DuplicatePlan) -> None:
    """Print what share of the pairs that count the search by centres finds."""
    exact = []
    start = time.perf_counter()
    least = plan.same.least_cosine
    for top in range(0, len(vectors), 512):
        left, right = np.nonzero(vectors[top : top + 512] @ vectors.T >= least)
        exact.append(np.stack([left + top, right], 1)[right > left + top])
    exact_s, pairs = time.perf_counter() - start, np.concatenate(exact)
    start = time.perf_counter()
    found = near.vector_pairs(vectors, least)
    found_s = time.perf_counter() - start
    have = np.isin(pairs[:, 0] * len(vectors) + pairs[:, 1], found[:, 0] * len(vectors) + found[:, 1])
    cosine = np.einsum("ij,ij->i", vectors[pairs[:, 0]], vectors[pairs[:, 1]])
    bits = bits_between(hashes[pairs[:, 0]], hashes[pairs[:, 1]], plan.same)
    counts = {f"cosine at least {least:.2f}": cosine >= least, "cosine at least 0.90": cosine >= 0.9}
    counts["taken for one, and not by the hashes alone"] = plan.same.alike(bits, cosine) & (bits > plan.same.bits)
    print(f"\nsearch by centres among {len(vectors):,} vectors: {found_s:.1f} s, all with all {exact_s:.1f} s")
    for name, of in counts.items():
        low, high = wilson(int(have[of].sum()), int(of.sum()))
        share = f"{100 * have[of].mean():.2f} % [{100 * low:.2f}, {100 * high:.2f}]"
        print(f"  {name:<44} {int(of.sum()):7} pairs, found {share}")


def print_leaks(data: Path, hashes: dict[str, np.ndarray], vectors: dict[str, np.ndarray], plan: DuplicatePlan) -> None:
    """Print which training photos are near a photo of Flickr8k-IT dev, as a build would find them."""
    keys = [name for name in OTHERS for name in (sample.key for sample in read(data / name))]
    dev = slice(len(hashes["base"]) - 1000, None)
    names = tuple(sample.key for sample in read(data / EDITED[1]))
    test = TestPictures("flickr8k-it dev", names, ("",) * 1000, hashes["base"][dev], vectors["base"][dev])
    start = time.process_time()
    found = EvaluationSet(tests=[test], likeness=plan.evaluation).matches(
        hashes=np.concatenate([hashes[name] for name in OTHERS]),
        vectors=np.concatenate([vectors[name] for name in OTHERS]),
    )
    each = (time.process_time() - start) / len(keys) / 1000 * 1e9
    count = sum(map(bool, found))
    print(f"\nof {len(keys):,} training photos, {count} are near one of 1,000 dev photos; {each:.0f} ns a pair")
    for key, reason in zip(keys, found, strict=True):
        if reason:
            print(f"  {key}: {reason}")


def encode(model: str, groups: dict[str, list[bytes]], cache: Path | None) -> dict[str, np.ndarray]:
    """Return (n, dim) vectors of each group, from the cache where it has them."""
    path = cache / "vectors.npz" if cache else None
    if path and path.exists():
        with np.load(path) as kept:
            return {name: kept[name.replace("/", "|")] for name in groups}
    encoder, found = load(model), {}
    for name, pictures in groups.items():
        found[name] = np.concatenate(
            [encoder.encode_images(pictures[start : start + 64]) for start in range(0, len(pictures), 64)]
        )
        print(f"encoded {name}", flush=True)
    if path:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **{name.replace("/", "|"): vectors for name, vectors in found.items()})
    return found


def held_out(model: str, data: Path, count: int, plan: DuplicatePlan) -> None:
    """Print the recall of the plan on photos that had no part in choosing its thresholds."""
    base = [sample.image.read() for sample in read(data / OTHERS[1])[:count]]
    images = [open_image(picture) for picture in base]
    groups = {"base": base}
    groups |= {name: [edited(image, name, place) for place, image in enumerate(images)] for name in EDITS}
    vectors, hashes = encode(model, groups, None), {name: our_hashes(pictures) for name, pictures in groups.items()}
    rules: dict[str, Rule] = {
        "hash alone, 6 bits": lambda bits, _: bits <= 6,
        "both, within the corpus (same)": plan.same.alike,
        "both, with a test set (evaluation)": plan.evaluation.alike,
    }
    edits = {
        name: (
            bits_between(hashes[name], hashes["base"], plan.same),
            np.einsum("ij,ij->i", vectors[name], vectors["base"]),
        )
        for name in EDITS
    }
    print_recall(rules, edits, f"recall, {len(base):,} photos of {OTHERS[1]} after each edit")


def main() -> None:
    """Measure and print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="clip-italian-small")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--held", type=int)
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    plan = DuplicatePlan()
    if options.held:
        held_out(options.model, options.data, options.held, plan)
        return
    base = [sample.image.read() for name in EDITED for sample in read(options.data / name)]
    print_speed(base[:1000], options.peer)
    if options.speed:
        return
    images = [open_image(data) for data in base]
    groups = {"base": base}
    groups |= {name: [edited(image, name, place) for place, image in enumerate(images)] for name in EDITS}
    groups |= {name: [sample.image.read() for sample in read(options.data / name)] for name in OTHERS}
    vectors = encode(options.model, groups, options.cache)
    hashes = {name: our_hashes(pictures) for name, pictures in groups.items()}
    distinct = ("base", *OTHERS)
    every_hash = np.concatenate([hashes[name] for name in distinct])
    every_vector = np.concatenate([vectors[name] for name in distinct])

    def ours(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return bits_between(first, second, plan.same)

    rules: dict[str, Rule] = {
        "hash alone, 6 bits": lambda bits, _: bits <= 6,
        "hash alone, 8 bits": lambda bits, _: bits <= 8,
        "hash alone, 10 bits": lambda bits, _: bits <= 10,
        "vectors alone, cosine 0.95": lambda _, cosine: cosine >= 0.95,
        "vectors alone, cosine 0.97": lambda _, cosine: cosine >= 0.97,
        "both, within the corpus (same)": plan.same.alike,
        "both, with a test set (evaluation)": plan.evaluation.alike,
    }
    edits = {
        name: (ours(hashes[name], hashes["base"]), np.einsum("ij,ij->i", vectors[name], vectors["base"]))
        for name in EDITS
    }
    print_recall(rules, edits, f"recall, {len(base):,} photos after each edit")
    print(f"\nfalse pairs among {len(every_hash):,} photos")
    print_false(rules, every_hash, every_vector, ours)
    print_search(
        np.concatenate([every_vector, *(vectors[name] for name in EDITS)]),
        np.concatenate([every_hash, *(hashes[name] for name in EDITS)]),
        plan,
    )
    print_leaks(options.data, hashes, vectors, plan)
    if options.peer:
        print_peer(options.peer, groups, distinct)


def print_peer(python: Path, groups: dict[str, list[bytes]], distinct: Sequence[str]) -> None:
    """Print the same for ImageHash's phash, which does not know mirrors."""
    rules: dict[str, Rule] = {
        f"ImageHash phash, {most} bits": lambda bits, _, most=most: bits <= most  # type: ignore[misc]
        for most in (6, 8, 10)
    }
    hashes = {name: peer_hashes(python, pictures)[0] for name, pictures in groups.items()}
    plain = Likeness(mirrored=False)
    nothing = np.zeros(len(groups["base"]))
    edits = {name: (bits_between(hashes[name], hashes["base"], plain), nothing) for name in EDITS}
    print_recall(rules, edits, "the peer's recall")
    print("\nthe peer's false pairs")
    every = np.concatenate([hashes[name] for name in distinct])
    print_false(rules, every, np.zeros((len(every), 1), np.float32), lambda a, b: bits_between(a, b, plain))


if __name__ == "__main__":
    main()

"""What the automatic signals of translation quality find, and how often they cry wolf.

python benchmarks/corpus/signals.py --captions DIR/train.jsonl DIR/dev.jsonl [--parallel ENGLISH.txt ITALIAN.txt]
    [--model clip-italian-small]

Needs py3langid and simplemma, and captions in both languages: JSON lines of `{"image_path": …, "captions": [{"en": …,
"it": …}]}`, or two files of one sentence a line. Each corruption is done to every pair that allows it; "false alarms"
are those on the same pairs left whole. Intervals are Wilson's, 95 %. Beside it: py3langid alone, over all its
languages, the check that most pipelines make. With --model, the pictures that `image_path` names (files, or members of
tars) are compared with their captions too: the threshold is what 5 % of one half of the good pairs fall below, the
rates are the other half's.
"""

import argparse
import contextlib
import io
import json
import math
import random
import re
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from clip_italian.corpus.quality.measures import similarities
from clip_italian.corpus.quality.plan import QualityPlan
from clip_italian.corpus.quality.signals import ALARMS, alarms, signals
from clip_italian.encoder import load

PLAN = QualityPlan()
NUMBERS = ("due", "tre", "quattro", "cinque", "sei", "sette", "otto", "nove", "dieci", "undici", "dodici")


@dataclass(frozen=True)
class Pair:
    """An English and an Italian caption; picture: where it is, "" when there is none."""

    english: str
    italian: str
    picture: str = ""


def read_captions(path: Path) -> list[Pair]:
    """Read the captions that are there in both languages."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        Pair(caption["en"], caption["it"], str(path.parent / row["image_path"]))
        for row in rows
        for caption in row["captions"]
        if isinstance(caption, dict) and "en" in caption and "it" in caption
    ]


def wrong_pair(pairs: Sequence[Pair], generator: random.Random) -> list[str | None]:
    """Give each English caption the Italian one of another picture."""
    others = [pair.italian for pair in pairs]
    shift = generator.randrange(len(pairs) // 4, len(pairs) // 2)
    return [*others[shift:], *others[:shift]]


def one_by_one(change: Callable[[Pair, random.Random], str | None]) -> Callable[..., list[str | None]]:
    """Turn a change of one pair into one of all."""
    return lambda pairs, generator: [change(pair, generator) for pair in pairs]


def untranslated(pair: Pair, _: random.Random) -> str:
    """Leave the English."""
    return pair.english


def half_english(pair: Pair, _: random.Random) -> str:
    """Stop translating halfway."""
    italian, english = pair.italian.split(), pair.english.split()
    return " ".join(italian[: len(italian) // 2] + english[len(english) // 2 :])


def truncated(share: float) -> Callable[[Pair, random.Random], str | None]:
    """Cut the Italian text after a share of its words."""
    return lambda pair, _: " ".join(pair.italian.split()[: max(1, round(len(pair.italian.split()) * share))])


def number_changed(pair: Pair, generator: random.Random) -> str | None:
    """Put another number for the first; None where there is none."""
    found = re.search(rf"\b(?:{'|'.join(NUMBERS)}|\d+)\b", pair.italian, re.IGNORECASE)
    if not found:
        return None
    word = found.group().lower()
    other = (
        str(int(word) + generator.randint(1, 9)) if word.isdigit() else generator.choice(sorted({*NUMBERS} - {word}))
    )
    return pair.italian[: found.start()] + other + pair.italian[found.end() :]


def negation_dropped(pair: Pair, _: random.Random) -> str | None:
    """Say the contrary: without "non", with "con" for "senza"; None where nothing is denied."""
    for deny, affirm in (
        (r"\bnon ", ""),
        (r"\bsenza\b", "con"),
        (r"\bnessun[oa]?\b", "qualche"),
        (r"\bmai\b", "sempre"),
    ):
        changed = re.sub(deny, affirm, pair.italian, flags=re.IGNORECASE)
        if changed != pair.italian:
            return changed
    return None


CORRUPTIONS: dict[str, Callable[..., list[str | None]]] = {
    "untranslated": one_by_one(untranslated),
    "half English": one_by_one(half_english),
    "cut after half": one_by_one(truncated(1 / 2)),
    "cut after two thirds": one_by_one(truncated(2 / 3)),
    "a number changed": one_by_one(number_changed),
    "negation dropped": one_by_one(negation_dropped),
    "wrong pair": wrong_pair,
}


def rate(hits: Sequence[bool] | np.ndarray) -> str:
    """Write a share in percent with its Wilson interval."""
    n, p, z = len(hits), float(np.mean(hits)), 1.959964
    middle, reach = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = ((middle + sign * reach) / (1 + z * z / n) for sign in (-1, 1))
    return f"{100 * p:5.1f} % [{100 * max(0, low):.1f}–{100 * min(1, high):.1f}]"


def raised(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Return the alarms on each pair."""
    return [alarms(found, PLAN) for found in signals(pairs)]


def peer(texts: Sequence[str]) -> list[bool]:
    """Return which texts py3langid, as it comes, does not take for Italian."""
    import py3langid

    return [py3langid.classify(text)[0] != "it" for text in texts]


def measure(name: str, pairs: Sequence[Pair]) -> None:
    """Print one table."""
    whole = raised([(pair.english, pair.italian) for pair in pairs])
    peer_whole = peer([pair.italian for pair in pairs])
    print(f"\n{name}: {len(pairs)} pairs; false alarms {rate([bool(a) for a in whole])}, of which")
    print("  " + ", ".join(f"{alarm} {100 * np.mean([alarm in a for a in whole]):.2f} %" for alarm in ALARMS))
    print(f"  py3langid alone: {rate(peer_whole)}")
    print("| corruption | pairs | found | false alarms on the same pairs | which alarms | py3langid alone | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for corruption, corrupt in CORRUPTIONS.items():
        changed = corrupt(pairs, random.Random(0))
        kept = [i for i, text in enumerate(changed) if text is not None]
        if not kept:
            continue
        found = raised([(pairs[i].english, str(changed[i])) for i in kept])
        by_peer = peer([str(changed[i]) for i in kept])
        hits = [bool(a) for a in found]
        share = {alarm: np.mean([alarm in a for a in found]) for alarm in ALARMS}
        told = ", ".join(f"{alarm} {100 * part:.0f} %" for alarm, part in share.items() if part >= 0.01)
        ratio = f"×{np.mean(hits) / np.mean(by_peer):.1f}" if any(by_peer) else "–"
        print(
            f"| {corruption} | {len(kept)} | {rate(hits)} | {rate([bool(whole[i]) for i in kept])} | {told} "
            f"| {rate(by_peer)} | {ratio} |"
        )


def speed(pairs: Sequence[Pair], seconds: float = 3.0) -> None:
    """Print pairs a second, ours and py3langid's alone, by turns on the same pairs."""
    some = [(pair.english, pair.italian) for pair in pairs[:2000]]
    runs: dict[str, list[float]] = {"signals": [], "py3langid alone": []}
    signals(some[:50])
    end = time.perf_counter() + 2 * seconds
    while time.perf_counter() < end or len(runs["signals"]) < 3:
        for label, run in (
            ("signals", lambda: signals(some)),
            ("py3langid alone", lambda: peer([it for _, it in some])),
        ):
            start = time.process_time()
            run()
            runs[label].append(len(some) / (time.process_time() - start))
    for label, values in runs.items():
        print(
            f"{label:<16} {np.median(values):7.0f} pairs/s of one core "
            f"(of {len(values)}: {min(values):.0f}–{max(values):.0f})"
        )
    print(f"ratio {np.median(runs['signals']) / np.median(runs['py3langid alone']):.2f}")


def open_pictures(names: Sequence[str]) -> list[Image.Image]:
    """Open files and members of tars (`photos.tar#1.jpg`)."""
    pictures: list[Image.Image] = []
    with contextlib.ExitStack() as stack:
        tars: dict[str, tarfile.TarFile] = {}
        for name in names:
            archive, _, member = name.partition("#")
            if archive not in tars and member:
                tars[archive] = stack.enter_context(tarfile.open(archive))
            stream = tars[archive].extractfile(member) if member else stack.enter_context(Path(name).open("rb"))
            assert stream is not None
            pictures.append(Image.open(io.BytesIO(stream.read())).convert("RGB"))
    return pictures


def with_pictures(pairs: Sequence[Pair], model: str) -> None:
    """Print what the similarity of picture and Italian caption finds."""
    encoder = load(model)
    pictures = open_pictures([pair.picture for pair in pairs])
    good = similarities(encoder, pictures, [pair.italian for pair in pairs])
    half = np.arange(len(pairs)) // 2 % 2 == 0  # captions of one picture stand side by side
    threshold = float(np.quantile(good[half], 0.05))
    print(
        f"\n{model}, {len(pairs)} pairs: similarity below {threshold:.3f}; false alarms {rate(good[~half] < threshold)}"
    )
    for corruption, corrupt in CORRUPTIONS.items():
        changed = corrupt(pairs, random.Random(0))
        kept = [i for i, text in enumerate(changed) if text is not None and not half[i]]
        if kept:
            bad = similarities(encoder, [pictures[i] for i in kept], [str(changed[i]) for i in kept])
            print(f"| {corruption} | {len(kept)} | {rate(bad < threshold)} |")


def main() -> None:
    """Measure all that was given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=Path, nargs="+", default=[])
    parser.add_argument("--parallel", type=Path, nargs=2)
    parser.add_argument("--model", help="also compare pictures and captions of the last file of --captions")
    arguments = parser.parse_args()
    sets = {f"{path.parent.name}/{path.stem}": read_captions(path) for path in arguments.captions}
    if arguments.parallel:
        english, italian = (path.read_text("utf-8").splitlines() for path in arguments.parallel)
        sets[arguments.parallel[1].stem] = [Pair(*both) for both in zip(english, italian, strict=True)]
    if not sets:
        parser.error("nothing to measure; give --captions or --parallel")
    for name, pairs in sets.items():
        measure(name, pairs)
    print()
    speed(next(iter(sets.values())))
    if arguments.model and arguments.captions:
        last = arguments.captions[-1]
        with_pictures(sets[f"{last.parent.name}/{last.stem}"], arguments.model)


if __name__ == "__main__":
    main()

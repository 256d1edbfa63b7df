"""How fast Italian rows are found in WIT, and in what memory: our reader beside pandas (in chunks) and polars.

python benchmarks/corpus/wit.py [--rows 2000000] [--work DIR] [--repeat 3] [--readers ours polars pandas]

Writes a gzip file of WIT's real layout with a text of our own (17 columns, 5 % Italian rows, quotes, tabs and newlines
inside fields, about 1.3 kB a row), kept in --work, where later runs find it. Each reader runs in a process of its own
on one core and returns the number and the hash of its rows (picture, page, caption), which must agree. Needs Linux,
isal, pandas, polars, and 1.2 GB of disk for 2 million rows.
"""

import argparse
import csv
import hashlib
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

LANGUAGES = {
    "en": 20,
    "de": 12,
    "fr": 11,
    "es": 8,
    "ru": 8,
    "it": 5,
    "pl": 6,
    "ja": 7,
    "uk": 5,
    "nl": 6,
    "sv": 6,
    "pt": 6,
}
SYLLABLES = re.findall("..", "bachedifogralumiperquarestatuvazibreclodanenfigerosiltorumve")
ITALIAN = [("image_url", 2), ("page_url", 1), ("caption_reference_description", 6)]


def write_file(path: Path, count: int) -> None:
    """Write `count` rows of the real layout, the same ones every time."""
    from isal import igzip

    from clip_italian.corpus.sources.wit import COLUMNS

    partial = path.with_name(path.name + ".part")
    with igzip.open(partial, "wt", compresslevel=2, encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(made_rows(count))
    partial.rename(path)


def made_rows(count: int) -> Iterator[list[object]]:
    """Yield rows: a quarter without a caption, a quarter with newlines, a fifth with quotes, some with tabs."""
    draw = random.Random(0)
    words = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 4))) for _ in range(20_000)]
    words += ["città", "perché", "Γαλαξίας", "猫は窓辺に", "собака", "l'acqua"] * 40
    pieces = [" ".join(draw.choices(words, k=draw.randint(4, 12))) for _ in range(50_000)]
    codes, weights = list(LANGUAGES), list(LANGUAGES.values())
    for i in range(count):
        language = draw.choices(codes, weights)[0]
        chance = draw.random()
        title = draw.choice(words).title()
        page = ". ".join(draw.choices(pieces, k=5))
        section = ". ".join(draw.choices(pieces, k=draw.randint(1, 20)))
        caption = draw.choice(pieces) if draw.random() < 0.75 else ""
        if chance < 0.25:
            section = section.replace(". ", ".\n\n", 3)
        if 0.15 < chance < 0.35:
            page = page.replace(". ", '. "', 1) + '"'
        if caption and 0.3 < chance < 0.34:
            caption = f'"{caption}", disse\ta\n{title}'
        yield [
            language,
            f"https://{language}.wikipedia.org/wiki/{title}_{i % 900_000}",
            f"http://upload.wikimedia.org/wikipedia/commons/{i % 16:x}/{i % 256:02x}/{title}_{i}.jpg",
            title,
            draw.choice(words),
            f"{title} / {draw.choice(words)}",
            caption,
            draw.choice(pieces) if draw.random() < 0.7 else "",
            draw.choice(words) if draw.random() < 0.1 else "",
            "image/jpeg" if draw.random() < 0.9 else "image/svg+xml",
            draw.randint(200, 5000),
            draw.randint(200, 5000),
            "true" if draw.random() < 0.3 else "false",
            "true" if draw.random() < 0.6 else "false",
            "true",
            page,
            section,
        ]


def ours(path: Path) -> Iterator[tuple[str, str, str]]:
    """Read with the package's source, records and all."""
    from clip_italian.corpus.sources.wit import Wit

    def fail(message: str) -> None:
        raise SystemExit(f"passed over: {message}")

    for record in Wit(files=(path.name,)).records(path.parent, fail):
        yield record.image, record.page, record.captions[0].text


def pandas(path: Path) -> Iterator[tuple[str, str, str]]:
    """Read with pandas' C parser in chunks, only the columns that are needed."""
    import pandas

    names = ["language", "mime_type", *(name for name, _ in ITALIAN)]
    for chunk in pandas.read_csv(path, sep="\t", usecols=names, dtype=str, keep_default_na=False, chunksize=50_000):
        wanted = chunk[
            (chunk["language"] == "it")
            & (chunk["mime_type"] == "image/jpeg")
            & (chunk["caption_reference_description"] != "")
        ]
        yield from zip(*(wanted[name] for name, _ in ITALIAN), strict=True)


def polars(path: Path) -> Iterator[tuple[str, str, str]]:
    """Read with polars' lazy scan, streaming, filters pushed into it."""
    import polars

    found = (
        polars.scan_csv(path, separator="\t", infer_schema=False)
        .filter(
            (polars.col("language") == "it")
            & (polars.col("mime_type") == "image/jpeg")
            & polars.col("caption_reference_description").is_not_null()
        )
        .select([name for name, _ in ITALIAN])
        .collect(engine="streaming")
    )
    yield from found.iter_rows()


READERS = {"ours": ours, "polars": polars, "pandas": pandas}


def digest(rows: Iterable[tuple[str, str, str]]) -> tuple[int, str]:
    """Count and hash rows in any order; blanks are joined, as our captions have them."""
    count, total = 0, 0
    for row in rows:
        count += 1
        whole = "\0".join(" ".join(value.split()) for value in row)
        total ^= int.from_bytes(hashlib.blake2b(whole.encode(), digest_size=16).digest())
    return count, f"{total:032x}"


def run_one(reader: str, path: Path) -> None:
    """Read in this process and print what was found, in what time and memory, as JSON."""
    start = time.perf_counter()
    count, found = digest(READERS[reader](path))
    wall = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"count": count, "hash": found, "seconds": wall, "cpu": time.process_time(), "peak_mb": peak}))


def measured(reader: str, path: Path) -> dict[str, float]:
    """Run a reader in a process of its own, held to one core."""
    core = str(sorted(os.sched_getaffinity(0))[-1])
    environment = {**os.environ, "POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = ["taskset", "-c", core, sys.executable, __file__, "--one", reader, "--file", str(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{reader} ended with {done.returncode}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


def main() -> None:
    """Write the file where it is missing, run every reader by turns, print rates, memory and ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "clip-italian-wit")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--readers", nargs="+", choices=list(READERS), default=list(READERS))
    parser.add_argument("--one", choices=list(READERS), help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        return run_one(args.one, args.file)
    args.work.mkdir(parents=True, exist_ok=True)
    path = args.work / f"wit-{args.rows}.tsv.gz"
    if not path.exists():
        start = time.perf_counter()
        write_file(path, args.rows)
        print(f"wrote {path} in {time.perf_counter() - start:.0f} s")
    print(f"{args.rows:,} rows, {path.stat().st_size / 1e6:,.0f} MB compressed, one core, {args.repeat} runs by turns")
    runs = {reader: [] for reader in args.readers}
    for _ in range(args.repeat):
        for reader in args.readers:
            runs[reader].append(measured(reader, path))
    print(f"{'reader':<8} {'rows/s':>9} {'slowest–fastest':>19} {'rows/CPU s':>11} {'peak MB':>8} {'found':>8}")
    for reader, done in runs.items():
        rates = sorted(args.rows / run["seconds"] for run in done)
        cpu = statistics.median(args.rows / run["cpu"] for run in done)
        spread = f"{rates[0]:,.0f}–{rates[-1]:,.0f}"
        peak = max(run["peak_mb"] for run in done)
        print(
            f"{reader:<8} {statistics.median(rates):9,.0f} {spread:>19} {cpu:11,.0f} {peak:8.0f} {done[0]['count']:8}"
        )
    if len({(run["count"], run["hash"]) for done in runs.values() for run in done}) > 1:
        raise SystemExit("the readers found different rows")
    print("all found the same rows")
    for reader in args.readers[1:]:
        for what, name in (("cpu", "CPU time"), ("seconds", "the clock")):  # other work disturbs the first less
            pairs = zip(runs[args.readers[0]], runs[reader], strict=True)
            ratios = sorted(other[what] / our[what] for our, other in pairs)
            print(
                f"{args.readers[0]} / {reader}: {statistics.median(ratios):.2f} times as fast by {name} "
                f"({ratios[0]:.2f}–{ratios[-1]:.2f} over {args.repeat} runs)"
            )
    return None


if __name__ == "__main__":
    main()

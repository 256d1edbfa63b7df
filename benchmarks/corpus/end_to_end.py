"""A corpus built end to end from real photos and captions, in the real sources' layouts, over a server with faults.

Photos and captions of coco-photos and MSCOCO-IT's dev set are written as WIT, Conceptual Captions and MSCOCO-IT files
and served from this machine, some with faults; English captions go through a server that answers as DeepL does and
knows their Italian. Then: what came through and what was refused; that MSCOCO-IT's dev photos are kept out; that builds
killed again and again come to the same bytes; that a photo that leaves is in no file any more. Prints a report and the
corpus's folder, with shards to train on.

Run: python benchmarks/corpus/end_to_end.py --data DATA --work DIR [--photos 2000] [--kills 8]
DATA holds coco-photos/ and mscoco-it/. Needs the extra corpus; takes some ten minutes.
"""

import argparse
import csv
import gzip
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2] / "tests" / "corpus" / part) for part in (".", "translation")]

import pyarrow.parquet  # noqa: E402
from deepl_server import KEY, DeepLServer  # noqa: E402
from server import PictureServer  # noqa: E402

from clip_italian.corpus.sources.wit import COLUMNS  # noqa: E402
from clip_italian.data.readers import read  # noqa: E402
from clip_italian.data.sample import Sample  # noqa: E402

PROGRAM = [sys.executable, "-c", "from clip_italian.cli import main; main()", "corpus"]
NAMES = ("Dora Riparia", "Anna Maria Mozzoni", "Joey Ramone Place", "Kim Rhodes", "Ralph George Hawtrey")
FAULTS = ("status/404/1.jpg", "html.jpg", "truncated/5.jpg", "cut/6.jpg", "loop/a", "pixels.png", "empty.jpg",
          "header/7.jpg?X-Robots-Tag=noai", "header/8.jpg?tdm-reservation=1", "to?url=http://10.0.0.1/x.jpg",
          "bomb.jpg", "heic.jpg", "tiny.gif", "garbage", "reset/0/9.jpg", "status/500/3.jpg")  # fmt: skip


def main() -> None:
    """Build, look, kill, build, forget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=8)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    samples = read(given.data / "coco-photos" / "train.jsonl")[: given.photos]
    deepl = DeepLServer()
    deepl.limit = 10**9
    threading.Thread(target=deepl.serve_forever, daemon=True).start()
    os.environ["DEEPL_AUTH_KEY"] = KEY
    with PictureServer() as server:
        write_sources(given.work, samples, given.data, server, deepl)
        plan = write_plan(given.work, server, deepl)
        seconds = build(plan, given.work / "whole")
        print(f"built in {seconds:.0f} s: {given.work / 'whole'}; characters translated: {deepl.used:,}")
        paid = deepl.used
        killed = build_with_kills(plan, given.work / "killed", seconds, given.kills)
        same = tree(given.work / "whole" / "shards") == tree(given.work / "killed" / "shards")
        print(
            f"killed {killed} times, then finished: shards, index and list of ids {'identical' if same else 'DIFFER'}"
        )
        assert same, "a build that was killed came to other bytes"
        print(f"characters translated for the second build: {deepl.used - paid:,} (its own cache)")
        forget(plan, given.work / "killed", server)


def write_sources(work: Path, samples: list[Sample], data: Path, server: PictureServer, deepl: DeepLServer) -> None:
    """Write files of the real layouts: half of the photos as WIT rows, the rest as Conceptual Captions."""
    rows = [wit_row(name, server.url(f"photo/{900_000 + i}.jpg")) for i, name in enumerate(NAMES)]
    rows += [wit_row("Un prato con le pecore", server.url(path)) for path in FAULTS]
    english = []
    for i, sample in enumerate(samples):
        server.files[f"{i}.jpg"] = sample.image.read()
        url = server.url(f"file/{i}.jpg" + ("?flaky=1" if i % 50 == 0 else ""))
        pairs = list(zip(sample.texts("en"), sample.texts("it"), strict=False))
        if i % 2 and pairs:
            english += [f"{pair[0]}\t{url}" for pair in pairs[:1]]
            deepl.known |= dict(pairs[:1])
        else:
            rows += [wit_row(text, url) for text in sample.texts("it")[:1]]
            rows.append(wit_row("a caption in English, of another row", url, language="en"))
    rows += [wit_row(samples[0].texts("it")[0], server.url("file/0.jpg?again=1"))]  # the same photo at another address
    with gzip.open(work / "wit_v1.train.all-00000-of-00010.tsv.gz", "wt", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    (work / "Train_GCC-training.tsv").write_text("\n".join(english) + "\n")
    for name in ("original", "images-dev.tar"):
        link = work / name
        link.unlink(missing_ok=True)
        link.symlink_to((data / "mscoco-it" / name).resolve())


def wit_row(caption: str, url: str, language: str = "it") -> list[str]:
    """Return a row of WIT."""
    page = hashlib.sha256(f"{caption}{url}".encode()).hexdigest()[:8]
    row = dict.fromkeys(COLUMNS, "") | {
        "language": language, "page_url": f"https://{language}.wikipedia.org/wiki/{page}", "image_url": url,
        "caption_reference_description": caption, "mime_type": "image/jpeg", "page_title": page,
        "context_page_description": 'Un testo "con virgolette",\ne un a capo.', "is_main_image": "true",
    }  # fmt: skip
    return [row[name] for name in COLUMNS]


def write_plan(work: Path, server: PictureServer, deepl: DeepLServer) -> Path:
    """Write the plan of it all."""
    path = work / "corpus.toml"
    path.write_text(f"""name = "prova"

[[sources]]
kind = "wit"

[[sources]]
kind = "conceptual-captions"

[[sources]]
kind = "mscoco-it"
files = ["original/captions_ita_devset_*validated.json.gz"]
splits = ["dev"]
images = "images-dev.tar"

[fetching]
allow_private = true
ports = [{server.port}]
rate = 100000.0
per_host = 32
backoff = 0.05
read_timeout = 3.0

[translation]
engine = "deepl"
server_url = "{deepl.url}"

[shards]
samples = 250

[shards.weights]
wit = 1.0
conceptual-captions = 0.5
""")
    return path


def build(plan: Path, out: Path) -> float:
    """Build by the command, its report shown; returns the seconds."""
    begun = time.monotonic()
    subprocess.run([*PROGRAM, "build", str(plan), "--out", str(out)], check=True)
    return time.monotonic() - begun


def build_with_kills(plan: Path, out: Path, seconds: float, kills: int) -> int:
    """Build, killed at random moments, then to the end; returns how often it was killed before it was done."""
    rng, killed = random.Random(0), 0
    for _ in range(kills):
        process = subprocess.Popen(
            [*PROGRAM, "build", str(plan), "--out", str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(rng.uniform(1.0, 1.0 + 0.15 * seconds))
        process.send_signal(signal.SIGKILL)
        killed += process.wait() == -signal.SIGKILL
    subprocess.run([*PROGRAM, "build", str(plan), "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    return killed


def tree(folder: Path) -> dict[str, str]:
    """Return name → SHA-256 of the files of a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def forget(plan: Path, out: Path, server: PictureServer) -> None:
    """Take one photo out and look for it, its address and its caption in every file."""
    sample = next(s for s in read(out / "shards") if s.extra["source"] == "wit")
    needles = [sample.image.read()[-2000:], str(sample.extra["url"]).encode() + b'"', sample.captions[0].text.encode()]
    before = traces(out, needles)
    assert before, "the photo is looked for where it is"
    subprocess.run([*PROGRAM, "forget", str(plan), str(sample.extra["url"]), "--out", str(out)], check=True)
    after = traces(out, needles)
    print(f"files with traces of the photo, its address or its caption: {before} before, {after} after")
    assert not after
    path = str(sample.extra["url"]).partition("?")[0].removeprefix(server.url("").rstrip("/"))
    asked = server.counts[path]
    subprocess.run([*PROGRAM, "build", str(plan), "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    print(f"after another build: {traces(out, needles)}; asked for again: {server.counts[path] - asked} times")


def traces(folder: Path, needles: list[bytes]) -> int:
    """Count the files that hold one of the needles, the index unpacked."""
    found = 0
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".parquet":
                data = repr(pyarrow.parquet.read_table(path).to_pylist()).replace("'", '"').encode()
            found += any(needle in data for needle in needles)
    return found


if __name__ == "__main__":
    print(json.dumps({"cores": os.cpu_count()}))
    main()

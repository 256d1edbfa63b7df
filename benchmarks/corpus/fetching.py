"""How many pictures a second are fetched, checked and stored, beside img2dataset, from the same local server.

The server is a process of its own on the same machine, and costs about a tenth of one core. It has 500 drawn photos:
nine in ten of 500 × 375 pixels (about 60 kB), the others of 1600 × 1200 (about 320 kB); every request has another
address. Both reduce to the same shorter side and write JPEGs of the same quality. Each has its checks on: ours
robots.txt, opt-out headers, addresses, limits, whole pictures, and fsync of every file; img2dataset X-Robots-Tag.

Rounds alternate. A rate is the number of pictures by the time from the first request that the server saw to the last,
so that neither's start counts. Memory is the process tree's proportional set size at its highest.

Run: python benchmarks/corpus/fetching.py [--count 20000] [--rounds 3] [--side 256] [--peer PYTHON]

With --pools it measures instead how fast pictures are checked and reduced, without a network and without a store, in
one thread, in threads and in processes: whether threads are enough.

PYTHON is an interpreter that has img2dataset (its old pins want an environment of its own):
    python3 -m venv /tmp/peer && /tmp/peer/bin/pip install img2dataset
    python benchmarks/corpus/fetching.py --peer /tmp/peer/bin/python
"""

import argparse
import asyncio
import functools
import io
import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

PHOTOS = 500
PEER = """
import sys
from img2dataset import download
if __name__ == "__main__":
    urls, out, side, quality, processes, threads, form = sys.argv[1:]
    download(
        url_list=urls, input_format="txt", output_folder=out, output_format=form, image_size=int(side),
        resize_mode="keep_ratio", resize_only_if_bigger=True, encode_quality=int(quality),
        processes_count=int(processes), thread_count=int(threads), number_sample_per_shard=1000,
        enable_wandb=False, retries=2,
    )
"""


def photo(number: int) -> bytes:
    """Draw a photo: large smooth shapes, finer ones, and grain, so that its JPEG is as large as a camera's."""
    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(number)
    width, height = (1600, 1200) if number % 10 == 9 else (500, 375)
    total = np.zeros((height, width, 3), np.float32)
    for parts, weight in ((4, 0.6), (20, 0.3), (90, 0.15)):
        small = Image.fromarray(draw.integers(0, 256, (parts * 3 // 4, parts, 3), dtype=np.uint8))
        total += weight * np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    total += draw.normal(0, 5, total.shape)
    out = io.BytesIO()
    Image.fromarray(np.clip(total, 0, 255).astype(np.uint8)).save(out, "JPEG", quality=88)
    return out.getvalue()


class Answers(asyncio.Protocol):
    """Answer /N/ANYTHING with photo N, and /stats with the number of photos and the seconds since the last /stats."""

    photos: Sequence[bytes] = ()
    count, first, last = 0, 0.0, 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to listen."""
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.rest = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer each whole request."""
        *heads, self.rest = (self.rest + data).split(b"\r\n\r\n")
        for head in heads:
            place = head.split(b" ", 2)[1].split(b"/")[1]
            if place.isdigit():
                Answers.last = time.perf_counter()
                Answers.first = Answers.first or Answers.last
                Answers.count += 1
                self._send(b"200 OK", self.photos[int(place)])
            elif place == b"stats":
                self._send(b"200 OK", json.dumps([Answers.count, Answers.last - Answers.first]).encode())
                Answers.count, Answers.first = 0, 0.0
            else:
                self._send(b"404 Not Found", b"")
            if b"connection: close" in head.lower():
                self.transport.close()

    def _send(self, status: bytes, body: bytes) -> None:
        self.transport.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))


async def serve() -> None:
    """Serve until killed; prints the port."""
    Answers.photos = [photo(number) for number in range(PHOTOS)]
    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], sum(map(len, Answers.photos)) // PHOTOS, flush=True)
    await server.serve_forever()


def ours(urls: Path, out: Path, side: int, quality: int, threads: int) -> None:
    """Fetch with this package."""
    from clip_italian.corpus.fetching.fetch import fetch
    from clip_italian.corpus.fetching.outcome import Job
    from clip_italian.corpus.fetching.plan import FetchPlan
    from clip_italian.corpus.fetching.store import Store

    def jobs() -> Iterator[Job]:
        with urls.open() as stream:
            for i, line in enumerate(stream):
                yield Job(str(i), line.strip())

    port = int(urls.open().readline().split(":")[2].split("/")[0])
    plan = FetchPlan(
        allow_private=True, ports=(port,), side=side, quality=quality, per_host=64, rate=1e6, threads=threads
    )
    print(json.dumps(dict(fetch(jobs(), Store(out), plan, lambda outcome: None).by_status)))


def reduced(data: bytes, side: int, quality: int) -> int:
    """Check and reduce a picture; returns its size in bytes."""
    from clip_italian.corpus.fetching.pictures import prepared
    from clip_italian.corpus.fetching.plan import FetchPlan

    return len(prepared(data, FetchPlan(side=side, quality=quality))[0])


def pools(options: argparse.Namespace) -> None:
    """Check and reduce photos in one thread, in threads and in processes, by turns."""
    photos = [photo(number) for number in range(50)] * (options.count // 50)
    cores = os.cpu_count() or 1
    kinds = {
        "one thread": ThreadPoolExecutor(1),
        f"{cores} threads": ThreadPoolExecutor(cores),
        f"{cores} processes": ProcessPoolExecutor(cores, mp_context=multiprocessing.get_context("spawn")),
    }
    rates: dict[str, list[float]] = {}
    call = functools.partial(reduced, side=options.side, quality=options.quality)
    for kind in kinds.values():
        list(kind.map(call, photos[:50]))  # started and imported
    for _ in range(options.rounds):
        for name, kind in kinds.items():
            start = time.perf_counter()
            list(kind.map(call, photos))
            rates.setdefault(name, []).append(len(photos) / (time.perf_counter() - start))
    for name, values in rates.items():
        print(f"{name:<12} median {statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f}) pictures/s")


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    below: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it ended meanwhile
        below.setdefault(parent, []).append(int(path.parent.name))
    found = [pid]
    for one in found:
        found.extend(below.get(one, ()))
    return found


def memory(pid: int) -> int:
    """Return the bytes that a process tree holds; what its processes share is counted once."""
    total = 0
    for one in tree(pid):
        try:
            rows = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(row.split()[1]) * 1024 for row in rows if row.startswith("Pss:"))
    return total


def measured(command: list[str], port: int) -> tuple[int, float, float, float]:
    """Run a command; returns pictures, seconds, CPU seconds and the most memory in bytes."""
    stats(port)
    before = os.times()
    most, over = 0, threading.Event()
    with tempfile.TemporaryFile() as told, subprocess.Popen(command, stdout=told, stderr=told) as process:

        def watch() -> None:
            nonlocal most
            while not over.wait(0.25):
                most = max(most, memory(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        process.wait()
        over.set()
        watcher.join()
        told.seek(0)
        if process.returncode:
            sys.exit(f"{command[:3]} failed:\n{told.read().decode()[-3000:]}")
    after = os.times()
    count, seconds = stats(port)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return count, seconds, cpu, most


def stats(port: int) -> tuple[int, float]:
    """Ask the server what it has seen since it was last asked."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats") as answer:
        count, seconds = json.load(answer)
    return count, seconds


def main() -> None:
    """Measure in rounds and print each, the medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000, help="requests a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", type=int, default=256, help="the shorter side of what is stored")
    parser.add_argument("--quality", type=int, default=90)
    parser.add_argument("--threads", type=int, default=4, help="ours, that decode and write")
    parser.add_argument("--peer", help="an interpreter that has img2dataset")
    parser.add_argument("--peer-format", default="webdataset", choices=("webdataset", "files"))
    parser.add_argument("--peer-processes", type=int, default=os.cpu_count())
    parser.add_argument("--peer-threads", type=int, default=32, help="of each process of the peer")
    parser.add_argument("--pools", action="store_true", help="threads against processes, without a network")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--ours", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve())
    elif options.pools:
        pools(options)
    elif options.ours:
        ours(*options.ours, options.side, options.quality, options.threads)
    else:
        compare(options)


def compare(options: argparse.Namespace) -> None:
    """Start the server and measure both by turns."""
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    rates: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as place:
        try:
            port, size = map(int, server.stdout.readline().split())
            print(f"{options.count} requests a round, {size / 1e3:.0f} kB a photo, shorter side {options.side}")
            urls = Path(place, "urls.txt")
            urls.write_text("".join(f"http://127.0.0.1:{port}/{i % PHOTOS}/{i}.jpg\n" for i in range(options.count)))
            Path(place, "peer.py").write_text(PEER)
            for _ in range(options.rounds):
                for name, command in commands(options, urls, Path(place)).items():
                    count, seconds, cpu, most = measured(command, port)
                    rates.setdefault(name, []).append(count / seconds)
                    print(
                        f"{name:<12} {count / seconds:7.1f} pictures/s   {cpu / count * 1e3:5.2f} ms of CPU each   "
                        f"{most / 1e6:6.0f} MB   {count} pictures",
                        flush=True,
                    )
                    shutil.rmtree(Path(place, name))
        finally:
            server.kill()
            server.wait()
    for name, values in rates.items():
        print(f"{name:<12} median {statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f}) pictures/s")
    if options.peer:
        ratios = [mine / other for mine, other in zip(rates["ours"], rates["img2dataset"], strict=True)]
        print(f"ratio        median {statistics.median(ratios):.2f}× ({min(ratios):.2f} to {max(ratios):.2f})")


def commands(options: argparse.Namespace, urls: Path, place: Path) -> dict[str, list[str]]:
    """Return what to run, by name."""
    common = [f"--side={options.side}", f"--quality={options.quality}", f"--threads={options.threads}"]
    found = {"ours": [sys.executable, __file__, *common, "--ours", str(urls), str(place / "ours")]}
    if options.peer:
        found["img2dataset"] = [
            options.peer, str(place / "peer.py"), str(urls), str(place / "img2dataset"), str(options.side),
            str(options.quality), str(options.peer_processes), str(options.peer_threads), options.peer_format,
        ]  # fmt: skip
    return found


if __name__ == "__main__":
    main()

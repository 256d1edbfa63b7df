"""A whole run: lazily read jobs, flat memory, Control-C, kill -9 and another run after it."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc

import pytest
from server import picture

from clip_italian.corpus.fetching.fetch import fetch
from clip_italian.corpus.fetching.outcome import Job
from clip_italian.corpus.fetching.pictures import take_in
from clip_italian.corpus.fetching.plan import FetchPlan

SCRIPT = """
import json, sys
from clip_italian.corpus.fetching.fetch import fetch
from clip_italian.corpus.fetching.outcome import Job
from clip_italian.corpus.fetching.plan import FetchPlan
from clip_italian.corpus.fetching.store import Store
url, port, root, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
plan = FetchPlan(allow_private=True, ports=(port,), rate=1e6, per_host=16, side=48)
def note(outcome):
    print(json.dumps(outcome.to_json()), flush=True)
try:
    jobs = (Job(str(i), f"{url}photo/{i}.jpg?w=120&h=90") for i in range(count))
    counts = fetch(jobs, Store(root), plan, note)
    print(json.dumps({"done": counts.jobs}))
except KeyboardInterrupt:
    print(json.dumps({"stopped": 1}))
    sys.exit(130)
"""


def start(server, root, count):
    command = [sys.executable, "-c", SCRIPT, server.url(""), str(server.port), str(root), str(count)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def whole(root):
    """Return the names of the stored files, each found to be what its name says."""
    names = {path.name for path in root.glob("??/*")}
    assert names == {f"{hashlib.sha256(path.read_bytes()).hexdigest()}.jpg" for path in root.glob("??/*")}
    return names


def test_kill_and_run_again(server, tmp_path):
    """Killed three times at any moment, then run to the end: the same files as of a run that was left alone."""
    root = tmp_path / "killed"
    for after in (5, 60, 150):
        process = start(server, root, 300)
        told = [json.loads(process.stdout.readline()) for _ in range(after)]
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=20)
        assert process.returncode == -signal.SIGKILL
        names = whole(root)
        assert all(f"{outcome['sha256']}.jpg" in names for outcome in told), "what was handed over stays"
    (root / ".part" / "half").write_bytes(b"\xff\xd8half")
    for place in (root, tmp_path / "alone"):
        out, err = start(server, place, 300).communicate(timeout=60)
        assert err == "" and json.loads(out.splitlines()[-1]) == {"done": 300}
    assert whole(root) == whole(tmp_path / "alone")
    assert len(whole(root)) == 300
    assert not list((root / ".part").iterdir())


@pytest.mark.parametrize("after", [1, 20, 21, 50])
def test_control_c_stops_cleanly(server, tmp_path, after):
    process = start(server, tmp_path / "s", 100_000)
    told = [json.loads(process.stdout.readline()) for _ in range(after)]
    begun = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and time.monotonic() - begun < 10
    assert err == "" and out.splitlines()[-1] == '{"stopped": 1}'
    told += [json.loads(line) for line in out.splitlines()[:-1]]
    names = whole(tmp_path / "s")
    assert all(f"{outcome['sha256']}.jpg" in names for outcome in told)
    assert not list((tmp_path / "s" / ".part").iterdir())


def test_jobs_are_read_no_further_than_needed(server, store, plan):
    read, ended, most = 0, 0, 0

    def jobs():
        nonlocal read, most
        for i in range(2000):
            read += 1
            most = max(most, read - ended)
            yield Job(str(i), server.url(f"photo/{i % 7}.jpg") if i % 3 else "ftp://no/")

    def note(outcome):
        nonlocal ended
        ended += 1

    counts = fetch(jobs(), store, plan(ahead=50, connections=20), note)
    assert counts.jobs == ended == 2000 and most <= 50
    assert counts.by_status == {"ok": 1333, "bad_url": 667} and counts.stored == 1333
    assert counts.requests == 1334 and counts.bytes_in >= 1333 * 2000


def test_callers_faults_end_the_run(server, store, plan):
    def jobs():
        yield from (Job(str(i), server.url("photo/1.jpg")) for i in range(30))
        raise OSError("the list is broken")

    with pytest.raises(OSError, match="the list is broken"):
        fetch(jobs(), store, plan(), lambda outcome: None)

    def note(outcome):
        raise RuntimeError("the ledger is broken")

    with pytest.raises(RuntimeError, match="the ledger is broken"):
        fetch((Job(str(i), server.url("photo/1.jpg")) for i in range(30)), store, plan(), note)


def test_no_jobs_and_progress(server, store, plan):
    told = []
    assert fetch([], store, plan(), print, told.append).jobs == 0
    fetch([Job("1", server.url("slow/1.3/1.jpg"))], store, plan(), lambda outcome: None, told.append)
    assert [counts.jobs for counts in told] == [0, 0, 1] and told[-1].seconds > 1.3


def test_a_local_picture_is_stored_as_a_fetched_one(get, store):
    path = "photo/8.jpg?w=800&h=600&o=6&gps=1"
    outcome = get(path)[path]
    stored = take_in(picture(8, w=800, h=600, o=6, gps=1), store, FetchPlan())
    assert (outcome.sha256, outcome.width, outcome.height, outcome.size) == (
        stored.sha256, stored.width, stored.height, stored.size,
    )  # fmt: skip


def test_memory_is_flat(server, tmp_path):
    """Five times as many jobs take no more memory: Python's own by tracemalloc, the process's by the kernel."""
    script = """
import resource, sys, tracemalloc
from clip_italian.corpus.fetching.fetch import fetch
from clip_italian.corpus.fetching.outcome import Job
from clip_italian.corpus.fetching.plan import FetchPlan
from clip_italian.corpus.fetching.store import Store
url, port, root = sys.argv[1], int(sys.argv[2]), sys.argv[3]
plan = FetchPlan(allow_private=True, ports=(port,), rate=1e6, per_host=32, ahead=100, threads=2)
def run(count):
    kinds = ["photo/{}.jpg", "status/404/{}", "html.jpg?{}", "header/{}.jpg?X-Robots-Tag=noai", "cut/{}.jpg"]
    jobs = (Job(str(i), url + kinds[i % 5].format(i % 50) + f"#{i}") for i in range(count))
    tracemalloc.reset_peak()
    assert fetch(jobs, Store(root), plan, lambda outcome: None).jobs == count
    return tracemalloc.get_traced_memory()[1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
tracemalloc.start()
run(200)
print(*run(200), *run(1000))
"""
    command = [sys.executable, "-c", script, server.url(""), str(server.port), str(tmp_path / "s")]
    out = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    few, few_rss, many, many_rss = map(int, out.split())
    assert many < few * 1.3 + 500_000, f"{few} bytes for 200 jobs, {many} for 1000"
    assert many_rss - few_rss < 8_000_000, f"{few_rss} bytes for 200 jobs, {many_rss} for 1000"


def test_bombs_and_endless_bodies_fill_no_memory(get):
    tracemalloc.start()
    try:
        get(*(f"{kind}?{i}" for i in range(12) for kind in ("bomb.jpg", "endless.jpg", "pixels.png")))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 120_000_000  # of 24 GiB that were offered; the server's own share is in it


def test_a_missing_library_is_named(monkeypatch, store):
    from clip_italian.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "protego", None)
    with pytest.raises(MissingExtra, match=r"protego.*pip install 'clip-italian\[corpus\]'"):
        fetch([], store, FetchPlan(), print)


def test_importing_the_room_loads_no_client():
    script = "import sys, clip_italian.corpus.fetching.fetch; print({'aiohttp', 'protego'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True, env=dict(os.environ)).strip() == "set()"

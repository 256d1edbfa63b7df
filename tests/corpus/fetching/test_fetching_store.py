"""The store: whole files or none, each once, whoever writes and however it ends."""

import fcntl
import hashlib
import os
import subprocess
import sys
import threading

import pytest
from server import picture

from clip_italian.corpus.fetching.store import Store
from clip_italian.errors import CannotWrite, ClipItalianError


def test_put_path_remove(store):
    sha256 = store.put(b"picture")
    assert sha256 == hashlib.sha256(b"picture").hexdigest()
    assert store.path(sha256).read_bytes() == b"picture"
    before = store.path(sha256).stat().st_mtime_ns
    assert store.put(b"picture") == sha256 and store.path(sha256).stat().st_mtime_ns == before
    assert store.remove(sha256) and not store.remove(sha256)
    assert not store.path(sha256).exists() and not list((store.root / ".part").iterdir())


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "AB" * 32, "a" * 63, "a" * 65, "é" * 64, "a" * 64 + "\n"])
def test_only_hashes_name_pictures(store, name):
    for use in (store.path, store.remove):
        with pytest.raises(ClipItalianError, match="not a SHA-256"):
            use(name)


def test_a_half_file_is_mended(store):
    """As after a loss of power on a file system that does not keep its order."""
    sha256 = store.put(b"picture")
    store.path(sha256).write_bytes(b"pic")
    store.put(b"picture")
    assert store.path(sha256).read_bytes() == b"picture"


def test_many_writers_of_the_same_and_of_different_bytes(store):
    def write():
        for i in range(60):
            store.put(b"same" * 1000)
            store.put(str(i % 20).encode())
            Store(store.root).tidy()

    threads = [threading.Thread(target=write) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    files = [path for path in store.root.rglob("*") if path.is_file()]
    assert len(files) == 21
    assert all(hashlib.sha256(path.read_bytes()).hexdigest() == path.stem for path in files)


def test_tidy_leaves_what_a_living_process_writes(store):
    store.put(b"x")
    dead, living = store.root / ".part" / "dead", store.root / ".part" / "living"
    dead.write_bytes(b"half")
    with living.open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert store.tidy() == 1
    assert living.exists() and not dead.exists()


def test_a_full_disk_stops_the_fetch_and_leaves_no_half_file(server, tmp_path):
    """A limit on the size of files stands for the full disk: the kernel refuses in the middle of a file."""
    script = """
import resource, signal, sys
from clip_italian.corpus.fetching.fetch import fetch
from clip_italian.corpus.fetching.outcome import Job
from clip_italian.corpus.fetching.plan import FetchPlan
from clip_italian.corpus.fetching.store import Store
from clip_italian.errors import CannotWrite
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
url, port, root = sys.argv[1], int(sys.argv[2]), sys.argv[3]
urls = [f"{url}photo/{i}.jpg" for i in range(3000)]
urls[20] += "?w=1600&h=1200"
plan = FetchPlan(allow_private=True, ports=(port,), rate=1e6, side=None, connections=2, ahead=30)
try:
    fetch((Job(u, u) for u in urls), Store(root), plan, lambda outcome: print(outcome.status, flush=True))
except CannotWrite as error:
    print("stopped:", error)
"""
    run = subprocess.run(
        [sys.executable, "-c", script, server.url(""), str(server.port), str(tmp_path / "s")],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    *outcomes, last = run.stdout.splitlines()
    assert last.startswith("stopped: ") and "File too large" in last and "free space" in last
    assert 15 <= len(outcomes) < 100 and set(outcomes) == {"ok"}
    assert_whole(tmp_path / "s")
    assert not list((tmp_path / "s" / ".part").iterdir())


def assert_whole(root):
    for path in root.glob("??/*"):
        assert path.name == f"{hashlib.sha256(path.read_bytes()).hexdigest()}.jpg"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(store):
    store.put(b"x")
    store.root.chmod(0o500)
    with pytest.raises(CannotWrite, match="permissions"):
        store.put(picture(1))


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "s").write_text("a file")
    with pytest.raises(CannotWrite, match="cannot be written"):
        Store(tmp_path / "s").put(b"x")

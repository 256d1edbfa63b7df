"""kill -9, ^C and a full disk in the middle of indexing: real processes, real SQLite."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_encoder import ColourEncoder

from clip_italian.search.album import Album
from clip_italian.search.indexing import index

PHOTOS = 48
COMMAND = [sys.executable, str(Path(__file__).with_name("fake_encoder.py"))]


def rows(path: Path) -> dict[str, tuple[object, ...]]:
    with Album.open(path) as album:
        return {p.path: (p.size, p.mtime_ns, p.sha256, p.width, p.height, p.vector.tobytes()) for p in album.photos()}


@pytest.fixture
def many(tmp_path: Path, paint) -> Path:
    for i in range(PHOTOS):
        paint(tmp_path / "foto" / f"{i:03}.png", "blu", i)
    (tmp_path / "foto" / "bad.jpg").write_text("no picture")
    return tmp_path / "foto"


@pytest.fixture
def expected(many: Path, tmp_path: Path) -> dict[str, tuple[object, ...]]:
    index(many, tmp_path / "whole", ColourEncoder(), batch=4)
    return rows(tmp_path / "whole")


def start(folder: Path, album: Path, delay: float = 0.04) -> subprocess.Popen[str]:
    command = [*COMMAND, "index", str(folder), "--album", str(album), "--model", "fake", "--batch", "4"]
    environment = {**os.environ, "FAKE_DELAY": str(delay)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(album: Path, count: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with contextlib.closing(sqlite3.connect(f"file:{album}?mode=ro", uri=True, timeout=5)) as connection:
                if connection.execute("SELECT count(*) FROM photos").fetchone()[0] >= count:
                    return
        except sqlite3.OperationalError:
            pass
        finally:
            time.sleep(0.005)
    raise AssertionError(f"{album} did not reach {count} photos")


def test_killed_again_and_again_then_finished_equals_one_run(many: Path, tmp_path: Path, expected: dict) -> None:
    album = tmp_path / "killed.album"
    for reached in (1, 13, 29):
        process = start(many, album)
        wait_for(album, reached)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        with sqlite3.connect(album) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
        part = rows(album)
        assert reached <= len(part) < PHOTOS
        assert part.items() <= expected.items()
    encoder = ColourEncoder()
    index(many, album, encoder, batch=4)
    assert rows(album) == expected
    assert encoder.seen == PHOTOS - len(part), "what was finished is not done again"


def test_killed_while_a_batch_is_written(many: Path, tmp_path: Path, expected: dict) -> None:
    """Dies with the journal on the disk and the pages half written: the next opener must play it back."""
    album = tmp_path / "torn.album"
    index(many, album, ColourEncoder(), batch=4)
    script = f"""
import os, sqlite3
connection = sqlite3.connect({str(album)!r}, isolation_level=None)
connection.execute("PRAGMA cache_size = 1")          # so that changed pages reach the file before the commit
connection.execute("BEGIN IMMEDIATE")
connection.execute("UPDATE photos SET vector = zeroblob(128), path = path || 'x'")
connection.execute("DELETE FROM skipped")
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -signal.SIGKILL
    assert album.with_name("torn.album-journal").stat().st_size > 0
    assert b"\0" * 128 in album.read_bytes(), "the file itself is torn"
    assert rows(album) == expected
    assert not album.with_name("torn.album-journal").exists()


def test_interrupt_exits_130_with_a_summary_and_resumes(many: Path, tmp_path: Path, expected: dict) -> None:
    album = tmp_path / "stopped.album"
    process = start(many, album)
    wait_for(album, 8)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    done = len(rows(album))
    assert 8 <= done < PHOTOS
    assert f"{done} added" in out
    assert "run the same command again to go on" in err
    assert "Traceback" not in err
    finished = start(many, album, delay=0)
    out, err = finished.communicate(timeout=60)
    assert finished.returncode == 0, err
    assert f"{PHOTOS - done} added" in out and f"{done} unchanged" in out
    assert rows(album) == expected


def test_two_processes_on_one_album(many: Path, tmp_path: Path) -> None:
    album = tmp_path / "shared.album"
    first = start(many, album, delay=0.5)
    wait_for(album, 4)
    second = start(many, album)
    err = second.communicate(timeout=30)[1]
    assert second.returncode == 1
    assert "another process is indexing there; wait for it or stop it first" in err
    first.kill()
    first.communicate()


def full_disk_run(many: Path, album: Path, limit: str = "") -> subprocess.CompletedProcess[str]:
    arguments = f"index {many} --album {album} --model fake --batch 4"
    return subprocess.run(
        ["bash", "-c", f"{limit} exec {' '.join(COMMAND)} {arguments}"], capture_output=True, text=True, check=False
    )


def check_full_disk(done: subprocess.CompletedProcess[str], album: Path, expected: dict) -> None:
    assert done.returncode == 1, done.stderr
    assert "what was finished before is kept: free some space and run again" in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    part = rows(album)
    assert 0 < len(part) < PHOTOS
    assert part.items() <= expected.items()


def test_a_limit_on_the_files_size(many: Path, tmp_path: Path, expected: dict) -> None:
    album = tmp_path / "limited.album"
    check_full_disk(full_disk_run(many, album, "ulimit -f 32;"), album, expected)
    assert full_disk_run(many, album).returncode == 0
    assert rows(album) == expected


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=56k", "tmpfs", str(place)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(many: Path, tiny_disk: Path, expected: dict) -> None:
    album = tiny_disk / "full.album"
    check_full_disk(full_disk_run(many, album), album, expected)
    subprocess.run(["mount", "-o", "remount,size=2m", str(tiny_disk)], check=True)
    assert full_disk_run(many, album).returncode == 0
    assert rows(album) == expected

"""kill -9 and ^C in the middle, two processes with one cache, a full disk: real processes, real SQLite."""

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from deepl_server import DeepLServer, italian

from clip_italian.corpus.translation import TranslationPlan, open_translator

SCRIPT = Path(__file__).with_name("translating.py")
COUNT = 600
TEXTS = [f"A dog number {i} runs on the beach" for i in range(COUNT)]


def start(server: DeepLServer, cache: Path, **options: object) -> "subprocess.Popen[str]":
    command = [sys.executable, str(SCRIPT), server.url, str(cache), str(COUNT)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload]


def wait_for_requests(server: DeepLServer, count: int) -> None:
    end = time.monotonic() + 60
    while len(server.requests) < count:
        assert time.monotonic() < end, "the process sent no requests"
        time.sleep(0.001)


@pytest.mark.parametrize(("requests", "pause"), [(1, 0.0), (3, 0.015), (5, 0.03), (8, 0.045)])
def test_kill_loses_at_most_the_batch_in_flight(server: DeepLServer, tmp_path: Path, requests: int, pause: float):
    server.delay = 0.03
    process = start(server, tmp_path / "cache")
    wait_for_requests(server, requests)
    time.sleep(pause)
    process.kill()
    process.communicate()
    time.sleep(0.1)
    sent = len(server.paid)
    server.delay = 0
    with open_translator(TranslationPlan(server_url=server.url), tmp_path / "cache", tmp_path) as translator:
        assert sent - 50 <= translator.estimate(TEXTS).cached <= sent < COUNT
        assert translator.translate(TEXTS) == [italian(text) for text in TEXTS]
    assert set(server.paid) == set(TEXTS)
    assert sum(count > 1 for count in server.paid.values()) <= 50 and max(server.paid.values()) <= 2


def test_control_c_keeps_what_came_back(server: DeepLServer, tmp_path: Path):
    server.delay = 0.03
    process = start(server, tmp_path / "cache")
    wait_for_requests(server, 4)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode != 0 and "KeyboardInterrupt" in errors
    with open_translator(TranslationPlan(server_url=server.url), tmp_path / "cache", tmp_path) as translator:
        assert translator.estimate(TEXTS).cached >= 150


def test_two_processes_share_a_cache_and_pay_once(server: DeepLServer, tmp_path: Path):
    server.delay = 0.01
    processes = [start(server, tmp_path / "cache") for _ in range(2)]
    for process in processes:
        out, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert out.split() == ["begun", str(COUNT)]
    assert set(server.paid) == set(TEXTS) and set(server.paid.values()) == {1}


def test_a_process_killed_while_it_has_its_turn_does_not_stop_the_other(server: DeepLServer, tmp_path: Path):
    server.delay = 0.05
    processes = [start(server, tmp_path / "cache") for _ in range(2)]
    wait_for_requests(server, 3)
    processes[0].kill()
    processes[0].communicate()
    _, errors = processes[1].communicate(timeout=60)
    assert processes[1].returncode == 0, errors
    assert max(server.paid.values()) <= 2 and len(server.paid) == COUNT


def test_a_file_that_may_not_grow_stops_with_what_was_stored_before(server: DeepLServer, tmp_path: Path):
    cache = tmp_path / "cache"

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))

    process = start(server, cache, preexec_fn=limit)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0 and "CannotWrite" in errors and "free some space" in errors
    sent = len(server.paid)
    with open_translator(TranslationPlan(server_url=server.url), cache, tmp_path) as translator:
        assert translator.estimate(TEXTS).cached == sent - 50 > 0
        assert translator.translate(TEXTS) == [italian(text) for text in TEXTS]

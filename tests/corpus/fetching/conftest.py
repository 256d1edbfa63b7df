import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from server import PictureServer

from clip_italian.corpus.fetching.fetch import fetch
from clip_italian.corpus.fetching.outcome import STATUSES, Job
from clip_italian.corpus.fetching.plan import FetchPlan
from clip_italian.corpus.fetching.store import Store


@pytest.fixture
def server():
    with PictureServer() as server:
        yield server


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "pictures")


@pytest.fixture
def plan(server):
    """Settings for the local server, in a hurry."""

    def make(**settings):
        hurry = {
            "allow_private": True, "ports": (server.port,), "rate": 1e6, "per_host": 64, "backoff": 0.02,
            "max_wait": 2.0, "connect_timeout": 2.0, "read_timeout": 2.0, "timeout": 5.0, "max_bytes": 2**22,
        }  # fmt: skip
        return FetchPlan(**{**hurry, **settings})

    return make


@pytest.fixture
def get(server, store, plan):
    """Fetch paths of the server, or whole addresses; returns outcomes by path, each checked for its form."""

    def run(*paths, lookup=None, host="127.0.0.1", **settings):
        outcomes = {}

        def note(outcome):
            assert outcome.id not in outcomes, "two outcomes of one job"
            assert outcome.status in STATUSES
            assert (outcome.status == "ok") == bool(outcome.sha256) == (not outcome.error)
            assert outcome.status != "ok" or store.path(outcome.sha256).stat().st_size == outcome.size
            outcomes[outcome.id] = outcome

        jobs = (Job(path, path if path.startswith(("http:", "ftp:")) else server.url(path, host)) for path in paths)
        counts = fetch(jobs, store, plan(**settings), note, lookup=lookup)
        assert set(outcomes) == set(paths)
        assert counts.jobs == len(paths) == sum(counts.by_status.values())
        return outcomes

    return run

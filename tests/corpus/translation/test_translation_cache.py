import os
import sqlite3
import threading
from pathlib import Path

import pytest

from clip_italian.corpus.translation.cache import Cache
from clip_italian.errors import CannotWrite, ClipItalianError


@pytest.fixture
def cache(tmp_path: Path):
    cache = Cache(tmp_path / "new" / "cache.sqlite")
    yield cache
    cache.close()


def test_gives_back_what_was_put_to_the_same_engine_alone(cache: Cache):
    odd = {"a dog": "un cane", "nul\0here": "nul\0qui", "è 🐕": "però 🐕", "'; DROP TABLE": "“sì”"}
    cache.put("one", odd)
    assert cache.get("one", [*odd, "a cat"]) == odd
    assert cache.get("two", list(odd)) == {}


def test_the_first_translation_stays(cache: Cache):
    cache.put("one", {"a": "primo"})
    cache.put("one", {"a": "secondo", "b": "b"})
    cache.put("two", {"a": "altro"})
    assert cache.get("one", ["a", "b"]) == {"a": "primo", "b": "b"}
    assert cache.get("two", ["a"]) == {"a": "altro"}


def test_looks_up_more_texts_than_a_statement_holds(cache: Cache):
    many = {f"text {i}": f"testo {i}" for i in range(2345)}
    cache.put("one", many)
    assert cache.get("one", list(many)) == many


def test_forgetting_leaves_no_trace_in_the_file(cache: Cache):
    secret = "Mario Rossi in via Garibaldi 3"
    cache.put("one", {secret: "Traduzione di Mario", **{f"text {i}": f"testo {i}" for i in range(100)}})
    cache.put("two", {secret: "Traduzione di Mario, altra"})
    assert secret.encode() in cache.path.read_bytes()
    assert cache.forget([secret, "never seen"]) == 2
    data = cache.path.read_bytes()
    assert secret.encode() not in data and b"Traduzione di Mario" not in data
    assert len(cache.get("one", [f"text {i}" for i in range(100)])) == 100


def test_is_one_file(cache: Cache):
    cache.put("one", {"a": "b"})
    assert [file.name for file in cache.path.parent.iterdir()] == ["cache.sqlite"]


def test_many_threads_share_one_cache(cache: Cache):
    def work(number: int) -> None:
        for i in range(20):
            cache.put("one", {f"{number} {i}": "x"})
            assert f"{number} {i}" in cache.get("one", [f"{number} {i}"])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(cache.get("one", [f"{n} {i}" for n in range(4) for i in range(20)])) == 80


def test_refuses_other_files(tmp_path: Path):
    (tmp_path / "text").write_text("not a database, and long enough to be looked at " * 100)
    with pytest.raises(ClipItalianError, match="not a cache"):
        Cache(tmp_path / "text")
    with sqlite3.connect(tmp_path / "other") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(ClipItalianError, match="another program"):
        Cache(tmp_path / "other")
    with pytest.raises(CannotWrite):
        Cache(tmp_path)
    with pytest.raises(CannotWrite):
        Cache(tmp_path / "text" / "below.sqlite")


def test_refuses_a_newer_version(cache: Cache):
    connection = sqlite3.connect(cache.path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ClipItalianError, match="version 99"):
        Cache(cache.path)


def test_an_empty_file_becomes_a_cache(tmp_path: Path):
    (tmp_path / "cache").touch()
    Cache(tmp_path / "cache").close()
    Cache(tmp_path / "cache").close()


def test_a_full_disk_is_found_before_anything_is_paid_for(cache: Cache, monkeypatch: pytest.MonkeyPatch):
    cache.check_room()
    real = os.statvfs(cache.path.parent)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000, "total": real.f_blocks})())
    with pytest.raises(CannotWrite, match="disk is full"):
        cache.check_room()

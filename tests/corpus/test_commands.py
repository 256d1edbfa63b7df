"""`clip-italian corpus …`, as a person types it."""

import csv
import json
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import made
import pytest

sys.path.insert(0, str(Path(__file__).parent / "translation"))

from deepl_server import KEY, DeepLServer

ITALIAN = [f"un cane numero {i} sulla spiaggia" for i in range(6)]


@pytest.fixture
def deepl(monkeypatch):
    server = DeepLServer()
    server.known = {f"a dog number {i} on the beach": text for i, text in enumerate(ITALIAN)}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("DEEPL_AUTH_KEY", KEY)
    yield server
    server.shutdown()


@pytest.fixture
def translated(tmp_path, pictures, deepl):
    """A plan whose English captions are translated."""
    made.sources(tmp_path, pictures)
    made.plan(tmp_path, pictures, translation={"engine": "deepl", "server_url": deepl.url}, quality={"sample": 6})
    return deepl


def corpus(tmp_path, *words, check=True):
    command = [sys.executable, "-c", "from clip_italian.cli import main; main()", "corpus", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert not check or done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done


def test_from_a_dry_run_to_rated_translations(translated, tmp_path):
    stopped = corpus(tmp_path, "build", "corpus.toml", "--until", "translation")
    assert "stopped before translation" in stopped.stdout and translated.used == 0
    dry = corpus(tmp_path, "translate", "corpus.toml", "--dry-run").stdout
    characters = sum(len(text) for text in translated.known)
    assert f"6 texts, 0 of them translated already; {characters} characters to send, 0.00 EUR with deepl" in dry
    assert translated.used == 0
    built = corpus(tmp_path, "build", "corpus.toml")
    assert translated.used == characters and "30 samples" in built.stdout
    told = json.loads(corpus(tmp_path, "stats", "corpus.toml", "--json").stdout)
    engines = {name: count for name, count in told["origins"].items() if name.startswith("translated by deepl")}
    assert list(engines.values()) == [6] and told["origins"]["written in Italian"] == 25
    corpus(tmp_path, "sheet", "corpus.toml", "--sheet", "ratings/1")
    rows = list(csv.reader((tmp_path / "ratings" / "1.csv").open(encoding="utf-8-sig", newline="")))
    assert {row[2] for row in rows[1:]} == set(ITALIAN) and (tmp_path / "ratings" / "1.html").is_file()
    for rater, ratings in {"anna": "443443", "bruno": "444443"}.items():
        with (tmp_path / f"{rater}.csv").open("w", encoding="utf-8", newline="") as stream:
            rated = [[*row[:3], rating, ""] for row, rating in zip(rows[1:], ratings, strict=True)]
            csv.writer(stream).writerows([rows[0], *rated])
    agreed = corpus(tmp_path, "agreement", "corpus.toml", "anna.csv", "bruno.csv", "--sample", "ratings/1.json").stdout
    assert "3.75" in agreed and "card shows it" in agreed
    corpus(tmp_path, "build", "corpus.toml")
    card = (tmp_path / "prova" / "card.html").read_text()
    assert "3.75 (" in card and "2 people rated a sample" in card and translated.used == characters


def test_a_quota_that_ends_stops_cleanly_and_goes_on(translated, tmp_path):
    translated.limit = 10
    stopped = corpus(tmp_path, "build", "corpus.toml", check=False)
    assert stopped.returncode == 1 and "error: " in stopped.stderr and "quota" in stopped.stderr.lower()
    translated.limit = 10_000
    assert "30 samples" in corpus(tmp_path, "build", "corpus.toml").stdout


def test_leaving_is_counted_before_and_lists_models(translated, tmp_path, pictures):
    corpus(tmp_path, "build", "corpus.toml")
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "model.json").write_text('{"notes": {"corpora": ["prova"]}}')
    before = made.hashes(tmp_path / "prova" / "shards")
    dry = corpus(tmp_path, "forget", "corpus.toml", pictures.url("photo/203.jpg"), "--dry-run")
    assert "1 sample would go; nothing was written" in dry.stdout
    assert made.hashes(tmp_path / "prova" / "shards") == before
    gone = corpus(tmp_path, "forget", "corpus.toml", pictures.url("photo/203.jpg"))
    assert "gone: 1 sample, 1 picture, 1 translation" in gone.stdout
    assert "a model that learned from prova: runs/mine" in gone.stdout
    assert ITALIAN[3].encode() not in (tmp_path / "prova" / "translations.db").read_bytes()
    nothing = corpus(tmp_path, "forget", "corpus.toml", "https://nowhere.example/x.jpg")
    assert "the corpus had no sample of it; a tombstone keeps it out" in nothing.stderr


def test_retrying_builds_on(tmp_path, pictures):
    made.write_wit(tmp_path / "wit.tsv.gz", [
        made.wit_row(1, "Un cane nel prato", pictures.url("photo/1.jpg")),
        made.wit_row(2, "Un gatto nel prato", pictures.url("flaky/503/3/2.jpg")),
    ])  # fmt: skip
    made.plan(tmp_path, pictures, sources=[{"kind": "wit", "files": ["wit.tsv.gz"]}])
    assert "1 sample (" in corpus(tmp_path, "build", "corpus.toml").stdout
    again = corpus(tmp_path, "retry", "corpus.toml").stdout
    assert "asked for again: 1 address" in again and "2 samples" in again


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("stats", "corpus.toml"), "there is no corpus; make it with: clip-italian corpus build"),
        (("build", "none.toml"), "none.toml: there is no such plan"),
        (("translate", "corpus.toml"), "has no table [translation]"),
    ],
)
def test_errors_a_person_can_act_on(tmp_path, pictures, words, message):
    made.plan(tmp_path, pictures)
    done = corpus(tmp_path, *words, check=False)
    assert done.returncode == 1 and message in done.stderr


def test_an_interrupt_exits_with_130_and_without_noise(tmp_path, pictures):
    rows = [made.wit_row(i, f"Un cane nel prato, foto {i}", pictures.url(f"slow/1/{i}.jpg")) for i in range(200)]
    made.write_wit(tmp_path / "wit.tsv.gz", rows)
    made.plan(tmp_path, pictures, sources=[{"kind": "wit", "files": ["wit.tsv.gz"]}], run={"jobs": 2})
    command = [sys.executable, "-c", "from clip_italian.cli import main; main()", "corpus", "build", "corpus.toml"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not pictures.counts["/slow/1/1.jpg"] and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in said, said

"""A corpus built from files of the real layouts and a server that misbehaves: whole, resumable, the same bytes."""

import json
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import made
import pyarrow.parquet
import pytest

from clip_italian.corpus.build import build
from clip_italian.corpus.corpus import open_corpus
from clip_italian.corpus.plan import read_plan
from clip_italian.corpus.shards import place_of
from clip_italian.corpus.statistics import statistics
from clip_italian.data.readers import read
from clip_italian.errors import BadLedger, BadPlan, Busy, ClipItalianError


def told(tmp_path, folder="prova"):
    with open_corpus(read_plan(tmp_path / "corpus.toml"), tmp_path, tmp_path / folder) as corpus:
        return statistics(corpus)


def test_from_sources_to_shards(small, tmp_path, pictures):
    built = small()
    wit, cc = sorted(told(tmp_path).funnels, key=lambda funnel: funnel.source, reverse=True)
    assert (wit.source, wit.read, wit.kept) == ("wit", 32, 24)
    assert wit.lost == {
        "filters: proper nouns": 1, "filters: personal data": 1, "fetching: gone": 1, "fetching: not_image": 1,
        "fetching: opted_out": 1, "duplicate: near hash": 1, "duplicate: same address": 1,
        "evaluation: mscoco-it-dev": 1,
    }  # fmt: skip
    assert cc.kept == 0 and cc.lost == {"filters: not Italian": 6}
    assert not pictures.counts["/photo/100.jpg"], "nothing is fetched for what the filters refuse"
    samples = read(tmp_path / "prova" / "shards")
    assert len(samples) == 24 == sum(built.shards.samples.values())
    by_url = {sample.extra["url"]: sample for sample in samples}
    assert {c.text for c in by_url[pictures.url("photo/1.jpg")].captions} == {
        f"{made.ORDINARY[1]}, foto 01", "Un bambino gioca, di nuovo",
    }, "captions of one picture come together"  # fmt: skip
    assert len({pictures.url(path) for path in ("photo/0.jpg", "photo/0.jpg?w=192&h=144")} & by_url.keys()) == 1
    assert by_url[pictures.url("photo/3.jpg")].extra["corpus"] == "prova"
    ids = (tmp_path / "prova" / "ids.txt").read_text().split()
    assert ids == sorted(sample.key for sample in samples)
    table = pyarrow.parquet.read_table(tmp_path / "prova" / "shards" / "index.parquet").to_pylist()
    assert sorted(row["id"] for row in table) == ids
    for split in ("train", "valid"):
        rows = [row for row in table if row["split"] == split]
        assert sum(row["probability"] for row in rows) == pytest.approx(1)
        assert all(place_of(row["id"], 0.2)[0] == split and row["shard"].startswith(split) for row in rows)


def test_a_second_build_does_nothing_anew(small, tmp_path, pictures):
    first = small()
    before, asked = made.hashes(tmp_path / "prova" / "shards"), pictures.counts.total()
    again = small()
    assert again.shards.written == () and again.shards.fingerprint == first.shards.fingerprint
    assert made.hashes(tmp_path / "prova" / "shards") == before and pictures.counts.total() == asked
    assert small("elsewhere").shards.fingerprint == first.shards.fingerprint, "the same plan makes the same bytes"


def test_another_setting_repeats_its_stage_and_those_after_it(small, tmp_path, pictures):
    small()
    asked = pictures.counts.total() - pictures.counts["/robots.txt"] + 1
    small(filters={"without": ["proper nouns"]})
    assert told(tmp_path).funnels[1].kept == 25
    assert pictures.counts.total() - pictures.counts["/robots.txt"] == asked, "the one caption more has a picture more"
    assert told(tmp_path).funnels[1].lost["duplicate: same address"] == 1
    small(duplicates={"addresses": False})
    assert told(tmp_path).funnels[1].lost["duplicate: same bytes"] == 1
    assert small().shards.fingerprint == small("elsewhere").shards.fingerprint


def test_a_source_more_and_a_source_less(small, tmp_path, pictures):
    first = small().shards.fingerprint
    made.write_wit(tmp_path / "more.tsv.gz", [made.wit_row(300, "Un asino in un prato", pictures.url("photo/300.jpg"))])
    sources = [{"kind": "wit", "files": ["wit.tsv.gz"]}, {"kind": "wit", "files": ["more.tsv.gz"]}]
    assert sum(small(sources=sources).shards.samples.values()) == 25
    assert sum(small(sources=sources[:1]).shards.samples.values()) == 24
    assert small().shards.fingerprint == first


def test_failures_that_may_pass_are_asked_for_again_and_nothing_else(tmp_path, pictures):
    from clip_italian.corpus.build import retry

    made.write_wit(tmp_path / "wit.tsv.gz", [
        made.wit_row(1, "Un cane nel prato", pictures.url("photo/1.jpg")),
        made.wit_row(2, "Un gatto nel prato", pictures.url("flaky/503/3/2.jpg")),
        made.wit_row(3, "Una mucca nel prato", pictures.url("status/404/3.jpg")),
    ])  # fmt: skip
    path = made.plan(tmp_path, pictures, sources=[{"kind": "wit", "files": ["wit.tsv.gz"]}])
    plan, folder = read_plan(path), tmp_path / "prova"
    assert sum(build(plan, tmp_path, folder).shards.samples.values()) == 1
    with open_corpus(plan, tmp_path, folder) as corpus:
        assert corpus.ledger.statuses() == [("gone", 1), ("ok", 1), ("server_error", 1)]
        with pytest.raises(ClipItalianError, match="tired: not how an address can end; there are failed, bad_url"):
            retry(corpus, ("tired",))
        assert retry(corpus, ("failed",)) == 1
    counts = dict(pictures.counts)
    assert sum(build(plan, tmp_path, folder).shards.samples.values()) == 2
    asked = {path for path, count in pictures.counts.items() if count > counts.get(path, 0)}
    assert asked <= {"/flaky/503/3/2.jpg", "/robots.txt"}


def command(tmp_path, folder):
    return [sys.executable, "-c", "from clip_italian.cli import main; main()", "corpus", "build",
            str(tmp_path / "corpus.toml"), "--out", str(tmp_path / folder)]  # fmt: skip


def test_killed_at_any_moment_it_comes_to_the_same_shards(small, tmp_path, pictures):
    whole = small("whole")
    begun = time.monotonic()
    subprocess.run(command(tmp_path, "timed"), check=True, capture_output=True)
    took = time.monotonic() - begun
    rng = random.Random(3)
    for _ in range(6):
        process = subprocess.Popen(command(tmp_path, "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1.0) * took)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command(tmp_path, "killed"), check=True, capture_output=True)
    expected = made.hashes(tmp_path / "whole" / "shards")
    assert made.hashes(tmp_path / "killed" / "shards") == expected == made.hashes(tmp_path / "timed" / "shards")
    assert not [path for path in (tmp_path / "killed").rglob("*.part") if path.is_file()]
    assert json.loads((tmp_path / "killed/shards/shards.json").read_text())["fingerprint"] == whole.shards.fingerprint


def test_a_full_disk_stops_cleanly_and_the_next_run_goes_on(small, tmp_path):
    expected = small("whole").shards.fingerprint

    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    done = subprocess.run(
        command(tmp_path, "prova"), check=False, capture_output=True, text=True, preexec_fn=little_room
    )
    assert done.returncode == 1 and "error: " in done.stderr and "kept" in done.stderr, done.stderr
    assert small().shards.fingerprint == expected


def test_one_at_a_time(small, tmp_path):
    small()
    plan = read_plan(tmp_path / "corpus.toml")
    with open_corpus(plan, tmp_path, tmp_path / "prova"), pytest.raises(Busy, match="working on this corpus"):
        build(plan, tmp_path, tmp_path / "prova")


def test_a_damaged_picture_is_fetched_again(small, tmp_path):
    first = small()
    stored = sorted((tmp_path / "prova" / "pictures").rglob("*.jpg"))
    stored[0].write_bytes(stored[0].read_bytes()[:-10])
    for shard in (tmp_path / "prova" / "shards").glob("*.tar"):
        shard.unlink()
    with pytest.raises(ClipItalianError, match="is missing or damaged; run build again, which fetches it anew"):
        small()
    assert small().shards.fingerprint == first.shards.fingerprint


@pytest.mark.parametrize("content", [b"", b"not a ledger", b"SQLite format 3\0" + bytes(200)])
def test_another_file_in_the_ledgers_place_is_refused(small, tmp_path, content):
    (tmp_path / "prova").mkdir()
    (tmp_path / "prova" / "ledger.db").write_bytes(content)
    if not content:
        assert small().shards.samples
    else:
        with pytest.raises(BadLedger, match=r"ledger\.db: no ledger, or damaged"):
            small()


def test_processes_and_ray_make_the_same_shards(small):
    one = small().shards.fingerprint
    assert small("two", run={"jobs": 2, "batch": 3}).shards.fingerprint == one


@pytest.mark.slow
def test_over_ray(small):
    ray = pytest.importorskip("ray", reason="needs the extra ray")
    try:
        one = small().shards.fingerprint
        assert small("ray", run={"jobs": 2, "batch": 3, "where": "ray"}).shards.fingerprint == one
    finally:
        ray.shutdown()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"', "sources is missing"),
        ('name = "x"\nsources = []', "sources: "),
        ("name = ", "not TOML"),
        ('name = "x y"\n[[sources]]\nkind = "wit"', "name: "),
        ('name = "x"\n[[sources]]\nkind = "wat"', "'wat'"),
        ('name = "x"\n[[sources]]\nkind = "wit"\nfile = "a"', "did you mean files"),
        ('name = "x"\n[[sources]]\nkind = "wit"\n[filters]\nmin_word = 2', "min_word is not a setting; did"),
        ('name = "x"\n[[sources]]\nkind = "wit"\n[shards.weights]\ncc = 2.0', "weights names cc, which is no source"),
        ('name = "x"\nmodel = ""\n[[sources]]\nkind = "wit"\n[similarity]\nbest = 0.3', "need a model"),
    ],
)  # fmt: skip
def test_a_plan_is_checked_key_by_key(tmp_path, text, message):
    path = tmp_path / "corpus.toml"
    path.write_text(text)
    with pytest.raises(BadPlan, match=r"corpus\.toml: ") as raised:
        read_plan(path)
    assert message in str(raised.value)


def test_a_missing_plan(tmp_path):
    with pytest.raises(BadPlan, match="there is no such plan"):
        read_plan(Path(tmp_path / "none.toml"))

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
import numpy as np
import pyarrow.parquet
import pytest
from server import picture

from clip_italian.corpus import shards
from clip_italian.corpus.build import build
from clip_italian.corpus.corpus import open_corpus
from clip_italian.corpus.plan import read_plan
from clip_italian.corpus.shards import place_of
from clip_italian.corpus.statistics import statistics
from clip_italian.data.readers import read
from clip_italian.errors import BadLedger, BadPlan, Busy, ClipItalianError
from clip_italian.images import open_image


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
    for _ in range(3):
        process = subprocess.Popen(command(tmp_path, "killed"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.3, 1.0) * took)
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command(tmp_path, "killed"), check=True, capture_output=True)
    expected = made.hashes(tmp_path / "whole" / "shards")
    assert made.hashes(tmp_path / "killed" / "shards") == expected == made.hashes(tmp_path / "timed" / "shards")
    assert not [path for path in (tmp_path / "killed").rglob("*.part") if path.is_file()]
    assert json.loads((tmp_path / "killed/shards/shards.json").read_text())["fingerprint"] == whole.shards.fingerprint


KILLED = """
import os, signal, sys
from pathlib import Path
from clip_italian.corpus.build import build
from clip_italian.corpus.corpus import Report
from clip_italian.corpus.plan import read_plan
path, folder, stage = sys.argv[1:]
seen = []
def work(what, done, total):
    seen.append(what)
    if seen.count(stage) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
build(read_plan(path), Path(path).parent, Path(folder), text=Path(path).read_text(), report=Report(work, print))
"""


def test_killed_in_each_stage_it_comes_to_the_same_shards(small, tmp_path):
    expected = small("whole")
    stages = (
        "reading wit",
        "filtering",
        "fetching",
        "duplicates by same bytes",
        "translating",
        "scoring",
        "writing shards",
    )
    script = KILLED.replace("seen = []", "from clip_italian.corpus.stages import reading, translating, scoring\n"
                            "reading._BATCH = translating._BATCH = scoring._BATCH = 4\nseen = []")  # fmt: skip
    for stage in stages:
        times = script.replace("== 2", "== 1") if stage.startswith("duplicates") or stage == "fetching" else script
        done = subprocess.run(
            [sys.executable, "-c", times, tmp_path / "corpus.toml", tmp_path / "killed", stage],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == -signal.SIGKILL, (stage, done.stderr)
    assert small("killed").shards.fingerprint == expected.shards.fingerprint
    assert made.hashes(tmp_path / "killed" / "shards") == made.hashes(tmp_path / "whole" / "shards")


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


class Shades:
    """An encoder that sees brightness and reads lengths."""

    name, dim, fingerprint = "shades", 2, "s" * 64

    def encode_images(self, images):
        angles = [np.asarray(open_image(image).convert("L")).mean() / 255 for image in images]
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    def encode_texts(self, texts):
        angles = [len(text) % 7 / 7 for text in texts]
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_the_nearest_captions_stay_and_no_fewer_the_next_time(small, tmp_path, pictures):
    path = made.plan(tmp_path, pictures, model="shades", similarity={"best": 0.5})
    plan, load = read_plan(path), lambda name: Shades()
    first = build(plan, tmp_path, tmp_path / "prova", load=load).shards
    assert 8 <= sum(first.samples.values()) <= 16
    again = build(plan, tmp_path, tmp_path / "prova", load=load).shards
    assert (again.fingerprint, again.written) == (first.fingerprint, ())


def test_copies_are_found_however_a_corpus_grew(small, tmp_path, pictures):
    sources = [{"kind": "wit", "files": ["wit.tsv.gz"]}, {"kind": "wit", "files": ["more.tsv.gz"]}]
    rows = [made.wit_row(600, "Un cane che dorme", pictures.url("slow/0/5.jpg")),
            made.wit_row(601, "Una capra", pictures.url("photo/9.jpg")),
            made.wit_row(602, "Un asino", pictures.url("photo/302.jpg"))]  # fmt: skip
    made.write_wit(tmp_path / "more.tsv.gz", rows)
    small(sources=sources[:1])
    grown = small(sources=sources).shards
    assert grown.fingerprint == small("fresh", sources=sources).shards.fingerprint
    assert sum(grown.samples.values()) == 25
    for left in (sources[1:], sources[:1]):
        assert (
            small(sources=left).shards.fingerprint
            == small(f"only-{left[0]['files'][0]}", sources=left).shards.fingerprint
        )


def test_a_row_of_two_files_stays_when_one_goes(small, tmp_path, pictures):
    row = made.wit_row(1, "Un cane nel prato", pictures.url("photo/1.jpg"))
    for name in ("a.tsv.gz", "b.tsv.gz"):
        made.write_wit(tmp_path / name, [row])
    sources = [{"kind": "wit", "files": [name]} for name in ("a.tsv.gz", "b.tsv.gz")]
    small(sources=sources)
    for left in (sources[1:], sources[:1]):
        assert sum(small(sources=left).shards.samples.values()) == 1


def test_other_evaluations_count_from_the_next_build(small, tmp_path, pictures):
    first = small().shards
    small(duplicates={"sets": []})
    assert "evaluation: mscoco-it-dev" not in told(tmp_path).funnels[1].lost
    (tmp_path / "test").mkdir()
    tables = {"duplicates": {"test_sets": ["test"]}}
    (tmp_path / "test" / "a.jpg").write_bytes(picture(30_000))
    assert small(**tables).shards.fingerprint == first.fingerprint
    (tmp_path / "test" / "b.jpg").write_bytes(picture(6))
    small(**tables)
    assert told(tmp_path).funnels[1].lost["evaluation: test"] == 1


def test_a_shard_written_for_other_settings_is_not_taken_for_this_ones(small, tmp_path, monkeypatch):
    first = small().shards
    real = shards.sha256_file

    def killed(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(shards, "sha256_file", killed)
    with pytest.raises(KeyboardInterrupt):
        small(shards={"samples": 8, "valid": 0.2, "weights": {"wit": 2.0}})
    monkeypatch.setattr(shards, "sha256_file", real)
    small()
    expected = small("fresh").shards
    assert made.hashes(tmp_path / "prova" / "shards") == made.hashes(tmp_path / "fresh" / "shards")
    assert expected.fingerprint == first.fingerprint


def test_pictures_lost_before_they_were_looked_at_are_fetched_again(small, tmp_path):
    expected = small("whole").shards.fingerprint
    small(until="duplicates")
    with open_corpus(read_plan(tmp_path / "corpus.toml"), tmp_path, tmp_path / "prova") as corpus:
        corpus.ledger._connection.execute("DELETE FROM looks")
    stored = sorted((tmp_path / "prova" / "pictures").rglob("*.jpg"))
    stored[0].unlink()
    stored[1].write_bytes(b"")
    assert small().shards.fingerprint == expected


def test_hostile_rows_are_skipped_and_told(small, tmp_path, pictures):
    lines = [
        {"image_path": "http://[1.2.3]/a.jpg", "captions": ["Un cane nel prato"]},
        {"image_path": pictures.url("photo/1.jpg"), "captions": ["Un gatto nel prato"], "page": "http://["},
        {"image_path": pictures.url("photo/2.jpg"), "captions": ["Una mucca nel prato"], "x": float("nan")},
        {"image_path": pictures.url("photo/3.jpg"), "captions": ["Una capra nel prato"], "x": "\ud800"},
        {"image_path": "../../../../etc/passwd", "captions": ["Un asino nel prato"]},
        {"image_path": "/etc/hostname", "captions": ["Un mulo nel prato"]},
        {"image_path": "/dev/zero", "captions": ["Un pozzo nel prato"]},
        {"image_path": "foto/mio.jpg", "captions": ["<script>alert(1)</script> Un cavallo nel prato"]},
    ]
    (tmp_path / "foto").mkdir()
    (tmp_path / "foto" / "mio.jpg").write_bytes(picture(40))
    (tmp_path / "all.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    built = small(sources=[{"kind": "json-lines", "files": ["all.jsonl"]}])
    urls = {sample.extra["url"] for sample in read(tmp_path / "prova" / "shards")}
    assert urls == {pictures.url("photo/1.jpg"), "foto/mio.jpg"} and built.shards.shards
    [funnel] = told(tmp_path).funnels
    assert funnel.lost == {"fetching: missing": 3} or funnel.lost == {"fetching: missing": 3, "fetching: bad_url": 1}
    assert funnel.skipped_rows + sum(funnel.lost.values()) == 6
    assert "<script>" not in (tmp_path / "prova" / "card.html").read_text()


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

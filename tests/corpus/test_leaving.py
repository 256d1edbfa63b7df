"""What leaves is gone from every file, copies included, and does not come back."""

import json

import made
import pytest
from server import picture

from clip_italian.corpus.build import build, finish
from clip_italian.corpus.corpus import SILENT, open_corpus
from clip_italian.corpus.leaving import forget, meant, trained_on
from clip_italian.corpus.plan import read_plan
from clip_italian.data.readers import read
from clip_italian.data.sample import _open
from clip_italian.errors import BadPlan, ClipItalianError


@pytest.fixture
def leave(tmp_path):
    def run(what, folder="prova"):
        plan = read_plan(tmp_path / "corpus.toml")
        with open_corpus(plan, tmp_path, tmp_path / folder) as corpus:
            left = forget(corpus, meant(corpus, what))
            return left, finish(corpus, SILENT, None)

    return run


def shards(tmp_path):
    _open.cache_clear()  # of tars as they were before
    return read(tmp_path / "prova" / "shards")


def urls(tmp_path):
    return {sample.extra["url"] for sample in shards(tmp_path)}


def traces(folder, *needles):
    """Return the files that hold one of some texts or bytes."""
    wanted = [needle.encode() if isinstance(needle, str) else needle for needle in needles]
    return [
        f"{path.name}: {needle[:30]!r}"
        for path in folder.rglob("*")
        if path.is_file()
        for needle in wanted
        if needle in path.read_bytes()
    ]


def test_a_photo_is_gone_from_every_file(small, tmp_path, pictures, leave):
    before = small()
    url, caption, again = pictures.url("photo/1.jpg"), f"{made.ORDINARY[1]}, foto 01", "Un bambino gioca, di nuovo"
    data = kept_bytes(tmp_path, url)
    assert traces(tmp_path / "prova", url, caption, again, data), "before, they are there"
    left, after = leave(url)
    assert (left.samples, left.pictures) == (2, 1), "the other sample of the same address goes too"
    assert len(after.written) == 1 and after.fingerprint != before.shards.fingerprint
    assert not traces(tmp_path / "prova", url, caption, again, data, data[-300:-20])
    assert url not in urls(tmp_path)
    asked = pictures.counts["/photo/1.jpg"]
    assert small().shards.fingerprint == after.fingerprint
    assert pictures.counts["/photo/1.jpg"] == asked, "later builds do not even ask for it"


def kept_bytes(tmp_path, url):
    [sample] = [sample for sample in shards(tmp_path) if sample.extra["url"] == url]
    return sample.image.read()


def test_the_picture_does_not_come_back_from_elsewhere(small, tmp_path, pictures, leave):
    small()
    assert leave(pictures.url("photo/5.jpg"))[0].samples == 1
    copies = {
        "same bytes": pictures.url("slow/0/5.jpg"), "another size": pictures.url("photo/5.jpg?w=160&h=120"),
        "mirrored": pictures.url("photo/5.jpg?o=2"), "by a redirection": pictures.url("hops/1/5.jpg"),
        "another picture": pictures.url("photo/301.jpg"),
    }  # fmt: skip
    rows = [made.wit_row(400 + i, f"Una {name} sul tavolo", url) for i, (name, url) in enumerate(copies.items())]
    made.write_wit(tmp_path / "more.tsv.gz", rows)
    small(sources=[{"kind": "wit", "files": ["wit.tsv.gz"]}, {"kind": "wit", "files": ["more.tsv.gz"]}])
    assert urls(tmp_path) & set(copies.values()) == {copies["another picture"]}
    assert not [p for p in (tmp_path / "prova" / "pictures").rglob("*") if p.is_file() and p.read_bytes() == picture(5)]


def test_a_copy_leads_to_the_original_and_to_all_others(small, tmp_path, pictures, leave):
    small()
    left, _ = leave(pictures.url("photo/0.jpg"))
    assert left.samples == 2, "the one that stayed is a larger copy of the one that is named"
    assert not urls(tmp_path) & {pictures.url("photo/0.jpg"), pictures.url("photo/0.jpg?w=192&h=144")}


def test_by_hash_by_id_and_by_domain(small, tmp_path, pictures, leave):
    small()
    samples = shards(tmp_path)
    assert leave(samples[0].extra["sha256"])[0].samples >= 1
    assert leave(samples[5].key)[0].samples >= 1
    left = {sample.key for sample in shards(tmp_path)}
    assert not {samples[0].key, samples[5].key} & left and len(left) <= 22
    made.write_wit(tmp_path / "more.tsv.gz", [made.wit_row(500, "Un mulo", "http://foto.museo.example/500.jpg")])
    sources = [{"kind": "wit", "files": ["wit.tsv.gz"]}, {"kind": "wit", "files": ["more.tsv.gz"]}]
    assert leave("example.com")[0].samples == 0, "what it does not have gets a tombstone all the same"
    assert leave("museo.example")[0].samples == 0
    small(sources=sources)
    with open_corpus(read_plan(tmp_path / "corpus.toml"), tmp_path, tmp_path / "prova") as corpus:
        assert not corpus.ledger.select("instr(s.image, 'museo')"), "a domain covers its subdomains"


def test_a_domain_takes_all_its_samples(small, tmp_path, leave):
    small()
    left, shards = leave("it.wikipedia.org")
    assert left.samples == 32 and shards.shards == 0
    assert not list((tmp_path / "prova").rglob("*.jpg")) + list((tmp_path / "prova").rglob("*.tar"))
    assert not traces(tmp_path / "prova", "wikipedia.org/wiki", made.ORDINARY[0])
    with pytest.raises(ClipItalianError, match=r"no sample came through all stages; .* says where they were lost"):
        small()


@pytest.mark.parametrize("what", ["", "foto", "12345", "museo", "../x", "a b.example"])
def test_what_is_nothing_is_refused(small, leave, what):
    small()
    with pytest.raises(BadPlan, match=r"neither an address .* nor the hash .* nor a domain"):
        leave(what)


def test_an_address_is_known_in_all_its_spellings(small, tmp_path, pictures, leave):
    small()
    for number, spelling in enumerate(["{}?utm_source=x", "{}#anker", " {} "]):
        url = pictures.url(f"photo/{number + 8}.jpg")
        assert leave(spelling.format(url))[0].samples == 1 and url not in urls(tmp_path)


def test_a_forgotten_domain_is_not_entered_by_a_redirection(small, tmp_path, pictures, leave):
    rows = [made.wit_row(1, "Un cane nel prato", pictures.url(f"to?url={pictures.url('photo/1.jpg', 'localhost')}")),
            made.wit_row(2, "Un gatto nel prato", pictures.url("photo/2.jpg"))]  # fmt: skip
    made.write_wit(tmp_path / "wit.tsv.gz", rows)
    sources = [{"kind": "wit", "files": ["wit.tsv.gz"]}]
    assert sum(small(sources=sources).shards.samples.values()) == 2
    other = tmp_path / "other"
    with open_corpus(read_plan(tmp_path / "corpus.toml"), tmp_path, other) as corpus, corpus.ledger.transaction():
        corpus.ledger.bury([("domain", "localhost")], "2026-01-01T00:00:00")
    built = build(read_plan(tmp_path / "corpus.toml"), tmp_path, other)
    assert sum(built.shards.samples.values()) == 1
    assert len(list((other / "pictures").rglob("*.jpg"))) == 1


def test_what_no_sample_leads_to_any_more_is_swept(small, tmp_path, pictures):
    small()
    stored = len(list((tmp_path / "prova" / "pictures").rglob("*.jpg")))
    made.write_wit(tmp_path / "wit.tsv.gz", [made.wit_row(2, "Un gatto nel prato", pictures.url("photo/2.jpg"))])
    small()
    assert stored > 20 and len(list((tmp_path / "prova" / "pictures").rglob("*.jpg"))) == 1
    assert not traces(tmp_path / "prova", pictures.url("photo/3.jpg"))


def test_tombstones_go_along_to_other_corpora(small, tmp_path, pictures, leave):
    small()
    leave(pictures.url("photo/4.jpg"))
    small("other", gone=["prova/gone.tsv"])
    assert pictures.url("photo/4.jpg") not in {s.extra["url"] for s in read(tmp_path / "other" / "shards")}
    (tmp_path / "bad.tsv").write_text("address\tabc\n")
    with pytest.raises(BadPlan, match=r"bad\.tsv, line 1: not a tombstone"):
        small("third", gone=["bad.tsv"])


def test_models_that_learned_from_a_corpus_are_found(tmp_path):
    noted = {"a": {"corpora": ["prova"]}, "b": {"corpora": ["altra"]}, "c": None, "d": {"corpora": None}}
    for name, notes in noted.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.json").write_text(json.dumps({"notes": notes}))
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "model.json").write_text("not JSON")
    assert trained_on("prova", [tmp_path]) == [tmp_path / "a"]


def test_a_build_after_leaving_equals_one_that_never_had_it(small, tmp_path, pictures, leave):
    small()
    _, after = leave(pictures.url("photo/7.jpg"))
    rows = [made.wit_row(i, f"{made.ORDINARY[i % 12]}, foto {i:02}", pictures.url(f"photo/{i}.jpg")) for i in range(24)]
    made.write_wit(tmp_path / "wit.tsv.gz", [row for i, row in enumerate(rows) if i not in (7,)] + [
        made.wit_row(105, "Un cane nero sulla sabbia", pictures.url("photo/0.jpg?w=192&h=144")),
        made.wit_row(106, "Un bambino gioca, di nuovo", pictures.url("photo/1.jpg")),
    ])  # fmt: skip
    plan = read_plan(tmp_path / "corpus.toml")
    assert build(plan, tmp_path, tmp_path / "never").shards.fingerprint == after.fingerprint

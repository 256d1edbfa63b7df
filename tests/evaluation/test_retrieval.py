import subprocess
import sys

import numpy as np
import pytest

from clip_italian.data.sample import Caption, ImageRef, Sample
from clip_italian.errors import BadModel, BadRecord
from clip_italian.evaluation.report import to_json
from clip_italian.evaluation.retrieval import evaluate_queries, evaluate_retrieval, read_queries
from clip_italian.evaluation.statistics import Interval


@pytest.fixture
def samples(make_sample):
    return [
        make_sample("r.png", "rosso", "un quadro rosso", "rosso"),
        make_sample("g.png", "verde", "un quadro verde", "rosso e rosso"),  # the second caption is wrong
        make_sample("b.png", "blu", "un quadro blu"),
        make_sample("y.png", "giallo", "giallo"),
    ]


def test_both_directions_by_hand(encoder, samples):
    result = evaluate_retrieval(encoder, samples)
    text_to_image, image_to_text = result.parts
    # "rosso e rosso" points to red: red 1, yellow .71, then green and blue tie at 0, so green is fourth.
    assert text_to_image.ranks.tolist() == [1, 1, 1, 4, 1, 1]
    assert text_to_image.n_queries == 6 and result.n_images == 4
    assert text_to_image.metrics["mrr@1"].value == pytest.approx(5 / 6)
    assert text_to_image.metrics["mrr@10"].value == pytest.approx((5 + 1 / 4) / 6)
    assert text_to_image.metrics["recall@1"].value == pytest.approx(5 / 6)
    assert text_to_image.metrics["median_rank"].value == 1
    assert "recall@5" not in text_to_image.metrics  # four pictures: always found
    # Red has the wrong caption tied with its own two, which counts against it: rank 2. The others find theirs.
    assert sorted(image_to_text.ranks) == [1, 1, 1, 2]
    assert image_to_text.metrics["mrr@1"].value == pytest.approx(3 / 4)
    assert image_to_text.metrics["recall@5"].value == 1
    assert "recall@10" not in image_to_text.metrics  # six captions
    assert (result.name, result.model, result.settings) == ("colours", "c" * 64, {"language": "it"})


def test_captions_of_one_picture_are_drawn_together(encoder, make_sample):
    texts = ["rosso", "un rosso", "verde", "blu"]  # two find the picture, two do not
    result = evaluate_retrieval(encoder, [make_sample("r", "rosso", *texts), make_sample("gg", "verde")])
    assert result.parts[0].metrics["recall@1"] == Interval(0.5, 0.5, 0.5)


def test_a_caption_of_two_pictures_is_asked_twice_and_ties(encoder, make_sample):
    result = evaluate_retrieval(
        encoder,
        [make_sample("a.png", "rosso", "rosso"), make_sample("bb.png", "blu", "rosso"), make_sample("c", "verde")],
    )
    assert result.parts[0].ranks.tolist() == [1, 3]
    assert result.parts[1].ranks.tolist() == [2, 2]  # each picture's caption has a twin that is not its own


def test_order_changes_nothing(encoder, samples):
    expected = to_json(evaluate_retrieval(encoder, samples))
    for order in ([3, 2, 1, 0], [2, 0, 3, 1]):
        assert to_json(evaluate_retrieval(encoder, [samples[i] for i in order], batch=3)) == expected


def test_data_hash_follows_pictures_and_captions(encoder, samples, make_sample):
    def data(some):
        return evaluate_retrieval(encoder, some).data

    renamed = Sample("other", samples[3].image, samples[3].captions)
    hashes = {data(samples), data(samples[:3]), data([*samples[:3], make_sample("y.png", "giallo", "gialla")])}
    assert len(hashes) == 3
    assert data([*samples[:3], make_sample("y.png", "giallo", "giallo")]) == data([*samples[:3], renamed])


@pytest.mark.parametrize("batch", [1, 2, 64])
def test_broken_pictures_are_left_out_with_their_captions(encoder, samples, make_sample, tmp_path, batch):
    broken = make_sample("broken.png", "rotto", "rosso", "blu")
    missing = Sample("missing", ImageRef(tmp_path / "none.png"), (Caption("rosso"),))
    result = evaluate_retrieval(encoder, [broken, *samples[:2], missing, *samples[2:]], batch=batch)
    whole = evaluate_retrieval(encoder, samples)
    assert result.parts == whole.parts and result.data == whole.data and result.n_images == 4
    reasons = {skip.key: skip.reason for skip in result.skipped}
    assert list(reasons) == ["broken.png", "missing"]
    assert reasons["broken.png"] == "not a picture" and "none.png" in reasons["missing"]


def test_records_of_the_same_bytes_are_one_picture(encoder, samples):
    red, caption = samples[0], Caption("il rosso")
    again = Sample("again", red.image, (caption,))
    together = Sample("together", red.image, (*red.captions, caption))
    apart = evaluate_retrieval(encoder, [*samples, again])
    joined = evaluate_retrieval(encoder, [together, *samples[1:]])
    assert apart.n_images == 4
    for mine, theirs in zip(apart.parts, joined.parts, strict=True):
        assert mine.metrics == theirs.metrics


def test_pictures_without_a_caption_in_the_language_only_distract(encoder, samples, make_sample):
    english = make_sample("r2.png", "rosso")
    english = Sample("r2", english.image, (Caption("red", "en"),))
    result = evaluate_retrieval(encoder, [*samples, english])
    assert (result.n_images, result.parts[0].n_queries, result.parts[1].n_queries) == (5, 6, 4)
    assert result.parts[0].ranks.tolist() == [2, 2, 1, 5, 1, 1]  # two red pictures tie
    assert evaluate_retrieval(encoder, [*samples, english], language="en").parts[0].n_queries == 1
    with pytest.raises(BadRecord, match="caption in 'de'"):
        evaluate_retrieval(encoder, samples, language="de")


def test_nothing_left_to_measure_is_an_error_with_its_cause(encoder, make_sample):
    with pytest.raises(BadRecord, match=r"none of the 1 pictures could be read; the first: x.png: not a picture"):
        evaluate_retrieval(encoder, [make_sample("x.png", "rotto", "rosso")])


def test_vectors_that_break_the_contract_are_refused(encoder, samples, monkeypatch):
    monkeypatch.setattr(encoder, "encode_texts", lambda texts: np.full((len(texts), 3), np.nan, np.float32))
    with pytest.raises(BadModel, match=r"5 of 5 vectors are not of length 1 \(one: nan\)"):
        evaluate_retrieval(encoder, [*samples[:2], samples[2]])
    monkeypatch.setattr(encoder, "encode_texts", lambda texts: np.ones((len(texts), 4), np.float32))
    with pytest.raises(BadModel, match=r"\(5, 4\) vectors where \(5, 3\) were due"):
        evaluate_retrieval(encoder, samples[:3])


def test_progress_reaches_the_end(encoder, samples):
    calls = []
    evaluate_retrieval(encoder, samples, batch=3, progress=lambda *call: calls.append(call))
    assert calls == [("pictures", 3, 4), ("pictures", 4, 4), ("texts", 6, 6)]


@pytest.fixture
def album(paint, tmp_path):
    for name, colour in (("r.png", "rosso"), ("viaggi/g.png", "verde"), ("b.png", "blu"), ("y.png", "giallo")):
        paint(f"album/{name}", colour)
    return tmp_path / "album"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_queries_by_hand_and_by_kind(encoder, album, tmp_path):
    queries = write(
        tmp_path / "queries.tsv",
        "rosso\tr.png|y.png\tcolore\n"  # red 1, yellow .71: both right
        "giallo\ty.png|b.png\tcolore\n"  # yellow 1, red and green .71, blue 0
        "verde\tb.png\tsbagliata\n",  # green 1, yellow .71, red and blue tie at 0: fourth
    )
    result = evaluate_queries(encoder, album, queries)
    everything, colour, wrong = result.parts
    assert (everything.ranks.tolist(), colour.ranks.tolist(), wrong.ranks.tolist()) == ([1, 1, 4], [1, 1], [4])
    assert (everything.name, colour.name, wrong.name, result.n_images) == ("all", "colore", "sbagliata", 4)
    assert everything.metrics["mrr@10"].value == pytest.approx((1 + 1 + 1 / 4) / 3)
    assert wrong.metrics["mrr"].value == 1 / 4 and wrong.metrics["mrr@1"].value == 0
    assert everything.metrics["mrr@1"].value == pytest.approx(2 / 3)
    assert colour.metrics["recall@1"].value == pytest.approx(1 / 2)
    assert colour.metrics["precision@1"].value == 1
    assert "recall@5" not in colour.metrics and "precision@5" not in colour.metrics
    document = to_json(result)
    assert document["n_queries"] == 3 and document["colore/n_queries"] == 2
    assert document["sbagliata/mrr@5"] == {"value": 0.25, "low": 0.25, "high": 0.25}


def test_queries_lose_broken_photos_and_those_without_another_answer(encoder, album, paint, tmp_path):
    paint("album/broken.png", "rotto")
    queries = write(tmp_path / "queries.tsv", "rosso\tr.png|broken.png\nblu\tbroken.png\n")
    result = evaluate_queries(encoder, album, queries)
    assert [part.n_queries for part in result.parts] == [1]
    assert [skip.key for skip in result.skipped] == ["broken.png", "blu"]
    assert "line 2" in result.skipped[1].reason
    with pytest.raises(BadRecord, match="broken"):
        evaluate_queries(encoder, album, write(tmp_path / "only.tsv", "blu\tbroken.png\n"))


def test_a_query_for_a_file_that_is_not_there_is_refused_with_its_line(encoder, album, tmp_path):
    queries = write(tmp_path / "queries.tsv", "rosso\tr.png\nblu\tmare.png\n")
    with pytest.raises(BadRecord, match=r"line 2: 'mare.png' is not among the photos"):
        evaluate_queries(encoder, album, queries)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"gatto\n", "line 1: 1 columns"),
        (b"gatto\ta.jpg\tshort\tmore\n", "line 1: 4 columns"),
        (b"gatto\ta.jpg\ncane\t\tshort\n", "line 2: 'cane' has no files"),
        (b"gatto\ta.jpg\n\xff\xfe\tb.jpg\n", "line 2: not UTF-8"),
        (b"\n\n", "no queries"),
    ],
)
def test_bad_query_files_are_refused_with_their_line(tmp_path, content, complaint):
    path = tmp_path / "queries.tsv"
    path.write_bytes(content)
    with pytest.raises(BadRecord, match=complaint):
        read_queries(path)


def test_the_real_album_queries_can_be_read(shared):
    queries = read_queries(shared / "data" / "album-queries.tsv")
    photos = {path.name for path in (shared / "data" / "album").iterdir()}
    assert len(queries) == 100 and {q.kind for q in queries} == {"short", "descriptive", "negative", "count-position"}
    assert all(name in photos for query in queries for name in query.files)


def test_evaluation_loads_neither_torch_nor_transformers():
    code = "import sys, clip_italian.evaluation.retrieval, clip_italian.evaluation.zero_shot as z; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers"} & set(loaded)

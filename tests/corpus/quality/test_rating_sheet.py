import csv
import io
import json
import math
import random
import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_italian.corpus.quality.agreement import gwet
from clip_italian.corpus.quality.cells import guarded, unguarded
from clip_italian.corpus.quality.plan import QualityPlan
from clip_italian.corpus.quality.ratings import read_sheets, sample_of, summarize
from clip_italian.corpus.quality.sample import Sample, draw, open_sample, save, translation, translations
from clip_italian.corpus.quality.sheet import page, table, write_sheet
from clip_italian.corpus.record import Record, SourceCaption
from clip_italian.errors import BadRecord

PLAN = QualityPlan(sample=20, at_least=3)
NASTY = '</script><script>alert("x")</script><!-- & <img src=x onerror=alert(1)> \u2028'


def corpus(sizes):
    return [
        translation(f"a dog, number {i}", f"un cane, numero {i}", source=source, engine=engine)
        for (source, engine), size in sizes.items()
        for i in range(size)
    ]


MIXED = corpus({("cc", "deepl"): 500, ("mscoco-it", "microsoft"): 300, ("cc", "marian"): 2, ("wit", "deepl"): 40})


def strata(sample):
    names = [one.stratum for one in sample.translations]
    return {name: names.count(name) for name in names}


def test_records_give_translations_whose_english_is_known():
    captions = (
        SourceCaption("un cane", origin="translated", engine="deepl", original="a dog"),
        SourceCaption("un gatto", origin="translated", engine="deepl"),
        SourceCaption("una foto"),
        SourceCaption("a dog", language="en"),
    )
    (one,) = translations([Record("cc", "1", "http://x/1.jpg", captions)])
    assert (one.english, one.italian, one.source, one.engine) == ("a dog", "un cane", "cc", "deepl")


def test_every_stratum_is_there_and_the_rest_is_proportional():
    sample = draw(MIXED, PLAN)
    assert strata(sample) == {"cc × deepl": 10, "mscoco-it × microsoft": 5, "cc × marian": 2, "wit × deepl": 3}
    assert sample.population == {"cc × deepl": 500, "cc × marian": 2, "mscoco-it × microsoft": 300, "wit × deepl": 40}


def test_the_sample_does_not_depend_on_order_or_on_repeats():
    shuffled = [*MIXED, *MIXED[:200]]
    random.Random(1).shuffle(shuffled)
    assert {one.id for one in draw(shuffled[:], PLAN).translations} == {
        one.id for one in draw(reversed(shuffled), PLAN).translations
    }
    assert len({one.id for one in draw(shuffled, PLAN).translations}) == 20
    again = MIXED[:]
    random.Random(2).shuffle(again)
    assert draw(again, PLAN) == draw(MIXED, PLAN)


def test_another_seed_draws_another_sample():
    other = draw(MIXED, QualityPlan(sample=20, at_least=3, seed=1))
    assert other.fingerprint != draw(MIXED, PLAN).fingerprint
    assert len({one.id for one in other.translations} & {one.id for one in draw(MIXED, PLAN).translations}) < 12


def test_strata_are_mixed_on_the_sheet():
    names = [one.stratum for one in draw(MIXED, QualityPlan(sample=100)).translations]
    assert sum(a != b for a, b in pairwise(names)) > 30


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), st.integers(1, 40), min_size=1),
    st.integers(1, 60),
    st.integers(0, 20),
)
def test_as_many_as_asked_or_all(sizes, wanted, at_least):
    sample = draw(corpus(sizes), QualityPlan(sample=wanted, at_least=at_least))
    total = min(wanted, sum(sizes.values()))
    assert len(sample.translations) == len({one.id for one in sample.translations}) == total
    floor = min(at_least, total // len(sizes))
    for (source, engine), size in sizes.items():
        assert strata(sample).get(f"{source} × {engine}", 0) >= min(size, floor)


def test_nothing_to_draw():
    with pytest.raises(BadRecord, match="no translated caption with a known English text"):
        draw([], PLAN)


def test_the_sample_is_kept_whole(tmp_path):
    sample = draw([*MIXED, translation("half \ud83d", "mezza \ud83d", source="x", engine="y")], PLAN)
    save(sample, tmp_path / "s.json")
    assert open_sample(tmp_path / "s.json") == sample


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "other"}', '{"format": "clip-italian rating sample 1"}', "\xff"]
)
def test_a_file_that_is_no_sample(tmp_path, text):
    (tmp_path / "s.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadRecord, match=r"s\.json: not a rating sample"):
        open_sample(tmp_path / "s.json")


FORMULAS = ["=1+1", "+39 06", "-5", "@SUM(A1)", "\t=1", "  =1", "\r=1", "\n@x", "＝1", "'quoted", " '=x"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_is_run(text):
    assert guarded(text) == "'" + text


@given(st.text(st.characters(exclude_characters="\0")) | st.sampled_from(FORMULAS))
def test_cells_read_back(text):
    assert unguarded(guarded(text)) == text
    assert not guarded(text).lstrip().startswith(("=", "+", "-", "@"))


def test_the_csv_opens_in_spreadsheets(tmp_path):
    nasty = translation('=HYPERLINK("http://x")', 'città, "bella"\nseconda riga', source="cc", engine="deepl")
    sheet = write_sheet(Sample((nasty,), {}), tmp_path / "foglio")
    data = sheet.table.read_bytes()
    assert data.startswith(b"\xef\xbb\xbfid,english,italian,rating,comment\r\n")
    (row,) = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
    assert row["english"] == '\'=HYPERLINK("http://x")'
    assert row["italian"] == nasty.italian
    assert not row["id"].isdigit() and row["id"][0] == "t"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["foglio.csv", "foglio.html", "foglio.json"]


def test_raters_do_not_see_the_engine(tmp_path):
    sheet = write_sheet(draw(MIXED, PLAN), tmp_path / "s")
    for path in (sheet.table, sheet.page):
        assert not re.search("deepl|microsoft|mscoco", path.read_text("utf-8"))


def test_captions_cannot_leave_the_page_data():
    html = page(Sample((translation(NASTY, NASTY, source="x", engine="y"),), {}))
    plain = page(Sample((translation("a", "b", source="x", engine="y"),), {}))
    assert html.count("<script") == plain.count("<script") == 2
    assert html.count("<") == plain.count("<")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL).group(1)
    assert json.loads(data)["translations"][0]["english"] == NASTY


def test_the_page_loads_nothing_and_its_script_never_writes_markup():
    html = page(draw(MIXED, PLAN))
    assert not re.search(r"https?://|\bsrc=|@import|url\(|<link|<iframe|<form", html)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", html)
    assert not re.search(r"\son\w+=|\sstyle=", html)
    assert "@@" not in html
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html).group(1)
    assert policy.startswith("default-src &#x27;none&#x27;") and "unsafe" not in policy


def filled(sample, path, answers, *, comment=""):
    rows = list(csv.reader(io.StringIO(table(sample), newline="")))
    for row, answer in zip(rows[1:], answers, strict=False):
        row[3], row[4] = str(answer), comment
    with path.open("w", encoding="utf-8-sig", newline="") as stream:
        csv.writer(stream).writerows(rows)
    return path


@pytest.fixture
def sample():
    return draw(MIXED, PLAN)


def test_three_raters(sample, tmp_path):
    generator = np.random.default_rng(0)
    answers = generator.integers(2, 5, size=(20, 3))
    paths = [
        filled(sample, tmp_path / f"{name}.csv", answers[:, i]) for i, name in enumerate(("anna", "bruno", "carla"))
    ]
    ratings = read_sheets(sample, paths)
    assert ratings.raters == ("anna", "bruno", "carla")
    np.testing.assert_array_equal(ratings.values, answers)
    quality = summarize(ratings, PLAN)
    assert quality.overall.mean == pytest.approx(answers.mean())
    assert quality.overall.low < quality.overall.mean < quality.overall.high
    assert quality.overall.distribution == {value: int((answers == value).sum()) for value in (1, 2, 3, 4)}
    assert quality.overall.agreement == gwet(answers, weights="ordinal", categories=(1, 2, 3, 4))
    assert quality.raters["bruno"].mean == pytest.approx(answers[:, 1].mean())
    assert quality.raters["bruno"].agreement is None
    assert sum(part.translations for part in quality.strata.values()) == 20
    rows = [one.stratum == "wit × deepl" for one in sample.translations]
    assert quality.strata["wit × deepl"].mean == pytest.approx(answers[rows].mean())
    weighted = sum(quality.strata[name].mean * count for name, count in sample.population.items()) / 842
    assert quality.population_mean == pytest.approx(weighted)
    json.dumps(quality.to_json())


def test_missing_ratings_and_rows(sample, tmp_path):
    answers = [4] * 10 + [""] * 10
    path = filled(sample, tmp_path / "anna.csv", answers, comment="=ok")
    lines = path.read_text("utf-8-sig").splitlines()
    short = tmp_path / "bruno.csv"
    short.write_text("\n".join([lines[0], *lines[1:6], "", ",,,,"]), "utf-8")
    ratings = read_sheets(sample, [path, short])
    assert np.isnan(ratings.values).sum() == 10 + 15
    quality = summarize(ratings, PLAN)
    assert (quality.overall.rated, quality.overall.ratings) == (10, 15)
    assert quality.overall.agreement.value == 1
    assert quality.population_mean is None or quality.population_mean == 4
    assert ratings.comments[sample.translations[0].id]["anna"] == "=ok"


def test_what_spreadsheets_make_of_it(sample, tmp_path):
    path = filled(sample, tmp_path / "anna.csv", [3] * 20)
    rows = list(csv.reader(io.StringIO(path.read_text("utf-8-sig"), newline="")))
    for row in rows[1:]:
        row[3] = " 3,0 "
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, delimiter=";", lineterminator="\n").writerows(rows)
    assert (read_sheets(sample, [path]).values == 3).all()


def test_the_sample_can_be_taken_from_a_sheet(sample, tmp_path):
    path = filled(sample, tmp_path / "anna.csv", [4] * 20)
    found = sample_of(path)
    assert [(one.id, one.english, one.italian) for one in found.translations] == [
        (one.id, one.english, one.italian) for one in sample.translations
    ]
    assert summarize(read_sheets(found, [path]), PLAN).overall.mean == 4


@pytest.mark.parametrize("answer", [0, 5, "4.5", "buona", "nan", "-1"])
def test_a_rating_outside_the_scale(sample, tmp_path, answer):
    path = filled(sample, tmp_path / "anna.csv", [4, 4, answer])
    with pytest.raises(BadRecord, match=rf"anna\.csv:4: rating '{answer}'; write 1 \(meaning lost\), 2, 3 or 4"):
        read_sheets(sample, [path])


def test_lines_are_counted_in_the_file(tmp_path):
    two = [translation(f"a\nb {i}", "x\ny\nz", source="cc", engine="d") for i in range(3)]
    sample = draw(two, PLAN)
    path = filled(sample, tmp_path / "anna.csv", [1, 2, 9])
    with pytest.raises(BadRecord, match=r"anna\.csv:10: rating '9'"):
        read_sheets(sample, [path])


def test_an_unknown_id(sample, tmp_path):
    path = filled(sample, tmp_path / "anna.csv", [4] * 20)
    path.write_text(path.read_text("utf-8").replace(sample.translations[2].id, "t123"), "utf-8")
    with pytest.raises(BadRecord, match=r"anna\.csv:4: unknown id 't123'; leave the column `id` as it was"):
        read_sheets(sample, [path])


def test_two_sheets_of_different_samples(sample, tmp_path):
    other = draw(MIXED, QualityPlan(sample=20, seed=7))
    mine, theirs = filled(sample, tmp_path / "a.csv", [4] * 20), filled(other, tmp_path / "b.csv", [4] * 20)
    with pytest.raises(BadRecord, match=r"b\.csv: a sheet of another sample \(\d+ of its 20 ids"):
        read_sheets(sample, [mine, theirs])


def test_an_id_twice(sample, tmp_path):
    path = filled(sample, tmp_path / "anna.csv", [4] * 20)
    lines = path.read_text("utf-8").splitlines()
    path.write_text("\n".join([*lines, lines[3]]), "utf-8")
    with pytest.raises(BadRecord, match=r"anna\.csv:22: id t\w+ stands in line 4 already"):
        read_sheets(sample, [path])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"a\.csv: empty; a sheet begins with the columns id, english"),
        (b"id,english,italian,voto\n", r"a\.csv:1: no column rating, comment"),
        ("id,english,italian,rating,comment\nt1,caf\xe9,x,4,\n".encode("latin-1"), r"a\.csv: not UTF-8 \(byte 40\)"),
        (b'id,english,italian,rating,comment\nt1,a,"' + b"x" * 200_000 + b'",4,\n', r"a\.csv:2: not CSV"),
    ],
)
def test_files_that_are_no_sheet(sample, tmp_path, data, message):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(BadRecord, match=message):
        read_sheets(sample, [tmp_path / "a.csv"])


def test_the_same_sheet_twice(sample, tmp_path):
    path = filled(sample, tmp_path / "anna.csv", [4] * 20)
    with pytest.raises(BadRecord, match="given twice"):
        read_sheets(sample, [path, path])
    (tmp_path / "b").mkdir()
    other = filled(sample, tmp_path / "b" / "anna.csv", [3] * 20)
    assert read_sheets(sample, [path, other]).raters == (str(path), str(other))


def test_no_sheet_and_no_rating(sample, tmp_path):
    with pytest.raises(BadRecord, match="no filled sheet"):
        read_sheets(sample, [])
    path = filled(sample, tmp_path / "anna.csv", [])
    with pytest.raises(BadRecord, match="no rating in anna"):
        summarize(read_sheets(sample, [path]), PLAN)


def test_one_rater_has_no_agreement(sample, tmp_path):
    quality = summarize(read_sheets(sample, [filled(sample, tmp_path / "a.csv", [3, 4])]), PLAN)
    assert quality.overall.agreement is None
    assert quality.overall.mean == 3.5
    one = summarize(read_sheets(sample, [filled(sample, tmp_path / "b.csv", [3])]), PLAN)
    assert (one.overall.mean, one.overall.low) == (3, None)
    assert not math.isnan(one.overall.mean)

"""WIT's rows to records: what is taken, what is passed over and how it is said."""

import csv
import gzip
import io

import pytest
from pydantic import ValidationError

from clip_italian.corpus.sources.wit import COLUMNS, Wit
from clip_italian.errors import BadRecord

IMAGE = "http://upload.wikimedia.org/wikipedia/commons/4/45/Pane_di_%22Altamura%22.jpg"
ROW = {
    "language": "it",
    "page_url": "https://it.wikipedia.org/wiki/Pane",
    "image_url": IMAGE,
    "page_title": "Pane",
    "hierarchical_section_title": "Pane / Storia",
    "caption_reference_description": "Un pane",
    "caption_attribution_description": "Pane casereccio",
    "caption_alt_text_description": "pane su un tavolo",
    "mime_type": "image/jpeg",
    "original_height": "480",
    "original_width": "640",
    "is_main_image": "true",
    "attribution_passes_lang_id": "true",
    "context_section_description": 'Il pane è\n\n"buono"\tdavvero',
}


def write(path, *rows, header=COLUMNS):
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    if header:
        writer.writerow(header)
    for row in rows:
        if isinstance(row, bytes):
            stream.write(row.decode("utf-8", "surrogateescape"))
        else:
            writer.writerow([row.get(name, "") for name in header or COLUMNS])
    path.write_bytes(gzip.compress(stream.getvalue().encode("utf-8", "surrogateescape")))
    return path


def read(root, **settings):
    messages: list[str] = []
    records = list(Wit(files=("*.tsv.gz",), **settings).records(root, messages.append))
    return records, messages


def test_a_row(tmp_path):
    write(tmp_path / "wit.tsv.gz", ROW, {**ROW, "language": "en", "image_url": "http://x/en.jpg"})
    [record], messages = read(tmp_path)
    assert not messages
    assert (record.source, record.image, record.page) == ("wit", IMAGE, ROW["page_url"])
    [caption] = record.captions
    assert (caption.text, caption.language, caption.origin, caption.engine) == ("Un pane", "it", "written", "")
    assert record.licence == "CC-BY-SA-3.0"
    assert record.attribution == "https://commons.wikimedia.org/wiki/File:Pane_di_%22Altamura%22.jpg"
    assert dict(record.extra) == {
        "page_title": "Pane",
        "section": "Pane / Storia",
        "width": 640,
        "height": 480,
        "main_image": True,
    }


def test_the_key_does_not_depend_on_place_or_settings(tmp_path):
    write(tmp_path / "a.tsv.gz", {**ROW, "image_url": "http://x/other.jpg"}, ROW)
    [_, second], _ = read(tmp_path, captions=("alt_text",))
    (tmp_path / "a.tsv.gz").unlink()
    write(tmp_path / "b.tsv.gz", ROW, header=(*COLUMNS[:1], "new", *COLUMNS[1:]))
    [only], _ = read(tmp_path)
    assert only.id == second.id


def test_which_captions(tmp_path):
    no_id = {**ROW, "page_url": "https://it.wikipedia.org/wiki/B", "attribution_passes_lang_id": "false"}
    same = {**ROW, "page_url": "https://it.wikipedia.org/wiki/C", "caption_alt_text_description": "Un  pane\n"}
    write(tmp_path / "wit.tsv.gz", ROW, no_id, same)
    records, messages = read(tmp_path, captions=("reference", "attribution", "alt_text"))
    assert [[caption.text for caption in record.captions] for record in records] == [
        ["Un pane", "Pane casereccio", "pane su un tavolo"],
        ["Un pane", "pane su un tavolo"],
        ["Un pane", "Pane casereccio"],
    ]
    assert not messages


def test_languages_and_pictures(tmp_path):
    english = {**ROW, "language": "en", "caption_reference_description": "A loaf"}
    drawing = {**ROW, "mime_type": "image/svg+xml"}
    silent = {**ROW, "caption_reference_description": "  "}
    write(tmp_path / "wit.tsv.gz", english, drawing, silent, ROW)
    records, messages = read(tmp_path, languages=("it", "en"))
    assert [(r.captions[0].text, r.captions[0].language) for r in records] == [("A loaf", "en"), ("Un pane", "it")]
    assert not messages


def test_bad_rows_are_told_and_reading_goes_on(tmp_path):
    tabs = "\t" * 14
    path = write(
        tmp_path / "wit.tsv.gz",
        {**ROW, "context_page_description": "due\nrighe"},  # lines 2 to 5
        b"it\thttp://x\n",
        f"it\t{tabs}x\ty\tz\tw\n".encode(),
        {**ROW, "caption_reference_description": "lungo " * 200_000},  # 1.2 MB, and two newlines more
        {**ROW, "caption_reference_description": "citt\udce0"},
        {**ROW, "image_url": "ftp://x/a.jpg"},
        {**ROW, "page_url": "https://it.wikipedia.org/wiki/Ultimo", "page_title": "Ultimo"},
    )
    records, messages = read(tmp_path)
    assert [record.extra["page_title"] for record in records] == ["Pane", "Ultimo"]
    where = [message.removeprefix(f"{path}:").partition(":")[0] for message in messages]
    assert where == ["6", "7", "8", "11", "14"]
    for message, part in zip(
        messages,
        [
            "2 columns instead of 17",
            "19 columns instead of 17",
            "1199999 characters",
            "not UTF-8",
            "no http(s) address",
        ],
        strict=True,
    ):
        assert part in message


def test_a_file_cut_short_gives_what_is_whole(tmp_path):
    rows = [{**ROW, "page_url": f"https://it.wikipedia.org/wiki/{i}"} for i in range(5000)]
    path = write(tmp_path / "wit.tsv.gz", *rows)
    path.write_bytes(path.read_bytes()[:-200])
    records, messages = read(tmp_path)
    assert 4000 < len(records) < 5001
    assert [record.page for record in records] == [row["page_url"] for row in rows[: len(records)]]
    assert len(messages) == 1
    assert "damaged" in messages[0]


def test_files_that_are_not_wit(tmp_path):
    with pytest.raises(BadRecord, match="no such file"):
        read(tmp_path)
    write(tmp_path / "wit.tsv.gz", header=COLUMNS[:5])
    with pytest.raises(BadRecord, match="no column hierarchical_section_title"):
        read(tmp_path)
    write(tmp_path / "wit.tsv.gz", ROW, header=(*COLUMNS[1:], COLUMNS[0]))
    with pytest.raises(BadRecord, match="page_url as its first column"):
        read(tmp_path)
    (tmp_path / "wit.tsv.gz").write_bytes(gzip.compress(b""))
    assert "holds no row" in read(tmp_path)[1][0]


def test_settings_are_checked():
    with pytest.raises(ValidationError, match="captions"):
        Wit(captions=("title",))
    with pytest.raises(ValidationError, match="languages"):
        Wit(languages=())

"""Quoted rows against Python's csv module, whatever stands in them and wherever blocks end."""

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clip_italian.corpus.sources import streams, tsv

WANTED = ("it", "a")
FIXTURES = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
fields = st.one_of(
    st.sampled_from(["", "it", "a", '"', '""', "\n", "\t", '\t"', "\r\n", 'x"y', '"x"', "it\thttp://a", "\nit\tb"]),
    st.text(alphabet='a"\t\nì', max_size=8),
    st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=6),
)
tables = st.lists(st.lists(fields, min_size=2, max_size=4), min_size=1, max_size=12)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def found(path: Path, first=WANTED) -> tuple[list[list[str]], list[int], list[str]]:
    messages: list[str] = []
    rows = list(tsv.rows(path, first=first, on_skip=messages.append))
    texts = [[field.decode("utf-8", "surrogateescape") for field in row] for _, row in rows]
    return texts, [number for number, _ in rows], messages


def expected(content: str, first=WANTED) -> tuple[list[list[str]], list[int]]:
    reader = csv.reader(io.StringIO(content, newline=""), delimiter="\t")
    rows, numbers, before = [], [], 0
    for row in reader:
        if row and (not rows or row[0] in first):
            rows.append(row)
            numbers.append(before + 1)
        before = reader.line_num
    return rows, numbers


@pytest.fixture(params=[1, 7, 4096])
def small_blocks(request, monkeypatch):
    monkeypatch.setattr(tsv, "blocks", lambda path: cut(path.read_bytes(), request.param))


def cut(content: bytes, size: int):
    return (content[i : i + size] for i in range(0, len(content), size))


@given(tables, st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]), st.sampled_from(["\n", "\r\n"]), st.booleans())
@FIXTURES
def test_what_the_csv_module_writes(tmp_path, small_blocks, table, quoting, end, last_end):
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter="\t", quoting=quoting, lineterminator=end).writerows(table)
    content = stream.getvalue() if last_end else stream.getvalue().removesuffix(end)
    rows, numbers, messages = found(write(tmp_path / "t.tsv", content.encode()))
    assert (rows, messages) == (expected(content)[0], [])
    if "\r" not in content.replace("\r\n", ""):  # the module counts a lone return as a line, editors do not
        assert numbers == expected(content)[1]


@given(st.text(alphabet='a"\t\nb', max_size=60))
@FIXTURES
def test_any_text_is_read_as_the_csv_module_reads_it(tmp_path, small_blocks, content):
    rows, numbers, messages = found(write(tmp_path / "t.tsv", content.encode()))
    good = expected(content)
    if messages:  # the last row's quote is never closed: the module gives what it has
        assert len(messages) == 1
        assert "is not closed" in messages[0]
        stops = [i for i in range(len(good[0]) + 1) if (rows, numbers) == (good[0][:i], good[1][:i])]
        assert stops in ([len(good[0]) - 1], [len(good[0])])
    else:
        assert (rows, numbers) == good


@given(st.lists(st.sampled_from(["it\tx", 'it\t"y\nz"', 'en\t"a\n"', "en\tb", 'it\t"q""r"', '"it"\ts']), max_size=40))
@FIXTURES
def test_both_ways_find_the_same(tmp_path, lines):
    content = "language\ttext\n" + "".join(line + "\n" for line in lines)
    path = write(tmp_path / "t.tsv", content.encode())
    quick = found(path)
    splitter_way = tsv._Splitter.between_rows
    try:
        tsv._Splitter.between_rows = property(lambda self: False)
        slow = found(path)
    finally:
        tsv._Splitter.between_rows = splitter_way
    assert quick == slow == (*expected(content), [])


def test_an_unclosed_quote_takes_only_its_own_row(tmp_path):
    lines = ["language\turl\ttext", 'it\thttp://a\t"never closed', "it\thttp://b\tgood", 'it\thttp://c\t"also" good']
    path = write(tmp_path / "t.tsv.gz", "\n".join(lines).encode())
    rows, numbers, messages = found(path)
    assert [row[1] for row in rows[1:]] == ["http://b", "http://c"]
    assert numbers == [1, 3, 4]
    assert len(messages) == 1
    assert messages[0].startswith(f"{path}:2: a quote opens a field")
    assert "reading goes on at line 3" in messages[0]


def test_an_unclosed_quote_at_the_end(tmp_path):
    path = write(tmp_path / "t.tsv", b'language\turl\nen\thttp://x\t"open\nit\thttp://b\n')
    rows, numbers, messages = found(path)
    assert rows[1:] == [["it", "http://b"]]
    assert (numbers, len(messages)) == ([1, 3], 1)


def test_an_unclosed_quote_before_very_much(tmp_path, monkeypatch):
    monkeypatch.setattr(tsv, "MAX_LINE", 5000)
    lines = ["language\turl", 'en\t"open', *("plain\tline" for _ in range(2000)), "it\thttp://b"]
    rows, numbers, messages = found(write(tmp_path / "t.tsv", "\n".join(lines).encode()))
    assert rows[1:] == [["it", "http://b"]]
    assert numbers == [1, 2003]
    assert len(messages) == 1


def test_text_that_looks_like_a_row_within_a_sound_field_is_text(tmp_path):
    content = 'language\turl\ttext\nen\thttp://a\t"one\nit\thttp://x\ttwo"\nit\thttp://b\tc\n'
    rows, _, messages = found(write(tmp_path / "t.tsv", content.encode()))
    assert [row[1] for row in rows[1:]] == ["http://b"]
    assert not messages


def test_a_row_too_long_to_hold_is_passed_over(tmp_path, monkeypatch):
    for room in (tsv, streams):
        monkeypatch.setattr(room, "MAX_LINE", 100_000)
    content = b"language\turl\nit\t" + b"x" * 600_000 + b'\nit\t"' + b"y\n" * 100_000 + b'"\nit\thttp://b\n'
    rows, _, messages = found(write(tmp_path / "t.tsv.gz", content))
    assert rows[1:] == [["it", "http://b"]]
    # What is left of the second row is read as rows, and its closing quote as an opening one.
    assert [message.split(": ")[0].rsplit(":", 1)[1] for message in messages] == ["2", "3", "100003"]

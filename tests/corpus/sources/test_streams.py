"""Lines of compressed files: many members, cut ends, damage, bombs."""

import bz2
import gzip
import random
import tracemalloc

import pytest

from clip_italian.corpus.sources import streams
from clip_italian.errors import BadRecord

LINES = [f"riga {i} {random.Random(i).getrandbits(200)}".encode() for i in range(20_000)]
CONTENT = b"\n".join(LINES) + b"\n"


def read(path):
    messages: list[str] = []
    return [line for _, line in streams.lines(path, messages.append)], messages


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.tsv", CONTENT),
        ("a.tsv.gz", gzip.compress(CONTENT)),
        ("members.gz", gzip.compress(CONTENT[:7]) + gzip.compress(b"") + gzip.compress(CONTENT[7:]) + b"\0" * 99),
        ("a.bz2", bz2.compress(CONTENT)),
        ("members.bz2", bz2.compress(CONTENT[:500_000]) + bz2.compress(CONTENT[500_000:])),
        ("a.jsonl", CONTENT.removesuffix(b"\n")),
    ],
)
def test_whole_files(tmp_path, name, data):
    (tmp_path / name).write_bytes(data)
    assert read(tmp_path / name) == (LINES, [])


@pytest.mark.parametrize("share", [0.0001, 0.1, 0.5, 0.9, 0.99999])
@pytest.mark.parametrize(("name", "pack"), [("a.gz", gzip.compress), ("a.bz2", bz2.compress)])
def test_everything_before_a_cut_end(tmp_path, share, name, pack):
    data = pack(CONTENT)
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    found, messages = read(path)
    assert found == LINES[: len(found)]  # and no half line
    assert len(messages) == 1
    assert "fetch it again" in messages[0]
    assert messages[0].startswith(str(path))
    assert f"({len(found)} lines" in messages[0]
    if name == "a.gz":
        assert len(found) >= int(len(LINES) * share) - 400
        if share == 0.99999:
            assert len(found) == len(LINES)  # only the checksum is missing


def test_damage_in_the_middle(tmp_path):
    data = bytearray(gzip.compress(CONTENT))
    data[len(data) // 2 : len(data) // 2 + 40] = b"\xff" * 40
    (tmp_path / "a.gz").write_bytes(data)
    found, messages = read(tmp_path / "a.gz")
    assert len(messages) == 1
    whole = next((i for i, line in enumerate(found) if line != LINES[i]), len(found))
    assert whole > 7000


def test_not_gzip_at_all(tmp_path):
    (tmp_path / "a.gz").write_bytes(b"<html>404</html>" * 10)
    found, messages = read(tmp_path / "a.gz")
    assert found == []
    assert len(messages) == 1


def test_a_bomb_stays_small(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"0" * 80_000_000 + b"\nok\n", 9))
    list(streams.blocks(tmp_path / "bomb.gz"))  # loads the library
    tracemalloc.start()
    found, messages = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [b"ok"]
    assert f"{path}:1: a line of more than" in messages[0]
    assert peak < 20_000_000


def test_missing(tmp_path):
    with pytest.raises(BadRecord, match="cannot be read"):
        read(tmp_path / "no.gz")

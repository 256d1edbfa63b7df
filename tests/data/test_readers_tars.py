"""A tar's index: equal to tarfile's own reading, and honest about every place where a tar may end."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_italian.data.readers import read
from clip_italian.data.readers.tars import index
from clip_italian.errors import BadRecord

CONTENTS = {f"folder/foto_{i}.jpg": bytes([i]) * (300 + 400 * i) for i in range(5)}
LONG = {**CONTENTS, "folder/" + "long" * 40 + ".jpg": b"a name past ustar's limit", "è.jpg": b"an accent"}
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def tar_bytes(kind: str, contents: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=FORMATS[kind]) as tar:
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for name, data in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return stream.getvalue()


HELD = {"ustar": CONTENTS, "gnu": LONG, "pax": LONG}
WHOLE = {kind: tar_bytes(kind, HELD[kind]) for kind in FORMATS}


def closing(data: bytes) -> int:
    """Where the closing block starts: the first byte after the last member."""
    return len(data.rstrip(b"\0")) // 512 * 512 + 512


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", FORMATS)
def test_every_plain_member_is_found_with_its_bytes(tmp_path, kind, packed):
    path = tmp_path / ("s.tar.gz" if packed else "s.tar")
    path.write_bytes(gzip.compress(WHOLE[kind]) if packed else WHOLE[kind])
    members = index(path)
    with tarfile.open(path) as tar:
        expected = {m.name: tar.extractfile(m).read() for m in tar if m.isreg()}
    assert {name: ref.read() for name, ref in members.items()} == expected == HELD[kind]
    assert list(members) == list(HELD[kind])
    assert all(str(ref) == f"{path}#{name}" for name, ref in members.items())


def check_cut(path: Path, whole: bytes, length: int, expected: dict[str, int], packed: bool = False) -> None:
    """A tar cut to `length` gives exactly the members that lie before, whole, and says that it ends early."""
    path.write_bytes(whole[:length])
    messages: list[str] = []
    members = index(path, on_skip=messages.append)
    if not packed:
        assert list(members) == [name for name, end in expected.items() if end <= length]
    assert all(ref.read() == LONG[name] for name, ref in members.items())
    assert len(messages) == 1
    assert messages[0].startswith(str(path))
    assert messages[0].endswith(f"; fetch it again ({len(members)} members before that are whole)")
    with pytest.raises(BadRecord) as error:
        index(path)
    assert str(error.value) == messages[0]


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_tar_cut_anywhere_is_told_and_keeps_what_is_whole(tmp_path_factory, kind, data):
    path = tmp_path_factory.mktemp("cut") / "s.tar"
    path.write_bytes(WHOLE[kind])
    ends = {name: ref.offset + ref.size for name, ref in index(path).items()}
    length = data.draw(st.integers(0, closing(WHOLE[kind]) - 1))
    check_cut(path, WHOLE[kind], length, ends)


@settings(max_examples=80, deadline=None)
@given(share=st.floats(0, 0.999))
def test_a_compressed_tar_cut_anywhere_is_told(tmp_path_factory, share):
    packed = gzip.compress(WHOLE["pax"], mtime=0)
    path = tmp_path_factory.mktemp("cut") / "s.tar.gz"
    check_cut(path, packed, int(len(packed) * share), {}, packed=True)


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(sorted(FORMATS)), place=st.floats(0, 0.999), value=st.integers(0, 255))
def test_a_changed_byte_is_told_or_lies_in_a_picture(tmp_path_factory, kind, place, value):
    whole = bytearray(WHOLE[kind])
    whole[int(len(whole) * place)] = value
    path = tmp_path_factory.mktemp("changed") / "s.tar"
    path.write_bytes(whole)
    messages: list[str] = []
    members = index(path, on_skip=messages.append)
    if not messages:
        assert [len(ref.read()) for ref in members.values()] == [len(data) for data in HELD[kind].values()]


def test_messages_name_the_tar_the_member_and_the_bytes(tmp_path):
    path = tmp_path / "s.tar"
    whole = WHOLE["ustar"]
    path.write_bytes(whole)
    last = list(index(path).values())[-1]
    again = "; fetch it again ({} members before that are whole)"
    for cut, message in [
        (0, f"{path}: not a tar, or damaged after 0 members (empty file)" + again.format(0)),
        (last.offset + 812, f"{path}#{last.member}: the tar ends after 812 of its 1900 bytes" + again.format(4)),
        (last.offset, f"{path}#{last.member}: the tar ends after 0 of its 1900 bytes" + again.format(4)),
        (
            closing(whole),
            f"{path}: the tar ends early, without its closing block, at byte {closing(whole)}" + again.format(5),
        ),
    ]:
        path.write_bytes(whole[:cut])
        with pytest.raises(BadRecord) as error:
            index(path)
        assert str(error.value) == message
    broken = bytearray(whole)
    broken[last.offset - 300] ^= 0xFF
    path.write_bytes(broken)
    with pytest.raises(
        BadRecord, match=rf"the header at byte {last.offset - 512} is damaged; fetch it again \(4 members"
    ):
        index(path)
    packed = tmp_path / "s.tgz"
    packed.write_bytes(gzip.compress(whole)[:-20])
    with pytest.raises(BadRecord, match=r"s\.tgz: the compressed data is damaged or ends early"):
        index(packed)
    packed.write_bytes(b"hello")
    with pytest.raises(BadRecord, match=r"s\.tgz: the compressed data is damaged or ends early \(Not a gzipped file"):
        index(packed)


def test_a_tar_that_shrinks_after_indexing_is_told(tmp_path):
    path = tmp_path / "s.tar"
    path.write_bytes(WHOLE["ustar"])
    sample = read(path)[-1]
    path.write_bytes(WHOLE["ustar"][: sample.image.offset + 100])
    with pytest.raises(BadRecord, match=r"the tar ends after 100 of 1900 bytes; fetch it again"):
        sample.image.read()


def test_the_later_of_two_members_with_one_name_counts(tmp_path):
    path = tmp_path / "s.tar"
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for data in (b"old", b"newer"):
            info = tarfile.TarInfo("a.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    path.write_bytes(stream.getvalue())
    assert index(path)["a.jpg"].read() == b"newer"


def test_a_member_with_a_negative_size_does_not_hang(tmp_path):
    info = tarfile.TarInfo("a.jpg")
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = b"\xff" * 11 + b"\x00"  # base 256: minus 256
    header[148:156] = b"        "
    header[148:156] = b"%06o\0 " % sum(header)
    path = tmp_path / "s.tar"
    path.write_bytes(bytes(header) + bytes(1024))
    with pytest.raises(BadRecord, match=r"s\.tar"):
        index(path)

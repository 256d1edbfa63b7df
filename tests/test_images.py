"""Safe decoding: every kind of picture against pixels worked out by hand, and every kind of damage."""

import contextlib
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from clip_italian.errors import ClipItalianError, CorruptImage
from clip_italian.images import MAX_PIXELS, find_images, open_image, printable, read_picture

# Four quarters of different colours: what a turn or a flip does to them can be told by the corners.
RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)


def quarters(width: int = 64, height: int = 48) -> Image.Image:
    """Red and green above, blue and yellow below."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(GREEN, (width // 2, 0, width, height // 2))
    image.paste(BLUE, (0, height // 2, width // 2, height))
    image.paste(YELLOW, (width // 2, height // 2, width, height))
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def corners(image: Image.Image) -> list[tuple[int, int, int]]:
    """Colours of the corners, row by row, rounded to 0 or 255."""
    width, height = image.size
    places = [(2, 2), (width - 3, 2), (2, height - 3), (width - 3, height - 3)]
    return [tuple(255 if value > 127 else 0 for value in image.getpixel(place)) for place in places]


def png(width: int, height: int, rows: bytes, *, depth: int, colour: int, more: bytes = b"") -> bytes:
    """Write a PNG by hand, so that Pillow's writer has no part in the expectation."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    packed = zlib.compress(rows, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


FLIPPED = {1: (0, 1, 2, 3), 2: (1, 0, 3, 2), 3: (3, 2, 1, 0), 4: (2, 3, 0, 1)}
TURNED = {5: (0, 2, 1, 3), 6: (2, 0, 3, 1), 7: (3, 1, 2, 0), 8: (1, 3, 0, 2)}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("min_side", [None, 4])
def test_every_exif_orientation_is_upright(kind: str, orientation: int, min_side: int | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(encoded(quarters(), kind, exif=exif), min_side=min_side)
    order = {**FLIPPED, **TURNED}[orientation]
    assert corners(picture.image) == [[RED, GREEN, BLUE, YELLOW][i] for i in order]
    assert (picture.width, picture.height) == ((48, 64) if orientation >= 5 else (64, 48))
    assert corners(open_image(picture.image)) == corners(picture.image), "opened twice must not turn twice"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_every_format_is_told_by_its_bytes(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "lies.txt"
    path.write_bytes(encoded(quarters(), kind))
    for source in (path, str(path), path.read_bytes(), Image.open(path)):
        image = open_image(source)
        assert image.mode == "RGB"
        assert image.size == (64, 48)
        assert corners(image) == [RED, GREEN, BLUE, YELLOW]


def test_the_pictures_phones_put_several_of_into_one_jpeg() -> None:
    depth = Image.new("RGB", (64, 48), BLUE)
    data = encoded(quarters(), "MPO", save_all=True, append_images=[depth])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    for min_side in (None, 4):
        assert corners(open_image(data, min_side=min_side)) == [RED, GREEN, BLUE, YELLOW]


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = [0, 128, 129, 257, 32768, 40000, 65535]
    rows = b"\0" + b"".join(struct.pack(">H", value) for value in values)
    image = open_image(png(len(values), 1, rows, depth=16, colour=0))
    assert [image.getpixel((x, 0))[0] for x in range(len(values))] == [round(value / 257) for value in values]
    for order in ("<u2", ">u2"):
        tiff = encoded(Image.fromarray(np.array([values], order)), "TIFF")
        assert np.array_equal(np.asarray(open_image(tiff)), np.asarray(image))


def test_sixteen_bit_colour() -> None:
    rows = b"\0" + struct.pack(">3H", 65535, 32768, 0)
    assert open_image(png(1, 1, rows, depth=16, colour=2)).getpixel((0, 0)) == (255, 128, 0)


def test_float_and_integer_tiffs_are_stretched() -> None:
    for values in ([[0.0, 0.5, 1.0]], [[-1000.0, 0.0, 1000.0]]):
        image = open_image(encoded(Image.fromarray(np.array(values, np.float32)), "TIFF"))
        assert [image.getpixel((x, 0))[0] for x in range(3)] == [0, 128, 255]
    image = open_image(encoded(Image.fromarray(np.array([[0, 70_000]], np.int32)), "TIFF"))
    assert [image.getpixel((x, 0))[0] for x in range(2)] == [0, 255]
    flat = np.array([[np.nan, 3.0, np.inf]], np.float32)
    assert open_image(encoded(Image.fromarray(flat), "TIFF")).getpixel((0, 0)) == (0, 0, 0)


def test_transparent_pixels_lie_on_white() -> None:
    rows = b"\0" + bytes([255, 0, 0, 255, 0, 0, 0, 0, 0, 0, 0, 127])
    pixels = np.asarray(open_image(png(3, 1, rows, depth=8, colour=6)))[0]
    assert pixels.tolist() == [[255, 0, 0], [255, 255, 255], [128, 128, 128]]
    grey = b"\0" + bytes([0, 255, 0, 0])
    assert np.asarray(open_image(png(2, 1, grey, depth=8, colour=4)))[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_palettes() -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    palette = chunk(b"PLTE", bytes([9, 8, 7, 200, 100, 50]))
    rows = b"\0" + bytes([1, 0])
    assert np.asarray(open_image(png(2, 1, rows, depth=8, colour=3, more=palette)))[0].tolist() == [
        [200, 100, 50],
        [9, 8, 7],
    ]
    clear = palette + chunk(b"tRNS", bytes([0]))  # the first colour is transparent
    assert open_image(png(2, 1, rows, depth=8, colour=3, more=clear)).getpixel((1, 0)) == (255, 255, 255)


def test_grey_cmyk_and_bilevel() -> None:
    assert open_image(encoded(Image.new("L", (8, 8), 90), "PNG")).getpixel((0, 0)) == (90, 90, 90)
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, full magenta and yellow: red
    red = open_image(encoded(cmyk, "JPEG", quality=95)).getpixel((8, 8))
    assert red[0] > 245 and red[1] < 10 and red[2] < 10
    assert open_image(encoded(cmyk, "TIFF")).getpixel((8, 8)) == (255, 0, 0)
    assert open_image(encoded(Image.new("1", (8, 8), 1), "PNG")).getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_give_their_first_frame(kind: str) -> None:
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, GREEN, BLUE)]
    image = open_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert corners(image)[0] == RED


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_one_pixel(kind: str) -> None:
    for min_side in (None, 224):
        assert open_image(encoded(Image.new("RGB", (1, 1), RED), kind), min_side=min_side).size == (1, 1)


sides = st.integers(1, 900)


@given(width=sides, height=sides, side=st.integers(1, 300), kind=st.sampled_from(["JPEG", "PNG"]))
@example(7, 7, 1, "JPEG")
@settings(max_examples=30, deadline=None)
def test_reduced_pictures_keep_twice_the_side(width: int, height: int, side: int, kind: str) -> None:
    picture = read_picture(encoded(Image.new("RGB", (width, height), RED), kind), min_side=side)
    assert (picture.width, picture.height) == (width, height)
    assert min(picture.image.size) >= min(width, height, 2 * side)
    assert min(picture.image.size) <= 4 * side or picture.image.size == (width, height)
    assert corners(picture.image.resize((8, 8)))[0] == RED


def test_reducing_changes_little() -> None:
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (12, 18, 3), dtype=np.uint8)).resize((1203, 805), Image.BICUBIC)
    for kind, options in (("JPEG", {"quality": 95}), ("JPEG", {"progressive": True, "quality": 95}), ("PNG", {})):
        data = encoded(smooth, kind, **options)
        full = np.asarray(open_image(data).resize((64, 64), Image.BICUBIC), float)
        fast = np.asarray(open_image(data, min_side=64).resize((64, 64), Image.BICUBIC), float)
        assert np.abs(full - fast).mean() < 1.0


def test_dates_are_read() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2019:08:31 23:59:58"
    assert read_picture(encoded(quarters(), "JPEG", exif=exif)).taken == "2019-08-31T23:59:58"
    exif.get_ifd(0x8769)[0x9003] = "0000:00:00 00:00:00"
    assert read_picture(encoded(quarters(), "JPEG", exif=exif)).taken is None
    assert read_picture(encoded(quarters(), "JPEG")).taken is None


SAMPLES = {
    "jpeg": encoded(quarters(), "JPEG"),
    "progressive": encoded(quarters(), "JPEG", progressive=True),
    "png": encoded(quarters(), "PNG"),
    "webp": encoded(quarters(), "WEBP"),
    "gif": encoded(quarters(), "GIF"),
    "bmp": encoded(quarters(), "BMP"),
    "tiff": encoded(quarters(), "TIFF"),
    "deflate": encoded(quarters(), "TIFF", compression="tiff_adobe_deflate"),
    "avif": encoded(quarters(), "AVIF"),
}


@given(kind=st.sampled_from(sorted(SAMPLES)), part=st.floats(0, 1), side=st.sampled_from([None, 4]))
@settings(max_examples=300, deadline=None)
def test_a_file_cut_short_is_whole_or_refused(kind: str, part: float, side: int | None) -> None:
    data = SAMPLES[kind]
    try:
        image = open_image(data[: int(part * len(data))], min_side=side)
    except CorruptImage:
        return
    assert np.array_equal(np.asarray(image), np.asarray(open_image(data, min_side=side)))


def test_a_photo_cut_anywhere_in_its_pixels_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    data = encoded(Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)), "JPEG")
    path = tmp_path / "IMG_3.jpg"
    for part in (0.2, 0.5, 0.9, 0.99):
        path.write_bytes(data[: int(part * len(data))])
        with pytest.raises(CorruptImage, match=r"IMG_3\.jpg: damaged or cut short .*replace it with a good copy"):
            open_image(path)


@given(
    kind=st.sampled_from(sorted(SAMPLES)),
    changes=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=20),
)
@settings(max_examples=400, deadline=None)
def test_damaged_bytes_never_raise_anything_else(kind: str, changes: list[tuple[float, int]]) -> None:
    data = bytearray(SAMPLES[kind])
    for place, value in changes:
        data[int(place * len(data))] = value
    with contextlib.suppress(CorruptImage):
        assert open_image(bytes(data)).mode == "RGB"


@given(st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(CorruptImage):
        open_image(data)


def test_other_formats_are_not_opened() -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    for data in (postscript, encoded(quarters(), "PPM"), encoded(quarters(), "TGA"), encoded(quarters(), "ICO")):
        with pytest.raises(CorruptImage, match="not a picture of a known format; convert it to JPEG or PNG"):
            open_image(data)
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
    with pytest.raises(CorruptImage, match="HEIC pictures cannot be opened; convert"):
        open_image(heic)


def test_unreadable_files_say_why(tmp_path: Path) -> None:
    with pytest.raises(CorruptImage, match=r"none\.jpg: cannot be read \(No such file or directory\)"):
        open_image(tmp_path / "none.jpg")
    with pytest.raises(CorruptImage, match="cannot be read"):
        open_image(tmp_path)
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(CorruptImage, match=r"empty\.jpg: the file is empty"):
        open_image(tmp_path / "empty.jpg")


def bmp(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 14 + len(info), 0, 0, 14 + len(info)) + info


def old_bmp(width: int, height: int) -> bytes:
    return b"BM" + struct.pack("<IHHIIHHHH", 26, 0, 0, 26, 12, width, height, 1, 24)


def gif(width: int, height: int, frame: tuple[int, int] | None = None) -> bytes:
    """Write a GIF whose one frame is black where it has pixels; frame: its size, the same by default."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0b10000000, 0, 0) + bytes(6)
    packed = bytes([2, 3, 0b01000100, 0b00000000, 0b00000101, 0])  # for four pixels: clear, 0, 0, 0, 0, end
    return head + b"," + struct.pack("<HHHHB", 0, 0, *(frame or (width, height)), 0) + packed + b";"


@pytest.mark.parametrize("size", [(0, 0), (0, 5), (5, 0)])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "old BMP", "GIF", "made"])
def test_what_has_no_pixels_is_not_called_damaged(kind: str, size: tuple[int, int]) -> None:
    pictures = {
        "PNG": png(*size, b"", depth=8, colour=2), "BMP": bmp(*size), "old BMP": old_bmp(*size), "GIF": gif(*size),
        "made": Image.new("RGB", size),
    }  # fmt: skip
    with pytest.raises(CorruptImage, match=rf"has no pixels \({size[0]} × {size[1]}\)"):
        open_image(pictures[kind])


def test_a_gif_may_say_less_of_itself_than_its_frame() -> None:
    assert open_image(gif(0, 0, frame=(2, 2))).size == (2, 2)


@pytest.mark.parametrize(("kind", "length"), [("PNG", 23), ("BMP", 25), ("old BMP", 21), ("GIF", 9)])
def test_a_header_cut_before_its_sides_end_is_damaged(kind: str, length: int) -> None:
    pictures = {"PNG": png(0, 0, b"", depth=8, colour=2), "BMP": bmp(0, 0), "old BMP": old_bmp(0, 0), "GIF": gif(0, 0)}
    with pytest.raises(CorruptImage, match="damaged or cut short"):
        open_image(pictures[kind][:length])


MEASURE = """
import resource, sys
from clip_italian.images import open_image
open_image({small!r}, min_side=224)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
image = open_image({path!r}, min_side=224)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
print(*image.size, *image.getpixel((9, 9)), grown // 1024)
"""


def test_a_hundred_megapixel_jpeg_takes_little_memory(tmp_path: Path) -> None:
    path, small = tmp_path / "big.jpg", tmp_path / "small.jpg"
    Image.new("L", (11_600, 8_700), 77).save(path)
    Image.new("L", (600, 600), 77).save(small)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(path=str(path), small=str(small))],
        capture_output=True,
        text=True,
        check=True,
    )
    width, height, *pixel, grown = done.stdout.split()
    assert (int(width), int(height)) == (725, 543)
    assert pixel == ["77"] * 3
    assert int(grown) < 60, "MiB; the whole picture would take 300 as RGB"
    assert not done.stderr, "no warning of Pillow's reaches the user"


def test_bombs_are_refused_from_the_header(tmp_path: Path) -> None:
    rows = zlib.compress(bytes(1000))
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", header), (b"IDAT", rows), (b"IEND", b""))
    )
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(CorruptImage, match=r"bomb\.png: 60000 × 60000 is 3600 megapixels, more than the limit of 179"):
        open_image(path)
    photo = encoded(quarters(), "JPEG")
    with pytest.raises(CorruptImage, match="more than the limit"):
        open_image(photo, max_pixels=64 * 48 - 1)
    assert open_image(photo, max_pixels=64 * 48).size == (64, 48)
    assert open_image(photo, max_pixels=64 * 24, min_side=4).size[0] >= 8, (
        "read at reduced scale it may be twice as large"
    )
    with pytest.raises(CorruptImage, match="more than the limit"):
        open_image(encoded(quarters(), "JPEG", progressive=True), max_pixels=64 * 24, min_side=4)
    assert MAX_PIXELS > 100e6


def test_find_images(tmp_path: Path) -> None:
    photo = encoded(quarters(), "JPEG")
    good = ["B.JPG", "a.jpeg", "nome strano\n.png", "senza_estensione", "sub/c.webp", "sub/deep/d.tif"]
    for name in [*good, ".hidden.jpg", ".thumbs/e.jpg", "notes.txt", "film.mp4"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(photo)
    raw = os.fsdecode(b"caff\xe8.jpg")
    (tmp_path / raw).write_bytes(photo)
    (tmp_path / "README").write_text("BMW and other words")
    (tmp_path / "album.png").write_bytes(b"an album")
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "secret.jpg").write_bytes(photo)
    (tmp_path / "link.jpg").symlink_to(outside / "secret.jpg")
    (tmp_path / "linked").symlink_to(outside)
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    found = [str(path.relative_to(tmp_path)) for path in find_images(tmp_path, exclude=[tmp_path / "album.png"])]
    assert found == ["B.JPG", "a.jpeg", raw, "nome strano\n.png", "senza_estensione", "sub/c.webp", "sub/deep/d.tif"]


def test_find_images_says_what_it_cannot_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ClipItalianError, match="no such folder"):
        list(find_images(tmp_path / "none"))
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ClipItalianError, match="locked: cannot be listed"):
        list(find_images(tmp_path))
    seen: list[OSError] = []
    assert list(find_images(tmp_path, unreadable=seen.append)) == []
    assert [Path(error.filename).name for error in seen] == ["locked"]


def test_printable_is_one_line_of_unicode() -> None:
    assert printable(os.fsdecode(b"caff\xe8\n\x1b[31m.jpg")) == r"caff\xe8\n\x1b[31m.jpg"
    assert printable("perché/è.jpg") == "perché/è.jpg"

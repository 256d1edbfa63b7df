"""Taking a picture in: upright, small, whole, without what tells of its maker, and the same bytes every time."""

import hashlib
import io
import itertools
import random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from server import enormous, picture

from clip_italian.corpus.fetching.pictures import BadPicture, take_in, without_metadata
from clip_italian.corpus.fetching.plan import FetchPlan
from clip_italian.errors import CorruptImage
from clip_italian.images import open_image

PLAN = FetchPlan(side=64)
PERSONAL = (
    b"Exif",
    b"Maker of cameras",
    b"http://ns.adobe.com/xap",
    b"Photoshop 3.0",
    b"a comment of mine",
    b"MPF",
    b"trailer",
)


def segment(marker, payload):
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2) + payload


def talkative(jpeg, icc=b"ICC_PROFILE\0\x01\x01profile"):
    """Return a JPEG that says in every way where and by whom it was made."""
    exif = Image.Exif()
    exif[0x010F] = "Maker of cameras"
    exif.get_ifd(0x8825).update({1: "N", 2: (41.0, 53.0, 24.0)})
    extra = [
        segment(0xE1, exif.tobytes()),
        segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>"),
        segment(0xE2, icc),
        segment(0xE2, b"MPF\0 index"),
        segment(0xED, b"Photoshop 3.0\0 by-line"),
        segment(0xFE, b"a comment of mine"),
        segment(0xE5, b"maker's own"),
    ]
    return jpeg[:2] + b"".join(extra) + jpeg[2:] + b"trailer" + jpeg


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_small_upright_jpeg_is_kept_but_for_its_metadata(store, progressive, mode):
    out = io.BytesIO()
    image = open_image(picture(1)).convert(mode)
    image.save(out, "JPEG", progressive=progressive, quality=70, restart_marker_blocks=3)
    plain = out.getvalue()
    stored = take_in(plain, store, FetchPlan(side=72))
    assert store.path(stored.sha256).read_bytes() == plain
    told = take_in(talkative(plain), store, FetchPlan(side=72))
    kept = store.path(told.sha256).read_bytes()
    assert not [word for word in PERSONAL if word in kept] and b"ICC_PROFILE" in kept
    assert without_metadata(kept) == kept
    np.testing.assert_array_equal(np.asarray(open_image(kept)), np.asarray(open_image(plain)))
    assert (told.width, told.height, told.size) == (96, 72, len(kept))


def test_a_thumbnail_in_jfif_goes():
    thumbnail = segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\x02\x01" + b"hidden")
    plain = picture(1)
    jpeg = plain[:2] + thumbnail + plain[plain.index(b"\xff\xdb") :]
    assert b"hidden" not in without_metadata(jpeg)
    assert open_image(without_metadata(jpeg)).size == (96, 72)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_pictures_are_stored_upright(store, orientation, suffix):
    stored = take_in(picture(2, o=orientation, suffix=suffix, gps=1), store, FetchPlan(side=200))
    data = store.path(stored.sha256).read_bytes()
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG" and not image.getexif() and b"Maker" not in data
    assert image.size == (stored.width, stored.height) == ((96, 72) if orientation < 5 else (72, 96))
    upright = open_image(picture(2, o=orientation, suffix=suffix, gps=1))
    assert np.abs(np.asarray(image, int) - np.asarray(upright, int)).mean() < 6


@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((400, 300), 64, (85, 64)), ((300, 400), 64, (64, 85)), ((64, 64), 64, (64, 64)), ((65, 65), 64, (64, 64)),
        ((2000, 40), 64, (2000, 40)), ((400, 300), None, (400, 300)), ((1600, 1200), 100, (133, 100)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_the_shorter_side_is_reduced_and_never_enlarged(store, size, side, expected, suffix):
    stored = take_in(picture(3, w=size[0], h=size[1], suffix=suffix), store, FetchPlan(side=side))
    assert (stored.width, stored.height) == expected
    assert open_image(store.path(stored.sha256)).size == expected


def test_what_is_reduced_looks_the_same(store):
    stored = take_in(picture(4, w=1600, h=1200), store, FetchPlan(side=240))
    got = np.asarray(open_image(store.path(stored.sha256)), int)
    best = np.asarray(open_image(picture(4, w=1600, h=1200)).resize((320, 240), Image.Resampling.LANCZOS), int)
    assert np.abs(got - best).mean() < 1.5


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "CMYK", "I;16", "L"])
def test_every_kind_of_pixel_becomes_a_plain_jpeg(store, mode):
    out = io.BytesIO()
    image = open_image(picture(5))
    image = (
        Image.fromarray(np.arange(96 * 72, dtype=np.uint16).reshape(72, 96) * 9)
        if mode == "I;16"
        else image.convert(mode)
    )
    image.save(out, "JPEG" if mode == "CMYK" else "PNG")
    stored = take_in(out.getvalue(), store, PLAN)
    again = Image.open(store.path(stored.sha256))
    assert again.format == "JPEG" and again.mode in ("RGB", "L")


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", "not_image"), (b"<!doctype html><html>", "not_image"), (b"\n <svg xmlns=", "not_image"),
        (b"\xff\xd8\xff", "damaged"), (picture(1)[:-200], "damaged"), (picture(1)[:700], "damaged"),
        (enormous(), "too_many_pixels"), (picture(0, w=1, h=1, suffix="gif"), "too_small"),
        (picture(0, w=300, h=31), "too_small"), (picture(1) + bytes(5000), "too_large"), (b"GIF89a", "damaged"),
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "damaged"), (b"%!PS-Adobe-3.0 EPSF-3.0", "not_image"),
        (picture(1, w=400, h=300, suffix="png")[:3000], "damaged"),
    ],
)  # fmt: skip
def test_what_is_refused(store, data, status):
    with pytest.raises(BadPicture) as refused:
        take_in(data, store, FetchPlan(side=64, max_bytes=5000))
    assert refused.value.status == status and isinstance(refused.value, CorruptImage)
    assert not list(store.root.rglob("*.jpg"))


def test_pixels_are_counted_before_any_is_decoded(store, monkeypatch):
    monkeypatch.setattr("clip_italian.corpus.fetching.pictures.read_picture", lambda *_, **__: pytest.fail("decoded"))
    for suffix in ("jpg", "png", "webp", "gif", "bmp", "tif"):
        with pytest.raises(BadPicture) as refused:
            take_in(picture(1, w=400, h=300, suffix=suffix), store, FetchPlan(max_pixels=400 * 300 - 1))
        assert refused.value.status == "too_many_pixels"


def test_a_picture_too_long_for_a_jpeg(store):
    out = io.BytesIO()
    Image.new("L", (70_000, 40)).save(out, "PNG")
    with pytest.raises(BadPicture) as refused:
        take_in(out.getvalue(), store, PLAN)
    assert refused.value.status == "too_many_pixels"


def test_the_same_bytes_in_give_the_same_bytes_out_and_stored_pictures_stay(store):
    for suffix, orientation in itertools.product(("jpg", "png", "webp", "gif", "bmp", "tif"), (1, 6)):
        data = picture(6, w=300, h=200, suffix=suffix, o=orientation)
        first = take_in(data, store, PLAN)
        assert take_in(data, store, PLAN) == first
        assert take_in(store.path(first.sha256).read_bytes(), store, PLAN) == first


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6), talk=st.booleans(), cut=st.booleans())
def test_damaged_jpegs_are_refused_or_stored_whole(store, seed, talk, cut):
    """Whatever happens to its bytes: a picture is refused with a status, or what is stored can be decoded."""
    draw = random.Random(seed)
    data = bytearray(talkative(picture(7)) if talk else picture(7))
    for _ in range(draw.randint(1, 5)):
        data[draw.randrange(2, len(data))] = draw.choice([0, 0xFF, 0xD9, 0xDA, draw.randrange(256)])
    data = bytes(data[: draw.randrange(len(data))] if cut else data)
    try:
        stored = take_in(data, store, FetchPlan(side=draw.choice([40, 400]), min_side=1))
    except BadPicture as refused:
        assert refused.status in ("damaged", "not_image", "too_many_pixels")
        return
    kept = store.path(stored.sha256).read_bytes()
    assert hashlib.sha256(kept).hexdigest() == stored.sha256
    assert open_image(kept).size == (stored.width, stored.height)


@given(st.binary(max_size=400))
def test_segments_of_anything(data):
    without_metadata(b"\xff\xd8" + data)
    without_metadata(picture(1)[:300] + data)

"""The perceptual hash: stable bits, near under edits, far for other pictures."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from drawn_pictures import drawn
from PIL import Image, ImageOps
from scipy.fft import dctn

from clip_italian.corpus.duplicates.perceptual import BLANK, distance, mirrored, phash, phash_file
from clip_italian.errors import CorruptImage

GOLDEN = json.loads((Path(__file__).parent / "golden" / "phash.json").read_text())


def jpeg(image, quality=90):
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality)
    return out.getvalue()


@pytest.mark.parametrize("seed", range(12))
def test_the_bits_never_change(seed):
    assert f"{phash(drawn(seed)):016x}" == GOLDEN[str(seed)]


def test_bits_are_signs_of_the_longest_waves():
    image = drawn(3)
    small = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BOX), float)
    waves = dctn(small, norm="ortho")
    order = sorted(np.ndindex(32, 32), key=lambda at: (at[0] ** 2 + at[1] ** 2, at[0]))[1:65]
    expected = "".join("1" if waves[at] > 0 else "0" for at in order)
    assert f"{phash(image):064b}" == expected


@pytest.mark.parametrize("seed", range(8))
def test_edits_change_few_bits(seed):
    image = drawn(seed, 640, 480)
    own = phash(image)
    assert distance(own, phash_file(jpeg(image, 30))) <= 4
    assert distance(own, phash(image.resize((320, 240), Image.Resampling.BICUBIC))) <= 2
    assert distance(own, phash(image.convert("L"))) == 0
    assert distance(own, phash_file(jpeg(image))) <= 3  # decoded at reduced scale
    assert distance(mirrored(own), phash(ImageOps.mirror(image))) <= 2


def test_other_pictures_are_far():
    hashes = np.array([phash(drawn(seed)) for seed in range(60)], np.uint64)
    bits = distance(hashes[:, None], hashes[None])[np.triu_indices(60, 1)]
    assert bits.min() > 8
    assert 20 < np.median(bits) < 36


def test_mirroring_twice_is_nothing():
    hashes = np.array([0, 1, 2**63, 2**64 - 1], np.uint64)
    assert (mirrored(mirrored(hashes)) == hashes).all()
    assert mirrored(7).dtype == np.uint64


@pytest.mark.parametrize("colour", ["white", "black", (12, 200, 90)])
def test_blank_pictures_are_one(colour):
    image = Image.new("RGB", (300, 200), colour)
    assert phash(image) == phash_file(jpeg(image)) == BLANK
    image.putpixel((5, 5), (130, 130, 130))
    assert phash(image) == BLANK


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGBA", "CMYK", "YCbCr"])
def test_any_mode_and_shape(mode):
    assert 0 <= phash(drawn(1).convert(mode)) < 2**64
    assert 0 <= phash(drawn(1).resize((1, 700)).convert(mode)) < 2**64


def test_a_damaged_file_is_said(tmp_path):
    path = tmp_path / "rotto.jpg"
    path.write_bytes(jpeg(drawn(1))[:300])
    with pytest.raises(CorruptImage, match=r"rotto\.jpg"):
        phash_file(path)

"""From a picture to numbers: against CLIP's own processor, and against the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from clip_italian.preprocess import OPENAI_CLIP, Preprocess


def noise(width, height):
    return Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8))


def smooth(width, height):
    """A picture without detail, so that half a pixel's shift is less than a grey level."""
    return noise(3, 3).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def processor():
    module = pytest.importorskip("transformers.models.clip.image_processing_pil_clip")
    return module.CLIPImageProcessorPil()


def levels(pixels):
    mean, std = (np.asarray(values)[:, None, None] for values in (OPENAI_CLIP.mean, OPENAI_CLIP.std))
    return (np.asarray(pixels) * std + mean) * 255


def apart(image, processor):
    theirs = processor(images=image, return_tensors="np")["pixel_values"][0]
    return np.abs(levels(OPENAI_CLIP(image)) - levels(theirs))


@pytest.mark.parametrize("size", [(224, 224), (448, 448), (448, 224), (672, 1344), (100, 100)], ids=str)
def test_crop_is_clips_own(size, processor):
    assert apart(noise(*size), processor).max() <= 1.01


@pytest.mark.parametrize("size", [(640, 427), (333, 500), (1024, 300)], ids=str)
def test_crop_is_clips_own_but_for_part_of_a_pixel_where_sides_do_not_divide(size, processor):
    # It rounds the longer side and the corner of the crop to whole pixels, where ours stays in the middle.
    differences = apart(smooth(*size), processor)
    assert differences.max() <= 3.01
    assert differences.mean() < 0.5


def test_crop_takes_the_middle():
    image = Image.new("RGB", (90, 30), "red")
    image.paste("blue", (30, 0, 60, 30))
    square = np.asarray(Preprocess(10, "crop").square(image))
    assert (square[:, 1:-1] == (0, 0, 255)).all()


def test_squash_loses_nothing():
    image = Image.new("RGB", (90, 30), "red")
    image.paste("blue", (30, 0, 60, 30))
    square = Preprocess(30, "squash").square(image)
    assert square.size == (30, 30)
    assert np.array_equal(np.asarray(square), np.asarray(image.resize((30, 30), Image.Resampling.BICUBIC)))
    assert square.getpixel((2, 15)) == square.getpixel((27, 15)) == (255, 0, 0)


@given(st.integers(1, 9), st.tuples(*[st.floats(0, 1)] * 3), st.tuples(*[st.floats(0.05, 2)] * 3), st.booleans())
@settings(deadline=None)
def test_normalise_is_minus_mean_by_std(side, mean, std, batched):
    shape = (2, side, side + 1, 3) if batched else (side, side + 1, 3)
    pixels = np.random.default_rng(side).integers(0, 256, shape, np.uint8)
    found = Preprocess(8, "squash", mean, std).normalise(pixels)
    expected = np.moveaxis((pixels / 255 - np.array(mean)) / np.array(std), -1, -3)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("resize", ["crop", "squash"])
@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (37, 5)])
def test_any_picture_becomes_a_square(resize, mode, size):
    pixels = Preprocess(16, resize)(Image.new(mode, size))
    assert (pixels.shape, pixels.dtype) == ((3, 16, 16), np.float32)
    assert np.isfinite(pixels).all()


def test_settings_come_back_from_json():
    assert Preprocess.from_json(OPENAI_CLIP.to_json()) == OPENAI_CLIP
    with pytest.raises(TypeError, match="colour"):
        Preprocess.from_json({**OPENAI_CLIP.to_json(), "colour": 1})
    with pytest.raises(KeyError, match="mean"):
        Preprocess.from_json({"size": 3})


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 0},
        {"size": 2.5},
        {"size": "224"},
        {"resize": "fold"},
        {"mean": (1, 2)},
        {"std": (1, 0, 1)},
        {"std": ()},
    ],
    ids=str,
)
def test_settings_of_no_square_are_refused(changes):
    with pytest.raises(ValueError, match=r"size|resized|std"):
        Preprocess(**changes)

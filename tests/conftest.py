import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data; tests that need it are skipped where it is missing."""
    folder = Path(os.environ.get("CLIP_ITALIAN_SHARED", Path(__file__).parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"needs the real data in {folder} (set CLIP_ITALIAN_SHARED)")
    return folder

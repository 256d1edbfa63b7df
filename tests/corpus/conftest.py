import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import made
import pytest
from server import PictureServer

from clip_italian.corpus.build import build
from clip_italian.corpus.plan import read_plan


@pytest.fixture
def pictures():
    """A server of drawn pictures."""
    with PictureServer() as server:
        yield server


@pytest.fixture
def small(pictures, tmp_path):
    """Write the small corpus's sources; returns a function that builds it into a folder."""
    made.sources(tmp_path, pictures)

    def run(folder="prova", until="", **tables):
        path = made.plan(tmp_path, pictures, **tables)
        return build(read_plan(path), tmp_path, tmp_path / folder, text=path.read_text(), until=until)

    return run

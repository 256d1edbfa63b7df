import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from deepl_server import KEY, DeepLServer

from clip_italian.corpus.translation import TranslationPlan, Translator, open_translator


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[DeepLServer]:
    monkeypatch.setenv("DEEPL_AUTH_KEY", KEY)
    server = DeepLServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def deepl(server: DeepLServer, tmp_path: Path) -> Iterator[Callable[..., Translator]]:
    """Opens translators that ask the local server and wait for milliseconds where they would wait for seconds."""
    opened = []

    def open_one(cache: str = "cache.sqlite", **settings: object) -> Translator:
        plan = TranslationPlan.model_validate(
            {"server_url": server.url, "first_wait_s": 0.001, "longest_wait_s": 0.01, "attempts": 4, **settings}
        )
        opened.append(open_translator(plan, tmp_path / cache, tmp_path))
        return opened[-1]

    yield open_one
    for translator in opened:
        translator.close()


@pytest.fixture(scope="session")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Tiny Marian, NLLB and MADLAD models made on the spot."""
    for needed in ("torch", "transformers", "ctranslate2", "sentencepiece"):
        pytest.importorskip(needed)
    import torch
    from toy_models import make_all

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return make_all(tmp_path_factory.mktemp("toys"))
    finally:
        torch.set_num_threads(threads)

"""A local server that behaves as DeepL documents its API: /v2/translate, /v2/usage, limits, status codes, faults."""

import json
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "3f8c0a1e-test-key:fx"


def italian(text: str) -> str:
    """What this server takes for Italian: reversible, and different from every English text."""
    return f"[it] {text}"


class DeepLServer(ThreadingHTTPServer):
    """faults: what happens to the next requests to /v2/translate, in order; afterwards all is well.

    A fault is a status, or one of "drop", "cut", "html", "list", "null", "bare", "extra". bad_texts: text → a status
    for every request with that text, "left out" of the answer, or "empty" in it. known: text → its translation; others
    get that of `italian`.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.faults: deque[int | str] = deque()
        self.bad_texts: dict[str, int | str] = {}
        self.bodies: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        self.paid: Counter[str] = Counter()
        self.limit, self.used = 500_000, 0
        self.delay = 0.0
        self.known: dict[str, str] = {}
        self.max_at_once, self._now = 0, 0
        self.mutex = threading.Lock()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that waited no longer
            super().handle_error(request, client_address)

    @property
    def requests(self) -> list[list[str]]:
        return [body["text"] for body in self.bodies]

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self.mutex:
            self._now += 1
            self.max_at_once = max(self.max_at_once, self._now)
        try:
            yield
        finally:
            with self.mutex:
                self._now -= 1


class _Handler(BaseHTTPRequestHandler):
    server: DeepLServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path != "/v2/usage":
            return self._answer(404, {"message": "Not found"})
        if not self._key_is_right():
            return self._answer(403, None)
        self._answer(200, {"character_count": self.server.used, "character_limit": self.server.limit})

    def do_POST(self) -> None:
        with self.server.counted():
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path != "/v2/translate":
                return self._answer(404, {"message": "Not found"})
            if not self._key_is_right():
                return self._answer(403, None)
            if len(data) > 128 * 1024:
                return self._answer(413, {"message": "Request Entity Too Large"})
            body = json.loads(data)
            with self.server.mutex:
                self.server.bodies.append(body)
                self.server.sizes.append(len(data))
                fault = self.server.faults.popleft() if self.server.faults else None
            if self.server.delay:
                time.sleep(self.server.delay)
            if not 1 <= len(body["text"]) <= 50 or not all(body["text"]):
                return self._answer(400, {"message": "Invalid request", "detail": "text"})
            for text in body["text"]:
                bad = self.server.bad_texts.get(text)
                fault = fault or (bad if isinstance(bad, int) else None)
            self._translate(body, fault)

    def _translate(self, body: dict[str, Any], fault: int | str | None) -> None:
        if isinstance(fault, int):
            return self._answer(fault, {"message": f"fault {self.headers['Authorization']}"})
        if fault == "drop":
            self.close_connection = True
            return
        characters = sum(map(len, body["text"]))
        with self.server.mutex:
            if self.server.used + characters > self.server.limit:
                return self._answer(456, {"message": "Quota Exceeded"})
            self.server.used += characters
            self.server.paid.update(body["text"])
        bad = self.server.bad_texts
        found = [
            {
                "detected_source_language": "EN",
                "text": "" if bad.get(text) == "empty" else self.server.known.get(text) or italian(text),
                "billed_characters": len(text),
            }
            for text in body["text"]
            if bad.get(text) != "left out"
        ]
        answers: dict[Any, Any] = {
            None: {"translations": found},
            "extra": {"translations": [*found, *found[:1]]},
            "bare": {"translations": [{"text": one["text"]} for one in found]},
            "null": {"translations": None},
            "list": found,
            "html": "<html>Gateway</html>",
            "cut": {"translations": found},
        }
        self._answer(200, answers[fault], cut=fault == "cut")

    def _key_is_right(self) -> bool:
        return self.headers["Authorization"] == f"DeepL-Auth-Key {KEY}"

    def _answer(self, status: int, value: Any, *, cut: bool = False) -> None:
        data = value.encode() if isinstance(value, str) else b"" if value is None else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True

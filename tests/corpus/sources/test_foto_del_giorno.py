"""The crawler against a real local server: manners, faults, and a kill in the middle."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import ValidationError

from clip_italian.corpus.sources.foto_del_giorno import FotoDelGiorno
from clip_italian.corpus.sources.polite import NotFetched, page_getter
from clip_italian.errors import BadRecord, Busy

FIRST = date(2021, 7, 1)


class Site:
    """A server on the loopback whose answers a test sets: status, body, headers, or a function of the handler."""

    def __init__(self):
        self.pages, self.asked, self.agents, self.times = {}, [], set(), []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                site.asked.append(self.path)
                site.times.append(time.monotonic())
                site.agents.add(self.headers["User-Agent"])
                answer = site.pages.get(self.path, (404, b"", {}))
                if isinstance(answer, list):  # one answer after another
                    answer = answer.pop(0) if len(answer) > 1 else answer[0]
                if callable(answer):
                    return answer(self)
                status, body, headers = answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
                return None

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.host = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def day(self, number, body=None, status=200, **headers):
        body = body or f'<figure><img src="/{number}.jpg"><figcaption>Foto {number} (AP Photo)</figcaption></figure>'
        self.pages[f"/foto/2021/07/{number:02}"] = (status, body.encode(), headers)


@pytest.fixture
def site():
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()


def source(site, days=3, **settings):
    values = {"page": f"http://{site.host}/foto/{{year}}/{{month}}/{{day}}", "first": FIRST, "delay": 0, "tries": 2}
    return FotoDelGiorno(**{**values, "last": date(2021, 7, days), "timeout": 3, **settings})


def read(source, root):
    messages: list[str] = []
    return list(source.records(root, messages.append)), messages


def test_days_to_records(site, tmp_path):
    for number in (1, 2, 3):
        site.day(number)
    records, messages = read(source(site, contact="https://example.org/me"), tmp_path)
    assert not messages
    first = records[0]
    assert [record.captions[0].text for record in records] == ["Foto 1", "Foto 2", "Foto 3"]
    assert first.image == f"http://{site.host}/1.jpg"
    assert first.page == f"http://{site.host}/foto/2021/07/01"
    assert (first.attribution, first.extra["date"], first.captions[0].language) == ("AP Photo", "2021-07-01", "it")
    assert first.captions[0].origin == "written"
    assert site.asked[0] == "/robots.txt"
    assert site.agents == {"clip-italian-corpus/1.0 (+https://example.org/me)"}
    again, _ = read(source(site), tmp_path)
    assert again == records
    assert Counter(site.asked).most_common(1)[0][1] == 1  # nothing was fetched twice


def test_robots_txt_and_refusals(site, tmp_path):
    site.pages["/robots.txt"] = (200, b"User-agent: clip-italian-corpus\nDisallow: /foto/2021/07/02\n", {})
    site.day(1)
    site.day(2)
    site.day(3, '<meta name="robots" content="noai"><figure><img src="/3.jpg"><figcaption>Tre</figcaption></figure>')
    records, messages = read(source(site), tmp_path)
    assert [record.captions[0].text for record in records] == ["Foto 1"]
    assert "/foto/2021/07/02" not in site.asked
    assert "robots.txt forbids it" in messages[0]
    assert "robots tag says noai" in messages[1]


@pytest.mark.parametrize(("status", "count"), [(404, 1), (403, 0), (500, 0)])
def test_without_a_robots_txt_that_can_be_read(site, tmp_path, status, count):
    site.pages["/robots.txt"] = (status, b"", {})
    site.day(1)
    records, messages = read(source(site, days=1, give_up=1), tmp_path)
    assert len(records) == count
    assert bool(messages) == (count == 0)


def test_crawl_delay_is_kept(site, tmp_path):
    site.pages["/robots.txt"] = (200, b"User-agent: *\nCrawl-delay: 0.3\n", {})
    for number in (1, 2, 3):
        site.day(number)
    read(source(site, delay=0.1), tmp_path)
    gaps = [b - a for a, b in zip(site.times, site.times[1:], strict=False)]
    assert min(gaps) >= 0.2


def test_what_fails_is_tried_again_and_told(site, tmp_path):
    good = (200, b'<figure><img src="/a.jpg"><figcaption>Riuscita</figcaption></figure>', {})
    site.pages["/foto/2021/07/01"] = [(503, b"", {"Retry-After": "0"}), good]
    site.day(2, status=500)
    site.day(3)
    records, messages = read(source(site, days=4), tmp_path)
    assert [record.captions[0].text for record in records] == ["Riuscita", "Foto 3"]
    assert "server answers 500; the next run tries it again" in messages[0]
    assert "no such page (404)" in messages[1]
    site.day(2)
    site.asked.clear()
    records, messages = read(source(site, days=4), tmp_path)
    assert [record.captions[0].text for record in records] == ["Riuscita", "Foto 2", "Foto 3"]
    assert site.asked == ["/robots.txt", "/foto/2021/07/02"]  # the page that is not there is not asked for again


def test_a_server_that_wants_a_long_pause_is_left_alone(site, tmp_path):
    site.day(1, status=429, **{"Retry-After": "86400"})
    _, messages = read(source(site, days=1), tmp_path)
    assert site.asked == ["/robots.txt", "/foto/2021/07/01"]
    assert "answers 429" in messages[0]


def test_giving_up(site, tmp_path):
    for number in range(1, 10):
        site.day(number, status=500)
    _, messages = read(source(site, days=9, tries=1, give_up=3), tmp_path)
    assert len(site.asked) == 4
    assert "3 days in a row failed" in messages[-1]


def test_endless_slow_and_leading_away(site, tmp_path):
    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"<p>" * 10_000)
        except OSError:
            handler.close_connection = True

    def slow(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.close_connection = True
        try:
            for _ in range(100):
                handler.wfile.write(b"<p>")
                time.sleep(0.1)
        except OSError:
            return

    site.pages["/foto/2021/07/01"] = endless
    site.pages["/foto/2021/07/02"] = slow
    site.day(3, status=302, Location="http://169.254.169.254/latest/meta-data")
    site.day(4, status=302, Location="/foto/2021/07/05")
    site.day(5)
    site.day(6, status=302, Location="/foto/2021/07/06")
    records, messages = read(source(site, days=6, tries=1, timeout=0.6, most_bytes=200_000), tmp_path)
    assert [record.captions[0].text for record in records] == ["Foto 5", "Foto 5"]
    for message, part in zip(messages, ["larger than 200000", "end in time", "other hosts", "302"], strict=True):
        assert part in message


def test_photos_on_pages_of_their_own(site, tmp_path):
    links = (
        '<a href="/p/1">a</a> <a href="/p/1#x">b</a> <a href="/altro">c</a> <a href="http://elsewhere.org/p/2">d</a>'
    )
    site.day(1, links + '<a href="/p/3">e</a><a href="/p/4">f</a>')
    for number in (1, 3, 4):
        body = f'<figure><img src="/{number}.jpg"><figcaption>Foto {number}</figcaption></figure>'
        site.pages[f"/p/{number}"] = (200, body.encode(), {})
    records, messages = read(source(site, days=1, follow=r"/p/\d", most_links=2), tmp_path)
    assert [(record.captions[0].text, record.page[-4:]) for record in records] == [
        ("Foto 1", "/p/1"),
        ("Foto 3", "/p/3"),
    ]
    assert not messages


def test_another_way_to_fetch(tmp_path):
    asked = []

    def get(address):
        asked.append(address)
        if address.endswith("robots.txt"):
            raise NotFetched("none", 404)
        return b'<meta property="og:image" content="/a.jpg"><meta property="og:title" content="Uno">'

    plan = FotoDelGiorno(first=FIRST, last=FIRST, delay=0)
    [record] = plan.records(tmp_path, print, get=get)
    assert asked == ["https://www.ilpost.it/robots.txt", "https://www.ilpost.it/foto-del-giorno/2021/07/01/"]
    assert record.image == "https://www.ilpost.it/a.jpg"


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/", "file:///etc/passwd", "http://example.org@127.0.0.1/", "x"])
def test_only_the_configured_host(address):
    get = page_getter("example.org", agent="a", most_bytes=10, timeout=1)
    with pytest.raises(NotFetched, match="leads away"):
        get(address)


CRAWL = """
import sys, datetime
from pathlib import Path
from clip_italian.corpus.sources.foto_del_giorno import FotoDelGiorno
plan = FotoDelGiorno(page=sys.argv[1], first=datetime.date(2021, 7, 1), last=datetime.date(2021, 7, 30), delay=0.05)
for record in plan.records(Path(sys.argv[2]), print):
    print(record.key, flush=True)
"""


def test_killed_and_resumed(site, tmp_path):
    for number in range(1, 31):
        site.day(number)
    page = f"http://{site.host}/foto/{{year}}/{{month}}/{{day}}"
    whole, _ = read(source(site, days=30), tmp_path / "whole")
    site.asked.clear()
    state = tmp_path / "killed"
    state.mkdir()
    for wanted in (4, 11):
        process = subprocess.Popen([sys.executable, "-c", CRAWL, page, str(state)], stdout=subprocess.PIPE, text=True)
        for _ in range(wanted):
            assert process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    with (state / "foto-del-giorno.jsonl").open("ab") as stream:
        stream.write(b'{"page": "half a li')  # as a machine that loses its power leaves it
    records, messages = read(source(site, days=30), state)
    assert records == whole
    assert not messages
    counts = Counter(path for path in site.asked if path != "/robots.txt")
    assert len(counts) == 30
    assert sum(counts.values()) <= 32  # at most the page in flight at each kill is asked for twice
    assert [json.loads(line)["status"] for line in (state / "foto-del-giorno.jsonl").open()] == ["read"] * 30


def test_damaged_state_and_two_runs(site, tmp_path):
    site.day(1)
    records, _ = read(source(site, days=1), tmp_path)
    state = tmp_path / "foto-del-giorno.jsonl"
    state.write_bytes(b"[]\n" + state.read_bytes() + b'{"page": 1}\n')
    again, messages = read(source(site, days=1), tmp_path)
    assert again == records
    assert [message.split(":")[1] for message in messages] == ["1", "3"]
    running = source(site, days=1).records(tmp_path, print)
    next(running)
    with pytest.raises(Busy, match="crawling"):
        read(source(site, days=1), tmp_path)
    running.close()
    state.unlink()
    state.mkdir()
    with pytest.raises(BadRecord, match="cannot be read"):
        read(source(site, days=1), tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"page": "ftp://x/{year}{month}{day}"}, "http"),
        ({"page": "http://x/{year}/{month}"}, "day"),
        ({"page": "http://x/{year}/{month}/{day}/{hour}"}, "braces"),
        ({"page": "http://{year}.org/{year}/{month}/{day}"}, "behind the host"),
        ({"page": "http://a:b@x/{year}/{month}/{day}"}, "password"),
        ({"follow": "("}, "regular expression"),
        ({"first": FIRST, "last": date(2020, 1, 1)}, "before"),
        ({"delay": -1}, "delay"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValidationError, match=message):
        FotoDelGiorno(**settings)

"""The owner's word: robots.txt as RFC 9309 has it, headers, rates, and an honest name."""

import itertools

import pytest
from multidict import CIMultiDict

from clip_italian.corpus.fetching import robots
from clip_italian.corpus.fetching.opt_out import opted_out
from clip_italian.corpus.fetching.plan import FetchPlan


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (200, "User-agent: *\nDisallow: /photo/", "robots"),
        (200, "User-agent: clip-italian\nDisallow: /", "robots"),
        (200, "User-agent: CLIP-Italian\nDisallow: /photo", "robots"),
        (200, "User-agent: *\nDisallow: /\n\nUser-agent: clip-italian\nAllow: /", "ok"),
        (200, "User-agent: otherbot\nDisallow: /", "ok"),
        (200, "User-agent: *\nDisallow: /*.gif$\nDisallow: /other", "ok"),
        (200, "User-agent: *\nDisallow: /*.jpg$", "robots"),
        (200, "\ufeffUser-agent: *\nDisallow: /", "robots"),
        (200, "<html><body>Not here</body></html>", "ok"),
        (200, "", "ok"),
        (404, "User-agent: *\nDisallow: /", "ok"),
        (401, "", "ok"),
        (403, "", "ok"),
        (410, "", "ok"),
        (429, "", "robots_unreachable"),
        (500, "", "robots_unreachable"),
        (503, "", "robots_unreachable"),
        (302, "/robots.txt", "ok"),  # a circle: more than five redirections count as no file
        (302, "http://224.0.0.1/robots.txt", "robots_unreachable"),
    ],
)
def test_robots(server, get, status, text, expected):
    server.robots["127.0.0.1"] = (status, text)
    outcome = get("photo/1.jpg", attempts=2)["photo/1.jpg"]
    if "224" in text:
        expected = "forbidden_address"
    assert outcome.status == expected, outcome
    assert server.counts["/photo/1.jpg"] == (expected == "ok")
    assert server.counts["/robots.txt"] == (2 if status in (429, 500, 503) else 6 if text == "/robots.txt" else 1)


def test_robots_is_asked_once_a_host_and_only_if_wanted(server, get):
    paths = [server.url(f"photo/{i}.jpg", f"{'ab'[i % 2]}.test") for i in range(60)]
    outcomes = get(*paths, lookup=lambda host: ["127.0.0.1"])
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}
    assert server.counts["/robots.txt"] == 2
    server.robots["127.0.0.1"] = (200, "User-agent: *\nDisallow: /")
    assert get("photo/1.jpg", robots=False)["photo/1.jpg"].status == "ok"


def test_robots_holds_for_where_a_redirect_leads(server, get):
    server.robots["closed.test"] = (200, "User-agent: *\nDisallow: /photo")
    path = f"to?url={server.url('photo/1.jpg', 'closed.test')}"
    assert get(path, lookup=lambda host: ["127.0.0.1"])[path].status == "robots"
    assert not server.counts["/photo/1.jpg"]


def test_an_endless_robots_file_is_read_to_its_limit(server, get):
    server.robots["127.0.0.1"] = (200, "User-agent: *\nDisallow: /photo\n" + "# long\n" * 300_000)
    assert get("photo/1.jpg")["photo/1.jpg"].status == "robots"


def test_robots_are_forgotten_in_order_and_in_bounds(monkeypatch):
    import asyncio

    asked = []

    async def ask(origin):
        asked.append(origin)
        return robots.rules_of(b"User-agent: *\nDisallow: /x\n" + b"#" * 100)

    monkeypatch.setattr(robots, "KEPT", 3)

    async def run():
        cache = robots.RobotsCache(ask)
        for origin in "abcad":
            await cache.rules(origin)
        assert asked == list("abcd")
        await cache.rules("a")  # used lately, so that b went
        assert asked == list("abcd")
        await cache.rules("b")
        assert asked == list("abcdb") and len(cache._known) == 3
        monkeypatch.setattr(robots, "KEPT_BYTES", 200)
        await cache.rules("e")
        assert len(cache._known) == 1

    asyncio.run(run())


def test_crawl_delay_is_kept(server, get):
    server.robots["127.0.0.1"] = (200, "User-agent: *\nCrawl-delay: 0.3")
    get(*(f"photo/{i}.jpg" for i in range(8)), per_host=4)
    times = [when for when, _, path, _ in server.log if path != "/robots.txt"]
    # Those that began beside the first, before the file was known, are not held back; the others keep the distance.
    assert all(later - sooner >= 0.25 for sooner, later in itertools.pairwise(times[4:]))
    assert len(times) == 8


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Robots-Tag": "noai"}, "x-robots-tag: noai"),
        ({"X-Robots-Tag": "NoImageAI, nofollow"}, "x-robots-tag: noimageai"),
        ({"x-robots-tag": "max-snippet:10, noindex"}, "x-robots-tag: noindex"),
        ({"X-Robots-Tag": "unavailable_after: 25 Jun 2010 15:00:00 PST, none"}, "x-robots-tag: none"),
        ({"X-Robots-Tag": "clip-italian: noai"}, "x-robots-tag: noai"),
        ({"X-Robots-Tag": "otherbot: noai, noindex"}, ""),
        ({"X-Robots-Tag": "otherbot: noai, clip-italian: noindex"}, "x-robots-tag: noindex"),
        ({"X-Robots-Tag": "nofollow, noarchive"}, ""),
        ({"tdm-reservation": "1"}, "tdm-reservation: 1"),
        ({"TDM-Reservation": " 1 ", "TDM-Policy": "https://x.it/p"}, "tdm-reservation: 1; tdm-policy: https://x.it/p"),
        ({"tdm-reservation": "0", "tdm-policy": "https://x.it/p"}, ""),
        ({}, ""),
    ],
)
def test_headers(server, get, headers, expected):
    assert opted_out(CIMultiDict(headers), "clip-italian", FetchPlan().opt_out) == expected
    path = "header/1.jpg?" + "&".join(f"{name}={value}" for name, value in headers.items())
    outcome = get(path)[path]
    assert (outcome.status, outcome.opt_out) == ("opted_out" if expected else "ok", expected)


def test_repeated_headers_are_all_read():
    headers = CIMultiDict([("X-Robots-Tag", "nofollow"), ("X-Robots-Tag", "noai")])
    assert opted_out(headers, "clip-italian", ("noai",)) == "x-robots-tag: noai"
    assert opted_out(headers, "clip-italian", ("noindex",)) == ""


def test_rate_and_places_of_a_host(server, get):
    get(*(f"photo/{i}.jpg" for i in range(20)), rate=20.0)
    times = [when for when, _, path, _ in server.log if path != "/robots.txt"]
    assert times[-1] - times[0] >= 17 / 20
    server.most_open = 0
    get(*(f"slow/0.05/{i}.jpg" for i in range(20)), per_host=3)
    assert server.most_open == 3


def test_an_honest_name(server, get):
    get("photo/1.jpg", contact="mailto:me@example.org", agent="my-corpus")
    agents = {agent for _, _, _, agent in server.log}
    assert len(agents) == 1
    assert agents.pop().startswith("my-corpus/") and "(+mailto:me@example.org)" in server.log[0][3]
    with pytest.raises(ValueError, match="one line of ASCII"):
        FetchPlan(contact="me\r\nX-Evil: 1")
    with pytest.raises(ValueError, match="agent"):
        FetchPlan(agent="Mozilla/5.0 (pretending)")

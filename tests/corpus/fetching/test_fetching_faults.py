"""Servers that are slow, dead or lying: each fault has its status, and is tried as often as it may pass."""

import pytest
from server import picture

from clip_italian.corpus.fetching.outcome import STATUSES, TRANSIENT

# path → status, HTTP status, attempts, and what the server saw (None: not counted)
FAULTS = {
    "status/404": ("gone", 404, 1, 1),
    "status/410": ("gone", 410, 1, 1),
    "status/401": ("denied", 401, 1, 1),
    "status/403": ("denied", 403, 1, 1),
    "status/451": ("denied", 451, 1, 1),
    "status/400": ("http_error", 400, 1, 1),
    "status/418": ("http_error", 418, 1, 1),
    "status/204": ("http_error", 204, 1, None),
    "status/206": ("http_error", 206, 1, 1),
    "status/304": ("http_error", 304, 1, None),
    "status/500": ("server_error", 500, 3, 3),
    "status/501": ("server_error", 501, 1, 1),
    "status/502": ("server_error", 502, 3, 3),
    "status/503": ("server_error", 503, 3, 3),
    "status/408": ("server_error", 408, 3, 3),
    "status/429": ("rate_limited", 429, 3, 3),
    "html.jpg": ("not_image", 200, 1, 1),
    "empty.jpg": ("not_image", 200, 1, 1),
    "heic.jpg": ("not_image", 200, 1, 1),
    "tiny.gif": ("too_small", 200, 1, 1),
    "pixels.png": ("too_many_pixels", 200, 1, 1),
    "cut/1.jpg": ("damaged", 200, 1, 1),
    "truncated/1.jpg": ("truncated", 200, 3, 3),
    "endless.jpg": ("too_large", 200, 1, 1),
    "long/99999999.jpg": ("too_large", 200, 1, 1),
    "bomb.jpg": ("too_large", 200, 1, 1),
    "packed/br/1.jpg": ("http_error", 200, 1, 1),
    "packed/gzip, gzip/1.jpg": ("http_error", 200, 1, None),
    "packed/gzip/1.jpg": ("damaged", 200, 1, 1),
    "loop/a": ("redirects", 302, 1, 1),
    "hops/6/1.jpg": ("redirects", 302, 1, 1),
    "nowhere": ("redirects", 302, 1, 1),
    "garbage": ("http_error", None, 1, 1),
    "reset/0/1.jpg": ("connection", None, 3, None),
}


@pytest.mark.parametrize("path", FAULTS)
def test_faults(server, get, store, path):
    status, http_status, attempts, seen = FAULTS[path]
    outcome = get(path)[path]
    assert (outcome.status, outcome.http_status, outcome.attempts) == (status, http_status, attempts), outcome
    assert seen is None or server.counts[f"/{path}"] == seen
    assert outcome.final_url and outcome.fetched_at.endswith("+00:00") and outcome.error
    assert not list(store.root.rglob("*.jpg"))


@pytest.mark.parametrize(("path", "status"), [("hang/1.jpg", None), ("drip/1.jpg", 200), ("slow/5/1.jpg", None)])
def test_slow_servers(get, path, status):
    outcome = get(path, read_timeout=0.2, timeout=0.4, attempts=2)[path]
    assert (outcome.status, outcome.http_status, outcome.attempts) == ("timeout", status, 2)


def test_refused_connections(get):
    outcome = get("http://127.0.0.1:9/1.jpg", ports=(9,), robots=False)["http://127.0.0.1:9/1.jpg"]
    assert (outcome.status, outcome.attempts) == ("connection", 3)


@pytest.mark.parametrize(
    ("path", "attempts"),
    [
        ("photo/1.jpg", 1), ("hops/3/1.jpg", 1), ("hops/5/1.jpg", 1), ("gzip/1.jpg", 1), ("packed/identity/1.jpg", 1),
        ("flaky/500/2/1.jpg", 3), ("flaky/503/1/1.jpg", 2), ("flaky/429/2/1.jpg", 3), ("slow/0.1/1.jpg", 1),
    ],
)  # fmt: skip
def test_what_passes_ends_well(get, store, path, attempts):
    outcome = get(path)[path]
    assert (outcome.status, outcome.http_status, outcome.attempts) == ("ok", 200, attempts)
    assert store.path(outcome.sha256).read_bytes() == picture(1)
    assert (outcome.width, outcome.height) == (96, 72)


def test_a_reset_that_passes(get):
    assert get("reset/2/1.jpg")["reset/2/1.jpg"].status == "ok"


@pytest.mark.parametrize("path", ["flaky/429/1/1.jpg?after=1", "flaky/503/1/1.jpg?after=1"])
def test_retry_after_is_waited_for_by_the_whole_host(server, get, path):
    outcomes = get(path, *(f"photo/{i}.jpg" for i in range(5)), per_host=1)
    assert {outcome.status for outcome in outcomes.values()} == {"ok"} and outcomes[path].attempts == 2
    times = [when for when, _, name, _ in server.log if name != "/robots.txt"]
    assert times[1] - times[0] >= 0.99


def test_a_host_that_wants_a_long_wait_is_left_alone(server, get):
    paths = ["status/429/1?after=3600", *(f"photo/{i}.jpg" for i in range(50))]
    outcomes = get(*paths, per_host=1)
    assert {outcome.status for outcome in outcomes.values()} == {"rate_limited"}
    assert "3600 s" in outcomes["photo/9.jpg"].error
    assert sum(server.counts.values()) == 2  # robots.txt and the first
    assert outcomes["photo/9.jpg"].attempts == 0


def test_retry_after_may_be_a_date(server, get):
    assert (
        get("status/503/1?after=Wed, 21 Oct 2099 07:28:00 GMT")[
            "status/503/1?after=Wed, 21 Oct 2099 07:28:00 GMT"
        ].attempts
        == 1
    )
    past = "flaky/503/1/1.jpg?after=Wed, 21 Oct 2015 07:28:00 GMT"
    assert get(past)[past].status == "ok"
    vague = "flaky/503/1/2.jpg?after=soon"
    assert get(vague)[vague].status == "ok"


def test_a_dead_host_is_given_up(server, get):
    paths = [f"reset/0/{i}.jpg" for i in range(200)]
    outcomes = get(*paths, host_failures=5, per_host=2)
    assert {outcome.status for outcome in outcomes.values()} == {"connection"}
    assert sum(server.counts.values()) < 15


def test_one_bad_host_holds_up_no_other(server, get):
    """A host that never answers has more jobs than there are connections; the others' pictures come first."""
    slow = [server.url(f"hang/{i}.jpg", "slow.test") for i in range(30)]
    good = [server.url(f"photo/{i}.jpg", "good.test") for i in range(30)]
    outcomes = get(
        *slow,
        *good,
        lookup=lambda host: ["127.0.0.1"],
        connections=8,
        per_host=4,
        attempts=1,
        read_timeout=0.3,
        timeout=0.3,
    )
    order = list(outcomes)
    assert max(order.index(url) for url in good) < min(order.index(url) for url in slow[8:])
    assert {outcomes[url].status for url in good} == {"ok"}


def test_only_what_may_pass_is_called_transient():
    assert TRANSIENT.issubset(STATUSES)
    assert {status for status, _, attempts, _ in FAULTS.values() if attempts > 1} <= TRANSIENT


def test_garbage_jobs_have_outcomes(server, get):
    outcomes = get("ftp://x/", "http://127.0.0.1:1/x", "http://[", "http://0x7f.1/x", "photo/1.jpg")
    assert [outcome.attempts for outcome in outcomes.values()] == [0, 0, 0, 0, 1]
    assert outcomes["http://["].status == "bad_url" and outcomes["http://["].final_url == ""

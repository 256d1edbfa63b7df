"""Which addresses are asked: none of one's own network, in whatever disguise (SSRF)."""

import ipaddress
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clip_italian.corpus.fetching import resolving
from clip_italian.corpus.fetching.addresses import checked_address, checked_url, origin
from clip_italian.corpus.fetching.outcome import Failure
from clip_italian.corpus.fetching.plan import FetchPlan

PLAN = FetchPlan()

FORBIDDEN = [
    # Plain
    "127.0.0.1", "127.1.2.3", "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.1.1", "0.0.0.0",
    "0.1.2.3", "100.64.0.1", "100.100.100.200", "169.254.169.254", "192.0.0.192", "192.0.2.1", "192.88.99.1",
    "198.18.0.1", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "168.63.129.16",
    # Decimal, octal, hexadecimal, with parts left out, too long, with a dot behind
    "2130706433", "017700000001", "0x7f000001", "0x7F.0.0.1", "0177.0.0.1", "127.1", "127.0.1", "0", "0x0", "1.1.1.0x1",
    "00000127.0.0.1", "127.0.0.1.", "4294967297", "1.2.3.4.5", "256.1.1.1", "3232235777", "0xa9fea9fe", "127.0.0.0x",
    # Digits and dots of other scripts
    "１２７.0.0.1", "127。0。0。1", "①②⑦.⓪.⓪.①", "𝟏𝟐𝟕.𝟎.𝟎.𝟏",
    # IPv6
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[fe80::1]", "[fec0::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]",
    "[2001:db8::1]", "[3fff::1]", "[100::1]", "[5f00::1]", "[4000::1]",
    # IPv6 that carries IPv4: mapped, compatible, 6to4, Teredo, NAT64, local NAT64, ISATAP
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:10.0.0.1]", "[0:0:0:0:0:ffff:c0a8:0101]", "[::127.0.0.1]",
    "[2002:7f00:1::]", "[2002:c0a8:101::1]", "[2001:0:53aa:64c:0:fbff:80ff:fffe]", "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a00:1]", "[64:ff9b:1::8.8.8.8]", "[2a00:1450::5efe:10.0.0.1]", "[2a00:1450::200:5efe:7f00:1]",
]  # fmt: skip
ALLOWED = [
    "93.184.216.34", "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.128.0.1", "192.0.1.1", "198.20.0.1", "223.255.255.255",
    "[2a00:1450:4001::200e]", "[2606:4700::1111]", "[::ffff:8.8.8.8]", "[64:ff9b::8.8.8.8]",
    "upload.wikimedia.org", "xn--9ca.it", "perché.it", "a_b.example.com", "1.example.com", "0x.it",
]  # fmt: skip


@pytest.mark.parametrize("host", FORBIDDEN)
@pytest.mark.parametrize("form", ["http://{}/1.jpg", "https://{}:443/"])
def test_forbidden_hosts(host, form):
    with pytest.raises(Failure) as failure:
        checked_url(form.format(host), PLAN)
    assert failure.value.status == "forbidden_address"


@pytest.mark.parametrize("host", ALLOWED)
def test_allowed_hosts(host):
    assert checked_url(f"http://{host}/1.jpg#part", PLAN).fragment == ""


@pytest.mark.parametrize(
    "url",
    [
        "", "1.jpg", "//example.com/1.jpg", "ftp://example.com/", "file:///etc/passwd", "data:image/png;base64,AAAA",
        "gopher://example.com/", "javascript:alert(1)", "http://", "http:///1.jpg", "http://user@example.com/",
        "http://user:word@example.com/", "http://:@example.com/", "http://@example.com/", "http://example.com:22/",
        "http://example.com:99999/", "http://example.com:x/", "http://exa mple.com/", "http://example.com\\@127.0.0.1/",
        "http://example.com\t.it/", "http://a..b/", "http://-a.com/", "http://[::1/", "http://[::1%25eth0]/",
        "http://127.0.0.%31/", "http://%31%32%37.0.0.1/", "http://example.com/\n1.jpg", "http://" + "a" * 64 + ".com/",
        "http://example.com/" + "a" * 9000, "http://example.com/\udcff.jpg", "http://loc\x00alhost/", "http://a/b?c@d\r\n",
        "http://1.1.1.1 &@127.0.0.1/", "http://127.0.0.1\u2028.it/",
    ],
)  # fmt: skip
def test_refused_forms(url):
    if url.endswith("\r\n"):
        url += "x"
    with pytest.raises(Failure) as failure:
        checked_url(url, PLAN)
    assert failure.value.status in ("bad_url", "forbidden_address")


def test_ports_and_own_networks_are_settings():
    assert checked_url("http://example.com:8080/", FetchPlan(ports=(8080,))).port == 8080
    own = FetchPlan(allow_private=True)
    for host in ("127.0.0.1", "10.0.0.1", "[::1]", "[fd00::1]", "169.254.1.1"):
        checked_url(f"http://{host}/", own)
    for host in ("0.0.0.0", "224.0.0.1", "255.255.255.255", "[::]", "[ff02::1]", "[::ffff:0.0.0.0]", "2130706433"):
        with pytest.raises(Failure):
            checked_url(f"http://{host}/", own)


@given(st.one_of(st.text(), st.from_regex(r"https?://[^/]{0,30}(/.{0,20})?", fullmatch=True)))
@example("http://a@b:80@c/")
@example("http://[::ffff:127.0.0.1]@x/")
@example("http:\\\\127.0.0.1/")
def test_any_text_is_refused_or_leads_to_one_public_host(text):
    try:
        url = checked_url(text, PLAN)
    except Failure as failure:
        assert failure.status in ("bad_url", "forbidden_address")
        return
    assert url.scheme in ("http", "https") and url.raw_host and url.port in (80, 443)
    assert url.user is None and url.password is None and not url.fragment
    again = urlsplit(str(url))  # another parser sees the same host
    assert again.hostname == url.raw_host.lower() and again.username is None
    try:
        address = ipaddress.ip_address(url.raw_host)
    except ValueError:
        return
    assert address.is_global and not address.is_multicast


@given(st.ip_addresses())
def test_what_is_allowed_is_global_to_the_standard_library_too(address):
    try:
        checked_address(str(address), PLAN)
    except Failure:
        return
    assert address.is_global and not address.is_multicast


@given(st.ip_addresses(v=4).filter(lambda address: not address.is_global))
def test_a_private_address_is_refused_in_every_disguise(address):
    number = int(address)
    low, high = number & 0xFFFF, number >> 16
    for form in (
        f"{number}", f"0x{number:x}", f"0{number:o}", f"{number >> 24}.{number & 0xFFFFFF}", f"[::ffff:{address}]",
        f"[::{high:x}:{low:x}]", f"[2002:{high:x}:{low:x}::1]", f"[64:ff9b::{high:x}:{low:x}]",
        ".".join(f"0{part:o}" for part in address.packed), ".".join(f"0x{part:02x}" for part in address.packed),
    ):  # fmt: skip
        with pytest.raises(Failure):
            checked_url(f"http://{form}/", PLAN)


def test_redirects_to_what_may_never_be_asked_are_refused(server, get):
    targets = [
        "http://0.0.0.0/", "http://2130706433/", "http://[::]/", "http://224.0.0.1/", "file:///etc/passwd", "//0/x",
        "http://user:word@127.0.0.1/", "http://127.0.0.1:22/", "http://[",
    ]  # fmt: skip
    outcomes = get(*(f"to?url={target}" for target in targets))
    assert {outcome.status for outcome in outcomes.values()} <= {"forbidden_address", "bad_url"}, outcomes
    assert server.counts["/to"] == len(targets)


def test_a_redirect_with_backslashes_names_no_other_host(server, get):
    path = "to?url=http:\\\\evil.test\\1.jpg"
    outcome = get(path, lookup=lambda host: pytest.fail(f"{host} was looked up"))[path]
    assert outcome.status in ("gone", "bad_url") and "evil.test" not in outcome.final_url.split("/")[2]


@pytest.fixture
def public(monkeypatch):
    """Let 8.8.8.8 be the local server, as if that stood on the internet; every other address is checked as ever."""
    real = resolving.checked_address
    here = ipaddress.ip_address("127.0.0.1")
    monkeypatch.setattr(
        resolving, "checked_address", lambda text, plan: here if text == "8.8.8.8" else real(text, plan)
    )


def test_a_redirect_from_a_public_host_into_the_own_network_is_refused(server, get, public):
    hosts = ["127.0.0.1", "localhost", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "private.test", "169.254.169.254"]
    answers = {"public.test": ["8.8.8.8"], "private.test": ["192.168.0.1"], "localhost": ["127.0.0.1"]}
    paths = [f"to?url=http://{host}:{server.port}/photo/1.jpg" for host in hosts]
    outcomes = get(*paths, host="public.test", allow_private=False, lookup=lambda host: answers[host])
    assert {outcome.status for outcome in outcomes.values()} == {"forbidden_address"}
    assert server.counts == {"/robots.txt": 1, "/to": len(hosts)}


@pytest.mark.parametrize(
    "answers",
    [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["fe80::1%eth0"], ["64:ff9b::7f00:1"]],
)
def test_names_that_lead_to_private_addresses_are_refused(server, get, answers):
    outcome = get("photo/1.jpg", host="pictures.test", allow_private=False, lookup=lambda host: answers)["photo/1.jpg"]
    assert outcome.status == "forbidden_address" and outcome.attempts == 1
    assert not server.counts


@pytest.mark.parametrize("remembered", [300.0, -1.0])
def test_a_name_that_is_rebound_to_the_own_network(server, get, public, monkeypatch, remembered):
    """A name that is public at first and private ever after, whether its first address is remembered or not."""
    monkeypatch.setattr(resolving, "SECONDS", remembered)
    asked = []

    def rebind(host):
        asked.append(host)
        return ["8.8.8.8" if len(asked) == 1 else "127.0.0.1"]

    # Connections are made anew each time, so that each needs an address; robots.txt has the first.
    paths = [f"reset/1/{i}.jpg" for i in range(3)]
    outcomes = get(*paths, host="pictures.test", allow_private=False, connections=1, lookup=rebind)
    if remembered > 0:
        assert {outcome.status for outcome in outcomes.values()} == {"ok"} and len(asked) == 1
    else:
        assert "forbidden_address" in {outcome.status for outcome in outcomes.values()} and len(asked) > 1
        assert server.counts["/reset/1/2.jpg"] == 0


def test_origins():
    for text, expected in (("http://[2a00::1]/x", "http://[2a00::1]"), ("https://a.it:443/x?y", "https://a.it")):
        assert origin(checked_url(text, PLAN)) == expected


def test_a_name_is_looked_up_once_for_many_pictures(server, get):
    asked = []

    def lookup(host):
        asked.append(host)
        return ["127.0.0.1"]

    paths = [f"photo/{i}.jpg" for i in range(50)]
    outcomes = get(*paths, host="pictures.test", lookup=lookup)
    assert {outcome.status for outcome in outcomes.values()} == {"ok"}
    assert asked == ["pictures.test"]
    assert {host for _, host, _, _ in server.log} == {"pictures.test"}


def test_a_name_without_address(get):
    def lookup(host):
        raise OSError("no such name")

    outcome = get("photo/1.jpg", host="gone.test", lookup=lookup)["photo/1.jpg"]
    assert outcome.status == "dns" and outcome.attempts == 1

"""Fetching pages as a guest does: one at a time, slowly, where robots.txt allows it, and nothing but pages of one host.

Public names: Get, NotFetched, Guest, page_getter.
"""

import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ...errors import ClipItalianError, MissingExtra

Get = Callable[[str], bytes]  # takes an address, returns the body; raises NotFetched or another ClipItalianError
_DAY = 24 * 3600  # seconds for which robots.txt is taken as read (RFC 9309)


class NotFetched(ClipItalianError):
    """A page could not be had. status: the server's answer, None without one. wait: seconds it asked to wait."""

    def __init__(self, message: str, status: int | None = None, wait: float | None = None) -> None:
        super().__init__(message)
        self.status, self.wait = status, wait


def page_getter(host: str, *, agent: str, most_bytes: int, timeout: float) -> Get:
    """Return what fetches http(s) pages of one host (with its port, as the address has it), redirects within it.

    timeout: seconds for a page in all. Proxies, cookies and compressed answers are not used. Raises NotFetched.
    """
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _SameHost(host))

    def get(address: str) -> bytes:
        _check_host(address, host)
        request = urllib.request.Request(address, headers={"User-Agent": agent, "Accept-Encoding": "identity"})  # noqa: S310 (checked above)
        end = time.monotonic() + timeout
        try:
            with opener.open(request, timeout=timeout) as answer:
                return _body(answer, address, most_bytes, end)
        except urllib.error.HTTPError as error:
            with error:
                wait = error.headers.get("Retry-After", "")
                raise NotFetched(
                    f"{address}: the server answers {error.code}", error.code, float(wait) if wait.isdecimal() else None
                ) from error
        except (OSError, ValueError) as error:  # URLError, timeouts and broken answers among them
            reason = getattr(error, "reason", error)
            raise NotFetched(f"{address}: cannot be fetched ({reason})") from error

    return get


def _body(answer: Any, address: str, most_bytes: int, end: float) -> bytes:
    parts, size = [], 0
    while part := answer.read1(1 << 16):
        size += len(part)
        if size > most_bytes:
            raise NotFetched(f"{address}: the page is larger than {most_bytes} bytes (most_bytes)")
        if time.monotonic() > end:
            raise NotFetched(f"{address}: the page does not come to an end in time (timeout)")
        parts.append(part)
    return b"".join(parts)


class _SameHost(urllib.request.HTTPRedirectHandler):
    def __init__(self, host: str) -> None:
        self.host = host

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """Follow within the host alone."""
        _check_host(newurl, self.host)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_host(address: str, host: str) -> None:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or parts.netloc.lower() != host.lower():
        raise NotFetched(f"{address}: leads away from {host}, and other hosts are not visited")


class Guest:
    """Fetches one page after another: asks robots.txt first, keeps its distance, tries again what may pass.

    delay: seconds from one request to the next; a longer Crawl-delay in robots.txt counts. tries: of a page that meets
    429, 5xx or no answer, with pauses that double from `delay` on, or as long as the server asks, up to `longest_wait`.
    Raises MissingExtra without protego.
    """

    def __init__(self, get: Get, *, agent: str, delay: float, tries: int, longest_wait: float) -> None:
        self.get, self.agent, self.delay, self.tries, self.longest_wait = get, agent, delay, tries, longest_wait
        self._rules: dict[str, tuple[float, Any]] = {}
        self._last = -1e9
        try:
            import protego
        except ImportError as error:
            raise MissingExtra(
                "Reading robots.txt needs protego, which is not installed; run: pip install 'clip-italian[corpus]'"
            ) from error
        self._parse = protego.Protego.parse

    def allowed(self, address: str) -> bool:
        """Tell whether robots.txt lets us fetch an address. Raises NotFetched when robots.txt cannot be read."""
        return bool(self._rules_of(address).can_fetch(address, self.agent))

    def fetch(self, address: str) -> bytes:
        """Return a page's body. Raises NotFetched, at once for answers such as 404 that stay the same."""
        pause = self.delay
        for attempt in range(1, self.tries + 1):
            self._keep_distance(address)
            try:
                return self.get(address)
            except NotFetched as error:
                passing = error.status is None or error.status == 429 or error.status >= 500
                if not passing or attempt == self.tries or (error.wait or 0) > self.longest_wait:
                    raise
                time.sleep(min(error.wait if error.wait is not None else pause, self.longest_wait))
                pause *= 2
        raise AssertionError("tries is at least 1")

    def _keep_distance(self, address: str) -> None:
        known = self._rules.get(_origin(address))
        crawl = known[1].crawl_delay(self.agent) if known else None
        time.sleep(max(0.0, self._last + max(self.delay, crawl or 0.0) - time.monotonic()))
        self._last = time.monotonic()

    def _rules_of(self, address: str) -> Any:
        origin = _origin(address)
        known = self._rules.get(origin)
        if known is None or time.monotonic() - known[0] > _DAY:
            try:
                text = self.fetch(f"{origin}/robots.txt").decode("utf-8", "replace")
            except NotFetched as error:
                if error.status in (401, 403):
                    text = "User-agent: *\nDisallow: /"
                elif error.status is not None and 400 <= error.status < 500 and error.status != 429:
                    text = ""  # there is no robots.txt: everything is allowed
                else:
                    raise
            known = self._rules[origin] = (time.monotonic(), self._parse(text))
        return known[1]


def _origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"

"""One request at a time: its answer or why there is none, in the words of outcome.py; robots.txt.

Public names: Asker, open_session, REDIRECTS.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version

import aiohttp
from yarl import URL

from .addresses import checked_url
from .body import Reader
from .outcome import Failure
from .plan import FetchPlan
from .resolving import CheckedResolver, Lookup
from .robots import ALLOWED, MOST_BYTES, Rules, rules_of

REDIRECTS = frozenset((301, 302, 303, 307, 308))
_ROBOTS_HOPS = 5  # RFC 9309: at least five
_KEEP_ALIVE = 2.0  # seconds; idle connections to thousands of hosts would use up the process's files
_ACCEPT = "image/jpeg, image/png, image/webp, image/*;q=0.8"

# What aiohttp and its parser raise on answers that are no HTTP or names that cannot be written; one hostile server must
# not end a run of millions.
_NO_HTTP = (aiohttp.ClientError, ValueError, LookupError, ArithmeticError)


def open_session(plan: FetchPlan, lookup: Lookup) -> aiohttp.ClientSession:
    """Return a session without cookies, proxies, unpacking or memory of its own."""
    try:
        number = version("clip-italian")
    except PackageNotFoundError:  # run from a folder that was not installed
        number = "0"
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            limit=0, resolver=CheckedResolver(plan, lookup), use_dns_cache=False, keepalive_timeout=_KEEP_ALIVE
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": plan.user_agent(number), "Accept": _ACCEPT, "Accept-Encoding": "identity"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=plan.connect_timeout, sock_read=plan.read_timeout),
        auto_decompress=False,
        trust_env=False,
    )


class Asker:
    """Ask, count requests, and read within limits."""

    def __init__(self, session: aiohttp.ClientSession, plan: FetchPlan) -> None:
        self._session = session
        self._plan = plan
        self.reader = Reader()
        self.requests = 0

    @contextlib.asynccontextmanager
    async def ask(self, url: URL, *, keep: bool) -> AsyncIterator[tuple[aiohttp.ClientResponse, asyncio.Timeout]]:
        """Yield the answer's head and the request's deadline; what goes wrong within the block raises Failure, too.

        keep: whether the connection is wanted again. Redirections are not followed.
        """
        self.requests += 1
        headers = None if keep else {"Connection": "close"}
        status: int | None = None
        try:
            async with (
                asyncio.timeout(self._plan.timeout) as deadline,
                self._session.get(url, allow_redirects=False, headers=headers) as response,
            ):
                status = response.status
                yield response, deadline
        except Failure as failure:
            failure.http_status = failure.http_status or status
            raise
        except TimeoutError as error:
            raise Failure(
                "timeout", str(error) or f"not done within {self._plan.timeout:g} s", http_status=status
            ) from error
        except (aiohttp.ClientSSLError, ssl.SSLError) as error:
            raise Failure("tls", _told(error), http_status=status) from error
        except aiohttp.ClientPayloadError as error:
            raise Failure("truncated", _told(error), http_status=status) from error
        except (OSError, aiohttp.ServerDisconnectedError) as error:  # ClientOSError and its like are OSErrors
            raise Failure("connection" if status is None else "truncated", _told(error), http_status=status) from error
        except _NO_HTTP as error:
            raise Failure("http_error", _told(error), http_status=status) from error

    async def robots(self, origin: str) -> Rules:
        """Return an origin's rules, after as many attempts as a picture gets.

        2xx: as the file says. 4xx but 429, and too many redirections: everything is allowed (RFC 9309, 2.3.1.3 and
        2.3.1.2). 5xx, 429, no answer: raises Failure robots_unreachable (2.3.1.4), or what keeps the host from being
        asked at all: dns, tls, forbidden_address.
        """
        for attempt in range(1, self._plan.attempts + 1):
            try:
                return await self._robots_once(URL(f"{origin}/robots.txt"))
            except Failure as failure:
                if not failure.again or attempt == self._plan.attempts:
                    plain = failure.status in ("dns", "tls", "forbidden_address")
                    raise Failure(
                        failure.status if plain else "robots_unreachable",
                        f"robots.txt: {failure}",
                        http_status=failure.http_status,
                        again=False,
                    ) from failure
                await asyncio.sleep(min(failure.wait or self._plan.backoff * 2 ** (attempt - 1), self._plan.max_wait))
        raise AssertionError("attempts is at least 1")

    async def _robots_once(self, url: URL) -> Rules:
        for _ in range(_ROBOTS_HOPS + 1):
            async with contextlib.AsyncExitStack() as places:
                async with self.ask(url, keep=True) as (response, deadline):
                    if response.status in REDIRECTS:
                        url = redirected(response, url, self._plan)
                        continue
                    if response.status == 429 or response.status >= 500:
                        raise refusal(response)
                    if not 200 <= response.status < 300:
                        return ALLOWED
                    data = await self.reader.read(response, MOST_BYTES, places=places, deadline=deadline, cut=True)
                return rules_of(data)
        return ALLOWED


def redirected(response: aiohttp.ClientResponse, url: URL, plan: FetchPlan) -> URL:
    """Return where an answer sends us, checked like any address. Raises Failure."""
    location = response.headers.get("Location", "").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    status = response.status
    if not location:
        raise Failure("redirects", f"status {status} without a Location", http_status=status)
    try:
        return checked_url(str(url.join(URL(location))), plan)
    except Failure as failure:
        raise Failure(failure.status, f"sent on to {location[:200]!r}: {failure}", http_status=status) from failure
    except (ValueError, TypeError) as error:
        raise Failure("bad_url", f"sent on to {location[:200]!r}: malformed ({error})", http_status=status) from error


def refusal(response: aiohttp.ClientResponse) -> Failure:
    """Return what a status other than 200 and redirections means."""
    status = response.status
    wait = _retry_after(response.headers.get("Retry-After", "")) if status in (429, 503) else None
    if status == 429:
        kind = "rate_limited"
    elif status in (408, 425) or 500 <= status < 600:
        kind = "server_error"
    elif status in (404, 410):
        kind = "gone"
    elif status in (401, 402, 403, 407, 451):
        kind = "denied"
    else:
        kind = "http_error"
    lasting = kind == "server_error" and status in (501, 505)
    return Failure(kind, f"status {status}", http_status=status, wait=wait, again=False if lasting else None)


def _retry_after(value: str) -> float | None:
    """Return the seconds that a Retry-After header asks for, given as seconds or a date; None when it says neither."""
    value = value.strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]

"""robots.txt, asked once a host and remembered (RFC 9309).

Public names: Rules, RobotsCache, ALLOWED.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from .outcome import Failure

MOST_BYTES = 512 * 1024  # that are read; RFC 9309 wants 500 KiB or more, and ignores the rest
KEPT = 10_000  # hosts that are remembered
KEPT_BYTES = 16 * 2**20  # of their files in all
DAY, SOON = 86_400.0, 300.0  # seconds that rules, and failures to get them, are remembered


@dataclass(frozen=True)
class Rules:
    """What a host allows. parsed: Protego's rules; None: all. size: bytes of the file."""

    parsed: Any = None
    size: int = 0

    def allow(self, url: str, agent: str) -> bool:
        """Return whether a crawler of this name may ask for an address."""
        return self.parsed is None or self.parsed.can_fetch(url, agent)

    def delay(self, agent: str) -> float:
        """Return the seconds wanted between requests, 0.0 when the file does not say."""
        if self.parsed is None:
            return 0.0
        rate = self.parsed.request_rate(agent)
        return max(float(self.parsed.crawl_delay(agent) or 0), rate.seconds / rate.requests if rate else 0.0)


ALLOWED = Rules()


def rules_of(data: bytes) -> Rules:
    """Parse a file; what is no rule in it, such as a web page in its place, says nothing."""
    from protego import Protego

    text = data[:MOST_BYTES].decode("utf-8", "replace").removeprefix("\ufeff")
    return Rules(Protego.parse(text), len(data))


class RobotsCache:
    """Rules by origin, the latest used; those who ask at the same time wait for one answer.

    ask: gets an origin's rules. It raises Failure when they cannot be had, which is remembered for five minutes.
    """

    def __init__(self, ask: Callable[[str], Awaitable[Rules]]) -> None:
        self._ask = ask
        self._known: OrderedDict[str, tuple[float, Rules | Failure]] = OrderedDict()
        self._asked: dict[str, asyncio.Future[Rules | Failure]] = {}
        self._bytes = 0

    async def rules(self, origin: str) -> Rules:
        """Return an origin's rules. Raises Failure: robots_unreachable, dns or forbidden_address."""
        until, found = self._known.get(origin, (0.0, None))
        if found is None or until < time.monotonic():
            if origin in self._asked:
                found = await asyncio.shield(self._asked[origin])
            else:
                found = await self._get(origin)
        else:
            self._known.move_to_end(origin)
        if isinstance(found, Failure):
            raise Failure(found.status, str(found), http_status=found.http_status, again=False)
        return found

    async def _get(self, origin: str) -> Rules | Failure:
        waiting: asyncio.Future[Rules | Failure] = asyncio.get_running_loop().create_future()
        self._asked[origin] = waiting
        found: Rules | Failure
        try:
            found = await self._ask(origin)
        except Failure as failure:
            found = failure
        except BaseException:
            waiting.cancel()
            raise
        finally:
            del self._asked[origin]
        waiting.set_result(found)
        self._remember(origin, found)
        return found

    def _remember(self, origin: str, found: Rules | Failure) -> None:
        self._forget(origin)
        failed = isinstance(found, Failure)
        self._known[origin] = (time.monotonic() + (SOON if failed else DAY), found)
        self._bytes += found.size if isinstance(found, Rules) else 0
        while len(self._known) > KEPT or (self._bytes > KEPT_BYTES and len(self._known) > 1):
            self._forget(next(iter(self._known)))

    def _forget(self, origin: str) -> None:
        _, found = self._known.pop(origin, (0.0, None))
        self._bytes -= found.size if isinstance(found, Rules) else 0

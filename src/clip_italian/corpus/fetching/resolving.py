"""Names of hosts to addresses, looked up once, checked, and connected to as checked: no second look-up to lie to.

Public names: CheckedResolver, Lookup, system_lookup.
"""

import asyncio
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from aiohttp.abc import AbstractResolver, ResolveResult

from .addresses import checked_address
from .outcome import Failure
from .plan import FetchPlan

Lookup = Callable[[str], Sequence[str]]  # a host's name → its IP addresses; blocks; raises OSError

KEPT = 10_000  # names whose addresses are remembered
SECONDS = 300.0  # that they are remembered for
AT_ONCE = 32  # look-ups under way


def system_lookup(host: str) -> list[str]:
    """Return the addresses that the system's resolver knows for a name. Raises OSError (socket.gaierror)."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class CheckedResolver(AbstractResolver):
    """Resolve for aiohttp's connector, which connects to just the addresses it is given.

    A name that leads to one forbidden address among others is refused whole: so are names made for rebinding.
    """

    def __init__(self, plan: FetchPlan, lookup: Lookup) -> None:
        self._plan = plan
        self._lookup = lookup
        self._known: OrderedDict[str, tuple[float, asyncio.Future[list[str]]]] = OrderedDict()
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return where to connect. Raises Failure: dns, timeout or forbidden_address."""
        addresses = [checked_address(text, self._plan) for text in await self._addresses(host.lower())]
        return [
            ResolveResult(
                hostname=host,
                host=str(address),
                port=port,
                family=socket.AF_INET if address.version == 4 else socket.AF_INET6,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Stop waiting for look-ups; those under way end by themselves, in threads that hold up nothing."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _addresses(self, host: str) -> list[str]:
        until, found = self._known.get(host, (0.0, None))
        if found is None or until < time.monotonic():
            found = asyncio.get_running_loop().create_future()
            found.add_done_callback(
                lambda future: future.cancelled() or future.exception()
            )  # one may wait for it no more
            self._known[host] = (time.monotonic() + SECONDS, found)
            self._known.move_to_end(host)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
            task = asyncio.create_task(self._ask(host, found))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(found)

    async def _ask(self, host: str, found: "asyncio.Future[list[str]]") -> None:
        """Look a name up in a thread of its own; a daemon, as a look-up cannot be interrupted and may take minutes."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[str]] = loop.create_future()

        def give(call: Callable[[], None]) -> None:
            try:
                loop.call_soon_threadsafe(lambda: None if answer.done() else call())
            except RuntimeError:
                return  # the run is over and its loop closed: nobody waits for this answer

        def ask() -> None:
            try:
                addresses = list(self._lookup(host))
            except (OSError, ValueError) as error:  # a ValueError: a name that cannot be written in DNS
                failure = error
                give(lambda: answer.set_exception(failure))
            else:
                give(lambda: answer.set_result(addresses))

        failure: Failure
        async with self._places:
            threading.Thread(target=ask, daemon=True, name=f"look up {host}").start()
            try:
                addresses = await asyncio.wait_for(answer, self._plan.connect_timeout)
            except TimeoutError:
                failure = Failure("timeout", f"no address for {host} within {self._plan.connect_timeout:g} s")
            except (OSError, ValueError) as error:
                passing = isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
                failure = Failure("dns", f"no address for {host} ({error})", again=passing)
            else:
                if addresses:
                    found.set_result(addresses)
                    return
                failure = Failure("dns", f"no address for {host}", again=False)
        self._known.pop(host, None)  # failures are not remembered
        found.set_exception(failure)

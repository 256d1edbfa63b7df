"""Fetch pictures: many hosts at once, each at its pace, in flat memory; one outcome a job.

Public names: fetch.
"""

import asyncio
import collections
import contextlib
import random
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ...errors import MissingExtra
from .addresses import checked_url, origin
from .opt_out import opted_out
from .outcome import Counts, Failure, Job, Outcome
from .pictures import BadPicture, Stored, sniffed, take_in
from .plan import FetchPlan
from .robots import RobotsCache
from .schedule import Host, Schedule, Task
from .store import Store

if TYPE_CHECKING:
    from yarl import URL

    from .asking import Asker
    from .resolving import Lookup

_GIVEN_UP = 600.0  # seconds that a host which does not answer is given up for
_LONGEST_CLOSED = 86_400.0
_FED_AT_ONCE = 256  # jobs read before requests under way get their turn


def fetch(
    jobs: Iterable[Job],
    store: Store,
    plan: FetchPlan,
    on_outcome: Callable[[Outcome], None],
    progress: Callable[[Counts], None] | None = None,
    *,
    lookup: "Lookup | None" = None,
) -> Counts:
    """Fetch every job's picture into the store and hand over its outcome, in the order in which they end.

    jobs: read bit by bit, never more than `plan.ahead` beyond the outcomes. on_outcome and progress (about once a
    second) are called, and jobs is read, in the caller's thread; a picture is in the store before its outcome is handed
    over. lookup: finds a name's addresses in place of the system's resolver.

    Control-C raises KeyboardInterrupt once what is being decoded is done; what was handed over stays. Raises
    CannotWrite when the store is full, MissingExtra, and whatever jobs, on_outcome and progress raise.

    >>> plan = FetchPlan(contact="mailto:me@example.org")
    >>> fetch([Job("1", "https://…/1.jpg")], Store("pictures"), plan, print).by_status         # doctest: +SKIP
    {'ok': 1}
    """
    try:
        import protego  # noqa: F401

        from .resolving import system_lookup
    except ImportError as error:
        raise MissingExtra(
            f"fetching pictures needs {error.name}, which is not installed; run: pip install 'clip-italian[corpus]'"
        ) from error
    return asyncio.run(_Run(iter(jobs), store, plan, on_outcome, progress).run(lookup or system_lookup))


class _SentOn(Exception):
    """An answer that names another address."""

    def __init__(self, url: "URL") -> None:
        super().__init__(str(url))
        self.url = url


class _Run:
    """One call of `fetch`: reads jobs, begins tasks when the schedule has their turn, ends them."""

    def __init__(
        self,
        jobs: Iterator[Job],
        store: Store,
        plan: FetchPlan,
        on_outcome: Callable[[Outcome], None],
        progress: Callable[[Counts], None] | None,
    ) -> None:
        self._jobs: Iterator[Job] | None = jobs
        self._store = store
        self._plan = plan
        self._on_outcome = on_outcome
        self._progress = progress
        self._schedule = Schedule(plan)
        self._statuses: collections.Counter[str] = collections.Counter()
        self._open = 0  # jobs read whose outcome is to come
        self._bytes_stored = 0
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None
        self._pool = ThreadPoolExecutor(plan.threads, thread_name_prefix="take in")
        self._started = self._told = time.monotonic()
        self._asker: Asker
        self._robots: RobotsCache

    async def run(self, lookup: "Lookup") -> Counts:
        """Do it all."""
        from .asking import Asker, open_session

        self._store.tidy()
        async with open_session(self._plan, lookup) as session:
            self._asker = Asker(session, self._plan)
            self._robots = RobotsCache(self._asker.robots)
            try:
                await self._dispatch()
            finally:
                for task in self._running:
                    task.cancel()
                await asyncio.gather(*self._running, return_exceptions=True)
                self._pool.shutdown(wait=True, cancel_futures=True)
        counts = self._counts()
        if self._progress:
            self._progress(counts)
        return counts

    async def _dispatch(self) -> None:
        while True:
            self._wake.clear()
            fed = self._feed()
            now = time.monotonic()
            while len(self._running) < self._plan.connections and (task := self._schedule.take(now)):
                running = asyncio.create_task(self._step(task))
                self._running.add(running)
                running.add_done_callback(self._ended)
            if self._error is not None:
                raise self._error
            if self._progress and now - self._told >= 1:
                self._told = now
                self._progress(self._counts())
            if self._jobs is None and not self._open:
                return
            await self._sleep(now, hungry=fed)

    async def _sleep(self, now: float, *, hungry: bool) -> None:
        """Wait until a task ends or the next turn comes; hungry: only let those under way go on."""
        if hungry:
            await asyncio.sleep(0)
            return
        full = len(self._running) >= self._plan.connections
        turn = None if full else self._schedule.next_turn()
        wait = 1.0 if turn is None else min(1.0, max(0.0, turn - now))
        # Not asyncio.timeout: one that ends as Control-C comes would swallow it.
        alarm = asyncio.get_running_loop().call_later(wait, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            alarm.cancel()

    def _feed(self) -> bool:
        """Read jobs while there is room; returns whether there is room for more."""
        for _ in range(_FED_AT_ONCE):
            if self._jobs is None or self._open >= self._plan.ahead:
                return False
            job = next(self._jobs, None)
            if job is None:
                self._jobs = None
                return False
            self._open += 1
            try:
                self._schedule.add(Task(job, checked_url(job.url, self._plan)))
            except Failure as failure:
                self._finish(job, failure)
        return True

    def _ended(self, running: "asyncio.Task[None]") -> None:
        self._running.discard(running)
        if not running.cancelled() and (error := running.exception()) and self._error is None:
            self._error = error
        self._wake.set()

    async def _step(self, task: Task) -> None:
        """Make one request of a task; its outcome, its next address or its next attempt follows from it."""
        host = self._schedule.host(task.host)
        async with contextlib.AsyncExitStack() as places:
            try:
                try:
                    data, status = await self._download(task, host, places)
                finally:
                    self._schedule.done(host, time.monotonic())
                    self._wake.set()
                loop = asyncio.get_running_loop()
                stored = await loop.run_in_executor(self._pool, take_in, data, self._store, self._plan)
            except _SentOn as sent_on:
                task.url = sent_on.url
                self._schedule.add(task, first=True)
            except BadPicture as bad:
                self._finish(task.job, Failure(bad.status, str(bad), http_status=200), task)
            except Failure as failure:
                self._fail(task, host, failure)
            else:
                self._keep(task, stored, status)

    async def _download(self, task: Task, host: Host, places: contextlib.AsyncExitStack) -> tuple[bytes, int]:
        """Return the body of a task's next address and the status. Raises _SentOn, Failure, BadPicture."""
        from .asking import REDIRECTS, redirected, refusal

        plan = self._plan
        if host.closed_until > time.monotonic():
            closed_as, message = host.closed_as
            raise Failure(closed_as, message, again=False)
        if not task.seen:
            task.attempts += 1
        if plan.robots:
            rules = await self._robots.rules(origin(task.url))
            if not rules.allow(str(task.url), plan.agent):
                raise Failure("robots", f"robots.txt disallows it for {plan.agent}")
            if delay := rules.delay(plan.agent):
                self._schedule.slow_down(host, delay)
        task.seen.append(str(task.url))
        async with self._asker.ask(task.url, keep=bool(host.queue)) as (response, deadline):
            host.failures = 0
            status = response.status
            if header := opted_out(response.headers, plan.agent, plan.opt_out):
                raise Failure("opted_out", f"reserved by its owner ({header})", http_status=status, opt_out=header)
            if status in REDIRECTS:
                raise _SentOn(self._next_address(task, redirected(response, task.url, plan), status))
            if status != 200:
                raise refusal(response)
            data = await self._asker.reader.read(
                response, plan.max_bytes, places=places, deadline=deadline, look=sniffed
            )
        return data, status

    def _next_address(self, task: Task, url: "URL", status: int) -> "URL":
        if str(url) in task.seen:
            raise Failure("redirects", f"sent in a circle, back to {url}", http_status=status)
        if len(task.seen) > self._plan.redirects:
            raise Failure("redirects", f"sent on more than {self._plan.redirects} times", http_status=status)
        return url

    def _fail(self, task: Task, host: Host, failure: Failure) -> None:
        """Slow down or give up a host that fails, and try the task again or end it."""
        now = time.monotonic()
        backoff = self._plan.backoff * 2 ** (task.attempts - 1) * random.uniform(0.5, 1)
        wait = failure.wait
        if failure.http_status is None and failure.status in ("connection", "timeout"):
            host.failures += 1
            if host.failures >= self._plan.host_failures and host.closed_until <= now:
                message = f"{task.host} failed {host.failures} times in a row, the last time so: {failure}"
                self._close(host, now + _GIVEN_UP, failure.status, message)
        if wait is not None and wait > self._plan.max_wait:
            message = f"{task.host} answered {failure.http_status} and wants no request for {wait:.0f} s"
            self._close(host, now + min(wait, _LONGEST_CLOSED), "rate_limited", message)
            failure.again = False
        elif wait is not None or failure.status == "rate_limited":
            self._schedule.pause(host, now + (backoff if wait is None else wait))
        if failure.again and task.attempts < self._plan.attempts and host.closed_until <= now:
            first = checked_url(task.job.url, self._plan)
            task.url, task.seen = first, []
            self._schedule.add_later(task, now + max(backoff, wait or 0))
        else:
            self._finish(task.job, failure, task)

    def _close(self, host: Host, until: float, status: str, message: str) -> None:
        for task in self._schedule.close(host, until, status, message):
            self._finish(task.job, Failure(status, message), task)

    def _keep(self, task: Task, stored: Stored, status: int) -> None:
        self._bytes_stored += stored.size
        self._hand_over(
            Outcome(
                task.job.id,
                task.job.url,
                "ok",
                status,
                str(task.url),
                stored.sha256,
                stored.width,
                stored.height,
                stored.size,
                _now(),
                attempts=task.attempts,
            )
        )

    def _finish(self, job: Job, failure: Failure, task: Task | None = None) -> None:
        """End a job that failed; without a task it was refused as it was read."""
        self._hand_over(
            Outcome(
                job.id,
                job.url,
                failure.status,
                failure.http_status,
                str(task.url) if task and task.attempts else "",
                fetched_at=_now(),
                opt_out=failure.opt_out,
                error=str(failure),
                attempts=task.attempts if task else 0,
            )
        )

    def _hand_over(self, outcome: Outcome) -> None:
        self._open -= 1
        self._statuses[outcome.status] += 1
        self._on_outcome(outcome)

    def _counts(self) -> Counts:
        return Counts(
            sum(self._statuses.values()),
            dict(self._statuses),
            self._asker.requests,
            self._asker.reader.bytes_in,
            self._bytes_stored,
            time.monotonic() - self._started,
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

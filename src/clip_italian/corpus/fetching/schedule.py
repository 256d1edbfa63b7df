"""Whose turn it is: jobs wait by host, and a host's next begins when its places and its rate allow.

Public names: Task, Schedule.
"""

import heapq
import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .outcome import Job
from .plan import FetchPlan

if TYPE_CHECKING:
    from yarl import URL

_IDLE_HOSTS = 10_000  # without jobs, whose pace is remembered


@dataclass(slots=True)
class Task:
    """A job on its way. url: to ask next; seen: asked in this attempt, before it."""

    job: Job
    url: "URL"
    attempts: int = 0
    seen: list[str] = field(default_factory=list)

    @property
    def host(self) -> str:
        """Return the host to ask."""
        return self.url.raw_host or ""


@dataclass(slots=True)
class Host:
    """A host's queue and pace.

    following: when the next request may begin. interval: seconds between beginnings. places: requests at a time.
    closed_until, closed_as: while it is given up, and the status and message of its jobs meanwhile. failures:
    connections in a row that failed.
    """

    name: str
    interval: float
    places: int
    queue: deque[Task] = field(default_factory=deque)
    active: int = 0
    following: float = 0.0
    listed: bool = False
    closed_until: float = 0.0
    closed_as: tuple[str, str] = ("", "")
    failures: int = 0


class Schedule:
    """Tasks by host, and hosts by the time of their next turn. All times are of one clock, in seconds."""

    def __init__(self, plan: FetchPlan) -> None:
        self._plan = plan
        self._hosts: dict[str, Host] = {}
        self._turns: list[tuple[float, int, Host]] = []  # hosts that have a task and a place, each once
        self._later: list[tuple[float, int, Task]] = []  # tasks that wait for another attempt
        self._number = itertools.count()

    def host(self, name: str) -> Host:
        """Return a host, known or new."""
        if name not in self._hosts:
            self._hosts[name] = Host(name, 1 / self._plan.rate, self._plan.per_host)
        return self._hosts[name]

    def add(self, task: Task, *, first: bool = False) -> None:
        """Queue a task; first: before its host's others."""
        host = self.host(task.host)
        (host.queue.appendleft if first else host.queue.append)(task)
        self._list(host)

    def add_later(self, task: Task, when: float) -> None:
        """Queue a task at a given time."""
        heapq.heappush(self._later, (when, next(self._number), task))

    def take(self, now: float) -> Task | None:
        """Return a task whose turn has come, None when there is none; it holds a place at its host until `done`."""
        while self._later and self._later[0][0] <= now:
            self.add(heapq.heappop(self._later)[2], first=True)
        while self._turns and self._turns[0][0] <= now:
            host = heapq.heappop(self._turns)[2]
            host.listed = False
            if not host.queue:
                continue  # it was given up after it was listed
            if host.following > now and host.closed_until <= now:
                self._list(host)  # it was slowed down after it was listed
                continue
            task = host.queue.popleft()
            host.active += 1
            # From the time that was due, so that a late start does not lower the rate; at most one is made up for.
            host.following = max(host.following, now - host.interval) + host.interval
            self._list(host)
            return task
        return None

    def next_turn(self) -> float | None:
        """Return when `take` may have a task again, None when that hangs on `done` or `add` alone."""
        times = [queue[0][0] for queue in (self._turns, self._later) if queue]
        return min(times, default=None)

    def done(self, host: Host, now: float) -> None:
        """Give a task's place at its host back."""
        host.active -= 1
        self._list(host)
        if len(self._hosts) > _IDLE_HOSTS + self._plan.ahead:
            self._hosts = {
                name: host
                for name, host in self._hosts.items()
                if host.queue or host.active or max(host.following, host.closed_until) > now
            }

    def slow_down(self, host: Host, delay: float) -> None:
        """Respect a delay that a host wants between requests, at most `max_wait`; it is then asked one at a time."""
        delay = min(delay, self._plan.max_wait)
        if delay > host.interval:
            host.interval, host.places = delay, 1

    def pause(self, host: Host, until: float) -> None:
        """Begin no request at a host before a time."""
        host.following = max(host.following, until)

    def close(self, host: Host, until: float, status: str, message: str) -> list[Task]:
        """Give a host up until a time and return its waiting tasks, to end with this status, as will those to come."""
        host.closed_until, host.closed_as = until, (status, message)
        waiting = list(host.queue)
        host.queue.clear()
        return waiting

    def _list(self, host: Host) -> None:
        if host.queue and host.active < host.places and not host.listed:
            host.listed = True
            when = 0.0 if host.closed_until > host.following else host.following
            heapq.heappush(self._turns, (when, next(self._number), host))

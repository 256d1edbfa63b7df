"""What is asked for, and what became of it.

Public names: Job, Outcome, Counts, STATUSES, TRANSIENT, Failure, Forbidden.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Every status an outcome may have, and its meaning. The words are stable: ledgers keep them.
STATUSES: Mapping[str, str] = {
    "ok": "stored",
    # The address
    "bad_url": "no http(s) address, or one with a user name, a port that is not allowed, or a malformed host",
    "forbidden_address": "the host is, or its name leads to, an address that is not public",
    "redirects": "a redirection in a circle, to nowhere, or too many of them",
    # The owner's word
    "robots": "robots.txt disallows it",
    "opted_out": "a header reserves it: X-Robots-Tag or tdm-reservation",
    # The server's answer
    "gone": "404 or 410",
    "denied": "401, 402, 403, 407 or 451",
    "http_error": "another status that is not 200, or an answer that is no HTTP",
    "tls": "the server's certificate is not valid for it, or TLS failed",
    # What came
    "not_image": "the first bytes are not those of a picture that can be read",
    "too_large": "more bytes than max_bytes, compressed or not",
    "too_many_pixels": "more pixels than max_pixels, by the header",
    "too_small": "a shorter side below min_side",
    "damaged": "cannot be decoded to its end",
    # What may pass
    "dns": "the host's name has no address now",
    "connection": "refused, reset or closed before an answer",
    "timeout": "no connection, no bytes or no end in time",
    "truncated": "the connection ended within the body",
    "rate_limited": "429, or the host asked to wait longer than max_wait",
    "server_error": "408, 425 or 5xx",
    "robots_unreachable": "robots.txt cannot be had: 5xx, 429 or no connection (RFC 9309 says: disallowed meanwhile)",
}
# Failures that another run may well not meet again.
TRANSIENT = frozenset(
    ("dns", "connection", "timeout", "truncated", "rate_limited", "server_error", "robots_unreachable")
)


@dataclass(frozen=True, slots=True)
class Job:
    """A picture to fetch. id: the caller's name for it."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job.

    status: one of STATUSES. http_status: of the last answer, None without one. final_url: where the last request went.
    sha256, width, height, size (bytes): of the stored picture, when status is "ok". fetched_at: UTC, ISO 8601. opt_out:
    the header that reserves it, "" without one; a tdm policy is part of it. error: for people, "" when all is well.
    attempts: how often it was begun, 0 when it was refused before any request.
    """

    id: str
    url: str
    status: str
    http_status: int | None = None
    final_url: str = ""
    sha256: str = ""
    width: int = 0
    height: int = 0
    size: int = 0
    fetched_at: str = ""
    opt_out: str = ""
    error: str = ""
    attempts: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True)
class Counts:
    """What a run has done. by_status: outcomes by status. bytes_in: bodies read. bytes_stored: of pictures stored."""

    jobs: int
    by_status: Mapping[str, int]
    requests: int
    bytes_in: int
    bytes_stored: int
    seconds: float

    @property
    def stored(self) -> int:
        """Return how many pictures were stored, the same picture counted each time."""
        return self.by_status.get("ok", 0)


class Failure(Exception):
    """A job cannot go on; caught within the room.

    status: one of STATUSES. wait: seconds that the server asked for. http_status: of the answer, if there was one.
    again: whether another attempt within the run may help.
    """

    def __init__(
        self,
        status: str,
        message: str,
        *,
        http_status: int | None = None,
        wait: float | None = None,
        opt_out: str = "",
        again: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.http_status = http_status
        self.wait = wait
        self.opt_out = opt_out
        self.again = status in TRANSIENT if again is None else again

"""Settings of fetching.

Public names: FetchPlan.
"""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ...images import MAX_PIXELS

MEBIBYTE = 2**20


class FetchPlan(BaseModel):
    """How pictures are fetched, what is refused, and what is stored. Times are in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # Who asks. The product token is what robots.txt files name; the contact, an e-mail address or a page, tells a
    # server's owner whom to write to, and some hosts (Wikimedia) want one.
    agent: str = Field(default="clip-italian", pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,63}$")
    contact: str = Field(default="", max_length=200)

    # How much at once, and how politely. A crawl delay in robots.txt lowers a host's rate further.
    connections: int = Field(default=128, ge=1, le=4096)  # requests under way, all hosts together
    per_host: int = Field(default=4, ge=1, le=1024)  # of them to one host
    rate: float = Field(default=10.0, gt=0)  # requests a second begun at one host
    ahead: int = Field(default=4096, ge=1, le=1_000_000)  # jobs known at a time, so that a slow host holds up no other
    threads: int = Field(default=4, ge=1, le=256)  # that decode and write

    # How long. After `attempts` of a kind of failure that may pass, a job ends with that failure.
    attempts: int = Field(default=3, ge=1, le=20)
    backoff: float = Field(default=1.0, ge=0)  # before the second attempt at most this long, then twice, four times …
    max_wait: float = Field(default=60.0, ge=0)  # the longest a server may ask to wait; asked longer, its jobs end
    connect_timeout: float = Field(default=10.0, gt=0)  # for the address, the connection and TLS, each
    read_timeout: float = Field(default=10.0, gt=0)  # without a byte
    timeout: float = Field(default=60.0, gt=0)  # a whole request
    host_failures: int = Field(default=20, ge=1)  # connections in a row that fail: the host is given up for 10 minutes

    # What is refused.
    max_bytes: int = Field(default=32 * MEBIBYTE, ge=1024)
    max_pixels: int = Field(default=MAX_PIXELS, ge=1, le=MAX_PIXELS)
    min_side: int = Field(default=32, ge=1)  # smaller pictures are counters, icons and rules
    redirects: int = Field(default=5, ge=0, le=20)
    ports: tuple[int, ...] = (80, 443)
    allow_private: bool = False  # addresses of one's own network, for tests and intranets
    robots: bool = True  # False only for servers of one's own
    opt_out: tuple[str, ...] = ("noai", "noimageai", "noindex", "noimageindex", "none")  # directives of X-Robots-Tag

    # What is stored.
    side: int | None = Field(default=384, ge=1)  # the shorter side of what is stored at most; None: as it comes
    quality: int = Field(default=90, ge=1, le=95)  # of JPEGs that are written anew

    @field_validator("contact")
    @classmethod
    def _one_line(cls, value: str) -> str:
        if not value.isprintable() or not value.isascii():
            raise ValueError("contact must be one line of ASCII, such as an e-mail address or the address of a page")
        return value

    @field_validator("ports")
    @classmethod
    def _are_ports(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or not all(0 < port < 65536 for port in value):
            raise ValueError("ports must be numbers from 1 to 65535, at least one")
        return value

    @field_validator("opt_out")
    @classmethod
    def _lower(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(directive.lower() for directive in value)

    def user_agent(self, version: str) -> str:
        """Return what the User-Agent header says, such as "clip-italian/0.1.0 (+mailto:me@example.org)"."""
        return f"{self.agent}/{version}" + (f" (+{self.contact})" if self.contact else "")

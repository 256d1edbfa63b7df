"""Headers by which an owner reserves a picture.

X-Robots-Tag: https://developers.google.com/search/docs/crawling-indexing/robots-meta-tag, with the directives noai and
noimageai that picture hosts use. tdm-reservation and tdm-policy: the TDM Reservation Protocol, W3C community group.

Public names: opted_out.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multidict import MultiMapping

# Directives that take a value after a colon, which is no name of a crawler.
_WITH_VALUE = frozenset(("unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"))


def opted_out(headers: "MultiMapping[str]", agent: str, directives: Iterable[str]) -> str:
    """Return the header that reserves a picture from a crawler of this name, "" when none does.

    directives: of X-Robots-Tag, in lower case, that count as an opt-out. A policy is named beside the reservation.

    >>> from multidict import CIMultiDict
    >>> opted_out(CIMultiDict({"X-Robots-Tag": "otherbot: noindex, clip-italian: noai"}), "clip-italian", ["noai"])
    'x-robots-tag: noai'
    """
    meant = set(directives)
    for line in headers.getall("X-Robots-Tag", ()):
        for whose, directive in _directives(line):
            if directive in meant and whose in ("", "*", agent.lower()):
                return f"x-robots-tag: {directive}"
    if any(value.strip() == "1" for line in headers.getall("tdm-reservation", ()) for value in line.split(",")):
        policy = ", ".join(value.strip() for value in headers.getall("tdm-policy", ()))[:500]
        return "tdm-reservation: 1" + (f"; tdm-policy: {policy}" if policy else "")
    return ""


def _directives(line: str) -> Iterable[tuple[str, str]]:
    """Yield (crawler, directive) in lower case; a crawler's name holds for what follows it on the line."""
    whose = ""
    for part in line.lower().split(","):
        name, colon, rest = (piece.strip() for piece in part.partition(":"))
        if colon and name not in _WITH_VALUE:
            whose, name = name, rest
        yield whose, name

"""Which addresses may be asked: public ones alone, or a page's owner could make us read our own network (SSRF).

Public names: checked_url, checked_address, origin.
"""

import ipaddress
import re
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from .outcome import Failure
from .plan import FetchPlan

if TYPE_CHECKING:
    from yarl import URL

LONGEST = 8000  # characters of an address; servers refuse longer ones, too

# IANA's special-purpose registries (RFC 6890 and its updates), written out, as Python's own lists change by version.
_NOT_PUBLIC_4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
        "168.63.129.16/32",  # looks public, but is the host of Azure's virtual machines
    )
)  # fmt: skip
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
# 2001::/23 holds Teredo, 2002::/16 is 6to4: both carry an IPv4 address, and no picture is served from either.
_NOT_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # how a network without IPv4 reaches it: as good as what it carries
_ISATAP = (0x00005EFE, 0x02005EFE)  # the third quarter of an address that carries an IPv4 address in its fourth
# Never a picture's, not even on one's own network: any address, groups, what is reserved.
_NEVER_4 = tuple(ipaddress.IPv4Network(network) for network in ("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"))

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
# Programs differ over what these mean within an address, so that one could be shown a host and another be asked.
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff]")


def checked_url(text: str, plan: FetchPlan) -> "URL":
    """Return an address that may be asked, without its fragment. Raises Failure: bad_url or forbidden_address.

    A host's name is resolved, and its addresses are checked, when a connection is made (resolving.py).
    """
    from yarl import URL

    text = text.strip()
    if len(text) > LONGEST:
        raise Failure("bad_url", f"the address has {len(text)} characters, more than {LONGEST}")
    authority = re.split(r"[/?#]", text.partition("//")[2], maxsplit=1)[0]
    if _UNSAFE.search(authority) or re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", text):
        raise Failure("bad_url", "the address holds a character that none may hold")
    if "@" in authority:
        raise Failure("bad_url", "the address holds a user name or a password")
    try:
        url = URL(text).with_fragment(None)
        port = url.port
    except (ValueError, TypeError) as error:
        raise Failure("bad_url", f"the address is malformed ({error})") from error
    if url.scheme not in ("http", "https"):
        raise Failure("bad_url", f"not an http or https address ({url.scheme or 'no scheme'})")
    if url.user is not None or url.password is not None:
        raise Failure("bad_url", "the address holds a user name or a password")
    _check_host((url.raw_host or "").lower(), plan)
    if port not in plan.ports:
        raise Failure("bad_url", f"port {port} is not among the allowed ({', '.join(map(str, plan.ports))})")
    return url


def _check_host(host: str, plan: FetchPlan) -> None:
    """Refuse a host that is no name and no plain address, and an address that is not public."""
    if ":" in host:
        checked_address(host, plan)
        return
    labels = host.removesuffix(".").split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        # Such a host is an IPv4 address to some programs, in decimal, octal, hexadecimal or with parts left out. Only
        # the plain form is one to all.
        try:
            IPv4Address(host)
        except ValueError:
            raise Failure("forbidden_address", f"{host} is a disguised or malformed IPv4 address") from None
        checked_address(host, plan)
        return
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Failure("bad_url", "the address has no host, or one that is no name of a host")


def checked_address(text: str, plan: FetchPlan) -> IPv4Address | IPv6Address:
    """Return an IP address that may be connected to. Raises Failure (forbidden_address)."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise Failure("forbidden_address", f"{text} is no IP address") from error
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise Failure("forbidden_address", f"{text} belongs to an interface of this machine")
    if not (_is_unicast(address) if plan.allow_private else _is_public(address)):
        raise Failure("forbidden_address", f"{address} is not a public address")
    return address


def _carried(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address to which an IPv6 address leads: mapped, or by NAT64."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_4)
    if carried := _carried(address):
        return _is_public(carried)
    if address not in _PUBLIC_6 or any(address in network for network in _NOT_PUBLIC_6):
        return False
    return int(address) >> 32 & 0xFFFFFFFF not in _ISATAP or _is_public(IPv4Address(int(address) & 0xFFFFFFFF))


def _is_unicast(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NEVER_4)
    if carried := _carried(address):
        return _is_unicast(carried)
    return not (address.is_multicast or address.is_unspecified)


def origin(url: "URL") -> str:
    """Return scheme, host and port, for which one robots.txt speaks."""
    return str(url.origin())

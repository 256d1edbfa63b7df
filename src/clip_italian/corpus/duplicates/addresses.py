"""What an address or a file name tells of a picture: which COCO, Flickr or Open Images picture it is, if any.

Public names: Identity, identify, address_key.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

_COCO = re.compile(r"COCO_(?:train|val|test)20\d\d_(\d{12})|(?:^|[/#])(0{6}\d{6})\.(?:jpe?g|png|webp)\b", re.IGNORECASE)
_FLICKR = re.compile(
    r"(?:static\.?flickr\.com|staticflickr\.com)/(?:\d+/)+(\d{4,12})_[0-9a-f]{6,12}"  # farm3.…/2533/ID_SECRET_z.jpg
    r"|flickr\.com/photos/[^/\s]+/(\d{4,12})\b"
    r"|(?:^|[/#])(\d{6,12})_[0-9a-f]{10}(?:_[a-z0-9]{1,2})?\.jpg",  # as Flickr names what one downloads
    re.IGNORECASE,
)
_FLICKR_SHORT = re.compile(r"flic\.kr/p/([1-9A-HJ-NP-Za-km-z]+)")
_BASE58 = "123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ"
_OPEN_IMAGES = re.compile(r"(?:^|[/#])([0-9a-f]{16})(?:_o)?(?:\.(?:jpe?g|png)\b|$)")
_WIKIMEDIA = re.compile(
    r"upload\.wikimedia\.org/wikipedia/([a-z-]+)/(?:thumb/)?[0-9a-f]/[0-9a-f]{2}/([^/?#]+)"
    r"|(commons)(?:\.m)?\.wikimedia\.org/(?:wiki/|w/index\.php\?title=)"
    r"(?:File:|Special:(?:FilePath|Redirect/file)/)([^/?#&]+)"
)
_TRACKING = re.compile(r"^(?:utm_\w+|fbclid|gclid|mc_[ce]id)$")


@dataclass(frozen=True)
class Identity:
    """The ids that were told: of COCO, of Flickr (a photo's), of Open Images (16 hexadecimal digits as a number)."""

    coco: int | None = None
    flickr: int | None = None
    open_images: int | None = None

    def __bool__(self) -> bool:
        return (self.coco, self.flickr, self.open_images) != (None, None, None)


def identify(text: str) -> Identity:
    """Read what an address, a path or a file name says of the picture; an empty Identity when it says nothing.

    >>> identify("http://farm3.staticflickr.com/2533/4071979537_2ce87cb326_z.jpg").flickr
    4071979537
    >>> identify("val2014/COCO_val2014_000000000359.jpg").coco
    359
    """
    text = unquote(text)
    coco, flickr, short, open_images = (rule.search(text) for rule in (_COCO, _FLICKR, _FLICKR_SHORT, _OPEN_IMAGES))
    return Identity(
        int(coco[1] or coco[2]) if coco else None,
        int(flickr[1] or flickr[2] or flickr[3]) if flickr else _from_base58(short[1]) if short else None,
        int(open_images[1], 16) if open_images else None,
    )


def address_key(address: str) -> str:
    """Return a name that is the same for the addresses of one picture.

    A Flickr photo, a COCO picture and a Wikimedia file have many (sizes, servers, pages): they are named by their id.
    Else the scheme, "www.", the usual port, the fragment and tracking parameters do not matter. A local path is its
    own name.

    >>> address_key("https://upload.wikimedia.org/wikipedia/commons/thumb/a/ab/Il_Duomo.jpg/640px-Il_Duomo.jpg")
    'wikimedia:commons/Il_Duomo.jpg'
    """
    try:
        parts = urlsplit(address)
    except ValueError:  # a host that cannot be, such as "http://[": no address, and its own name
        return address
    if parts.scheme.lower() not in ("http", "https"):
        return address
    if wiki := _WIKIMEDIA.search(address):
        name = unquote(wiki[2] or wiki[4]).replace(" ", "_")
        return f"wikimedia:{wiki[1] or wiki[3]}/{name}"
    known = identify(address)
    if known.flickr is not None:
        return f"flickr:{known.flickr}"
    if known.coco is not None:
        return f"coco:{known.coco}"
    host = re.sub(r"^www\.|:(?:80|443)$", "", parts.netloc.lower())
    query = urlencode([pair for pair in parse_qsl(parts.query, keep_blank_values=True) if not _TRACKING.match(pair[0])])
    return f"{host}{unquote(parts.path) or '/'}" + (f"?{query}" if query else "")


def _from_base58(digits: str) -> int:
    number = 0
    for digit in digits:
        number = number * 58 + _BASE58.index(digit)
    return number

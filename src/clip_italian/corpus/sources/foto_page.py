"""What an archive page of photos says: the one file to change when the newspaper's pages are built otherwise.

Public names: Page, Photo, read_page.

The newspaper's own pages could not be looked at when this was written, so that nothing here depends on names of its
classes. A photo is, in this order of trust,

1. every <figure> with an <img> and a <figcaption> that is not empty;
2. else the page's preview: <meta property="og:image"> with "og:description", else "og:title".

A picture's address is the widest of `srcset` or `data-srcset`, else `data-src`, `data-lazy-src` or `src` (pictures
loaded late have a placeholder in `src`). The date is <meta property="article:published_time">, else the first
<time datetime>. The end of a caption in brackets is the credit, where it names an agency or the word photo.
A page refuses to be used by <meta name="robots"> with noindex, noai, noimageai or none, or by
<meta name="tdm-reservation" content="1">.
"""

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

_CHARSET = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([a-zA-Z0-9_-]{1,40})""", re.IGNORECASE)
_CREDIT = re.compile(
    r"\s*[(\[]([^()\[\]]*\b(?:AP|AFP|ANSA|EPA|Reuters|Getty|LaPresse|Magnum|Xinhua|Contrasto|photos?|foto|via)\b"
    r"[^()\[\]]*)[)\]]\s*\.?\s*$",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_REFUSALS = frozenset(("noindex", "noai", "noimageai", "none"))
_BLANKS = re.compile(r"\s+")
_SILENT = frozenset(("script", "style", "template", "noscript"))


@dataclass(frozen=True)
class Photo:
    """A picture's whole address, its caption without credit, and the credit ("" when none is given)."""

    image: str
    caption: str
    credit: str = ""


@dataclass(frozen=True)
class Page:
    """What a page holds. date: "YYYY-MM-DD" or "". links: whole addresses. refusal: why it may not be used, or ""."""

    photos: tuple[Photo, ...] = ()
    date: str = ""
    links: tuple[str, ...] = ()
    refusal: str = ""


def read_page(content: bytes, address: str) -> Page:
    """Read a page of any quality; what cannot be understood is left out. Relative addresses are completed."""
    parser = _Reader()
    parser.feed(_decoded(content))
    parser.close()
    found = [(image, caption) for image, caption in parser.figures if image and caption]
    if not found:
        meta = parser.meta
        found = [(meta.get("og:image", ""), meta.get("og:description") or meta.get("og:title", ""))]
    photos = dict.fromkeys(photo for image, caption in found if (photo := _photo(image, caption, address)))
    date = _DATE.match(parser.meta.get("article:published_time", "") or parser.time)
    links = dict.fromkeys(link for href in parser.links if (link := _whole(href, address)))
    return Page(tuple(photos), date[0] if date else "", tuple(links), _refusal(parser.meta))


def _decoded(content: bytes) -> str:
    named = _CHARSET.search(content, 0, 4096)
    for encoding in (named[1].decode() if named else "utf-8", "utf-8", "cp1252"):
        try:
            return content.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return content.decode("utf-8", "replace")


def _photo(image: str, caption: str, address: str) -> Photo | None:
    whole, text = _whole(image, address), _BLANKS.sub(" ", caption).strip()
    match = _CREDIT.search(text)
    credit = match[1].strip() if match else ""
    text = text[: match.start()].strip() if match else text
    return Photo(whole, text, credit) if whole and text else None


def _whole(href: str, address: str) -> str:
    """Return a whole http(s) address without its fragment, "" when it is none."""
    try:
        whole = urljoin(address, href.strip()).partition("#")[0]
        parts = urlsplit(whole)
    except ValueError:
        return ""
    return whole if parts.scheme in ("http", "https") and parts.hostname and not _BLANKS.search(whole) else ""


def _refusal(meta: dict[str, str]) -> str:
    words = set(re.split(r"[\s,]+", meta.get("robots", "").lower())) & _REFUSALS
    if words:
        return f"its robots tag says {', '.join(sorted(words))}"
    return "it reserves text and data mining" if meta.get("tdm-reservation", "").strip() == "1" else ""


def _widest(srcset: str) -> str:
    """Return the address with the largest width or density of `a.jpg 320w, b.jpg 1024w`."""
    best, most = "", -1.0
    for candidate in re.split(r",\s+", srcset):
        address, _, size = candidate.strip().partition(" ")
        number = re.match(r"[\d.]+(?=[wx]$)", size.strip())
        try:
            width = float(number[0]) if number else 0.0
        except ValueError:
            width = 0.0
        if address and width > most:
            best, most = address, width
    return best


@dataclass
class _Figure:
    image: str = ""
    caption: list[str] = field(default_factory=list)


class _Reader(HTMLParser):
    """Gathers meta tags, figures, links and the first date; unclosed and misplaced tags do no harm."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.meta: dict[str, str] = {}
        self.figures: list[tuple[str, str]] = []
        self.links: list[str] = []
        self.time = ""
        self._figure: _Figure | None = None
        self._in_caption = False
        self._silent = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what a tag tells."""
        values = {name: value or "" for name, value in attrs}
        if tag == "meta":
            name = (values.get("property") or values.get("name") or "").lower()
            self.meta.setdefault(name, values.get("content", ""))
        elif tag == "figure":
            self._close_figure()
            self._figure = _Figure()
        elif tag == "img" and self._figure and not self._figure.image:
            self._figure.image = _image(values)
        elif tag == "figcaption":
            self._in_caption = True
        elif tag == "a" and values.get("href"):
            self.links.append(values["href"])
        elif tag == "time" and not self.time:
            self.time = values.get("datetime", "")
        elif tag in _SILENT:
            self._silent += 1
        elif tag in ("br", "p"):
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        """Close what a tag closes."""
        if tag == "figcaption":
            self._in_caption = False
        elif tag == "figure":
            self._close_figure()
        elif tag in _SILENT:
            self._silent = max(self._silent - 1, 0)

    def handle_data(self, data: str) -> None:
        """Take a caption's text."""
        if self._figure and self._in_caption and not self._silent:
            self._figure.caption.append(data)

    def close(self) -> None:
        """Take what stands open at the end."""
        super().close()
        self._close_figure()

    def _close_figure(self) -> None:
        if self._figure:
            self.figures.append((self._figure.image, "".join(self._figure.caption).strip()))
        self._figure, self._in_caption = None, False


def _image(values: dict[str, str]) -> str:
    for name in ("srcset", "data-srcset"):
        if (best := _widest(values.get(name, ""))) and not best.startswith("data:"):
            return best
    for name in ("data-src", "data-lazy-src", "src"):
        if values.get(name) and not values[name].startswith("data:"):
            return values[name]
    return ""

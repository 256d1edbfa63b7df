"""Take a picture in: checked, upright, small, without its metadata, stored; the same bytes in give the same bytes out.

Public names: take_in, Stored, BadPicture, sniffed, without_metadata.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from PIL import Image

from ...errors import CorruptImage
from ...images import DAMAGE, opened, read_picture, sniff
from .plan import FetchPlan
from .store import Store

_ORIENTATION = 0x0112
_WEB_PAGE = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body|\?xml|svg|!--)", re.IGNORECASE)


class BadPicture(CorruptImage):
    """A picture is not taken in. status: not_image, too_large, too_many_pixels, too_small or damaged."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Stored:
    """A picture as it is stored: upright, in pixels and bytes."""

    sha256: str
    width: int
    height: int
    size: int


def take_in(data: bytes, store: Store, plan: FetchPlan) -> Stored:
    """Check a picture, make it fit the plan, and store it.

    A JPEG in grey or colour that is upright and no larger than the plan's side is decoded to see that it is whole and
    kept as it is, but for the segments that tell of more than its pixels. Any other is decoded, turned upright,
    transparency laid on white, of an animation the first frame, reduced if its shorter side exceeds the plan's, and
    written as a JPEG without metadata.

    Raises BadPicture, and CannotWrite when the store is full.
    """
    jpeg, width, height = prepared(data, plan)
    return Stored(store.put(jpeg), width, height, len(jpeg))


def sniffed(head: bytes) -> str:
    """Return the format by the first bytes (64 or more, or all). Raises BadPicture (not_image)."""
    kind = sniff(head[:64])
    if kind is None:
        if not head:
            what = "there are no bytes"
        elif _WEB_PAGE.match(head):
            what = "a web page or drawing in XML, whatever its name says"
        else:
            what = f"not a picture of a known format (it begins with {head[:8].hex(' ')})"
        raise BadPicture("not_image", what)
    if kind == "HEIC":
        raise BadPicture("not_image", "HEIC pictures cannot be opened")
    return kind


def prepared(data: bytes, plan: FetchPlan) -> tuple[bytes, int, int]:
    """Return a picture's bytes as they are to be stored, its width and its height. Raises BadPicture."""
    if len(data) > plan.max_bytes:
        raise BadPicture("too_large", f"{len(data)} bytes, more than {plan.max_bytes}")
    kind = sniffed(data[:512])
    try:
        width, height, plain = _header(data)
        _admit(width, height, plan)
        fits = plan.side is None or min(width, height) <= plan.side
        if kind == "JPEG" and plain and fits and (clean := without_metadata(data)) is not None:
            whole = read_picture(clean, min_side=1)  # entropy decoding meets every byte, at an eighth of the scale
            return clean, whole.width, whole.height
        picture = read_picture(data, min_side=plan.side, max_pixels=plan.max_pixels)
    except BadPicture:
        raise
    except (CorruptImage, *DAMAGE) as error:
        raise BadPicture("damaged", str(error)) from error
    _admit(picture.width, picture.height, plan)  # a GIF's frame or a TIFF's page may differ from its header
    image = picture.image
    if plan.side is not None and (scale := plan.side / min(picture.width, picture.height)) < 1:
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        image = image.resize(size, Image.Resampling.HAMMING)  # reduces as well as BICUBIC, in less time
    out = io.BytesIO()
    try:
        image.save(out, "JPEG", quality=plan.quality)
    except (OSError, ValueError) as error:  # JPEG ends at 65,500 pixels a side
        raise BadPicture("too_many_pixels", f"{image.width} × {image.height} does not fit a JPEG ({error})") from error
    return out.getvalue(), image.width, image.height


def _header(data: bytes) -> tuple[int, int, bool]:
    """Return width and height by the header, and whether the pixels are upright in grey or colour."""
    with opened(data, f"picture of {len(data)} bytes") as image:
        plain = image.format == "JPEG" and image.mode in ("L", "RGB")
        try:
            upright = not plain or image.getexif().get(_ORIENTATION, 1) not in range(2, 9)
        except DAMAGE:
            upright = True  # damaged metadata says nothing about the pixels
        return image.width, image.height, plain and upright


def _admit(width: int, height: int, plan: FetchPlan) -> None:
    if width * height > plan.max_pixels:
        raise BadPicture("too_many_pixels", f"{width} × {height} pixels, more than {plan.max_pixels} in all")
    if 0 < min(width, height) < plan.min_side:
        raise BadPicture("too_small", f"{width} × {height} pixels, a side below {plan.min_side}")


def without_metadata(jpeg: bytes) -> bytes | None:
    """Return a JPEG without what is not needed to show it; None when its segments do not add up.

    What stays: JFIF without its thumbnail, the ICC profile, Adobe's mark of the colour transform, tables and scans.
    What goes: every other application segment (EXIF with GPS and serial numbers, XMP, IPTC, makers' own, further
    pictures' indexes), comments, and all that follows the end of the picture (further pictures, films, makers'
    trailers). The pixels are the same. Source: ITU-T T.81, annex B.
    """
    out = [b"\xff\xd8"]
    for marker, segment in _segments(jpeg):
        payload = segment[4:]
        if marker == 0xE0:
            if payload.startswith(b"JFIF\0") and len(payload) >= 14:
                out.append(b"\xff\xe0\x00\x10" + payload[:12] + b"\0\0")
        elif marker == 0xE2:
            if payload.startswith(b"ICC_PROFILE\0"):
                out.append(segment)
        elif marker == 0xEE:
            if payload.startswith(b"Adobe"):
                out.append(segment)
        elif not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            out.append(segment)
        if marker == 0xD9:
            return b"".join(out)
    return None


_NEXT = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")  # within a scan: a marker other than a stuffed byte or a restart


def _segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (marker, segment) up to the picture's end, a scan's data as part of its segment; ends early when broken."""
    place = 2
    while place + 4 <= len(jpeg) or jpeg[place : place + 2] == b"\xff\xd9":
        if jpeg[place] != 0xFF:
            return
        marker = jpeg[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if marker == 0xD9:
            yield marker, b"\xff\xd9"
            return
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            return  # stands alone, and has no place here
        end = place + 2 + int.from_bytes(jpeg[place + 2 : place + 4])
        if end < place + 4 or end > len(jpeg):
            return
        if marker == 0xDA:
            following = _NEXT.search(jpeg, end)
            if following is None:
                return
            end = following.start()
        yield marker, jpeg[place:end]
        place = end

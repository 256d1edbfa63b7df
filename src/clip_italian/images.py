"""Open any picture safely: upright, RGB, whole, within a bounded memory.

Public names: open_image, read_picture, Picture, opened, sniff, DAMAGE, find_images, printable, MAX_PIXELS,
PICTURE_SUFFIXES.
"""

import contextlib
import importlib
import io
import os
import re
import struct
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .errors import ClipItalianError, CorruptImage

ImageLike = str | Path | bytes | Image.Image  # the same as encoder.ImageLike; the ground cannot import the waist

# The size above which Pillow, too, sees an attack: half a gigabyte of RGB. A baseline JPEG read at reduced scale never
# holds more than a few of its rows, so it may have twice as many (phones make 200-megapixel JPEGs).
MAX_PIXELS = 178_956_970
_LARGE = 2**25  # pictures decoded to more pixels than this wait for each other, so that threads do not multiply them
_one_large = threading.Lock()

# Only these readers ever see a file, chosen by its first bytes and never by its name: Pillow has others that are seldom
# used and little tested, and its EPS reader starts another program.
_READERS = {
    "JPEG": ("JpegImagePlugin", "JpegImageFile"),
    "PNG": ("PngImagePlugin", "PngImageFile"),
    "WebP": ("WebPImagePlugin", "WebPImageFile"),
    "GIF": ("GifImagePlugin", "GifImageFile"),
    "BMP": ("BmpImagePlugin", "BmpImageFile"),
    "TIFF": ("TiffImagePlugin", "TiffImageFile"),
    "AVIF": ("AvifImagePlugin", "AvifImageFile"),
}
# What a picture's name ends in, HEIC too, so that it is named among the skipped rather than passed over.
PICTURE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic", ".heif")
)
_HEAD = 64  # first bytes that tell the format

# What Pillow's readers raise on damaged bytes; a file that cannot be read at all gives an OSError with an errno. The
# list is wide because one bad file among thousands must not end an indexing run.
DAMAGE = (
    OSError, EOFError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RuntimeError,
    AssertionError, MemoryError, struct.error, Image.DecompressionBombError,
)  # fmt: skip

_ORIENTATION, _EXIF_IFD, _DATE_TIME_ORIGINAL = 0x0112, 0x8769, 0x9003
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Picture:
    """A decoded picture and what its file says of it.

    image: RGB, upright. width, height: of the upright original, which `image` may be a reduction of. taken: the
    camera's local time as "YYYY-MM-DDTHH:MM:SS", None when the file does not say.
    """

    image: Image.Image
    width: int
    height: int
    taken: str | None = None


def open_image(source: ImageLike, *, min_side: int | None = None, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Return a picture as RGB, upright by its EXIF; of an animation the first frame, and transparency laid on white.

    min_side: the shorter side wanted in the end. A much larger picture is reduced on the way, a JPEG while it is
    decoded, and comes back with a shorter side of at least 2 × min_side: resized from there to 224, a 12-megapixel
    photo differs from the full decode by 0.3 grey levels (reduced to 1 ×, by 1.1), in a third of the time. max_pixels:
    the most that is decoded, checked from the header; a baseline JPEG with min_side may have twice as many. Memory:
    about 10 bytes a decoded pixel, for one picture above 33 megapixels at a time.

    Raises CorruptImage: unreadable, not a picture of a known safe format, damaged, cut short, or too large.

    >>> open_image("foto/IMG_3.jpg", min_side=224).mode                    # doctest: +SKIP
    'RGB'
    """
    return read_picture(source, min_side=min_side, max_pixels=max_pixels).image


def read_picture(source: ImageLike, *, min_side: int | None = None, max_pixels: int = MAX_PIXELS) -> Picture:
    """Decode as `open_image` does and also return the original's size and date. Raises CorruptImage."""
    name = _name(source)
    try:
        with opened(source, name) as image:
            own = image is not source  # a picture of the caller's is not set to another scale
            baseline = own and image.format == "JPEG" and not image.info.get("progressive")
            _admit(image, name, 2 * max_pixels if baseline and min_side else max_pixels)
            full = image.size
            drafted = image.draft(None, (2 * min_side, 2 * min_side)) if own and min_side else None
            held = image.size if baseline else full  # a progressive JPEG is held whole at any scale
            with _one_large if held[0] * held[1] > _LARGE else contextlib.nullcontext():
                return _decode(image, full, drafted[1][2:] if drafted else None, min_side)
    except CorruptImage:
        raise
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            what = f"cannot be read ({error.strerror}); check the file and its permissions"
        else:
            what = f"damaged or cut short ({error}); replace it with a good copy"
        raise CorruptImage(f"{name}: {what}") from error


def find_images(
    folder: Path | str,
    *,
    exclude: Collection[Path] = (),
    unreadable: Callable[[OSError], None] | None = None,
) -> Iterator[Path]:
    """Yield the pictures under `folder`, sorted by name within each folder, its own pictures before its subfolders'.

    A picture is a regular file whose name ends like one (in any case), or has no ending and begins with a picture's
    bytes. Hidden names (".x") and symbolic links are passed over, so that nothing outside the folder is reached and
    nothing is met twice; so are `exclude`. unreadable: called for each folder that cannot be listed. Raises
    ClipItalianError for those when it is not given, and when `folder` itself is no folder.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ClipItalianError(f"{printable(folder)}: is a file; name the folder that it lies in")
    if not folder.exists():
        raise ClipItalianError(f"{printable(folder)}: no such folder; check the name, and that the drive is connected")
    excluded = {path.absolute() for path in exclude}
    for where, folders, names in os.walk(folder, onerror=unreadable or _refuse_folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(where, name)
            if not name.startswith(".") and path.absolute() not in excluded and _looks_like_picture(path):
                yield path


def printable(path: Path | str) -> str:
    """Return a file name as one line of valid Unicode: control characters and stray bytes become \\n, \\xff, …"""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", lambda match: repr(match[0])[1:-1], text)


def _refuse_folder(error: OSError) -> None:
    raise ClipItalianError(f"{printable(error.filename)}: cannot be listed ({error.strerror}); check its permissions")


def _looks_like_picture(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    if path.suffix:
        return path.suffix.lower() in PICTURE_SUFFIXES
    try:
        with path.open("rb") as stream:
            return sniff(stream.read(_HEAD)) is not None
    except OSError:
        return False


def sniff(head: bytes) -> str | None:
    """Tell the format by a file's first 64 bytes."""
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if head.startswith(b"BM") and head[14:18] in {bytes([n, 0, 0, 0]) for n in (12, 40, 52, 56, 64, 108, 124)}:
        return "BMP"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if head[4:8] == b"ftyp":
        brands = head[8 : int.from_bytes(head[:4])]
        if b"avif" in brands or b"avis" in brands:
            return "AVIF"
        if any(brand in brands for brand in (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1")):
            return "HEIC"
    return None


def _name(source: ImageLike) -> str:
    if isinstance(source, bytes):
        return f"picture of {len(source)} bytes"
    if isinstance(source, Image.Image):
        return printable(str(getattr(source, "filename", "")) or "picture")
    return printable(source)


@contextlib.contextmanager
def opened(source: ImageLike, name: str) -> Iterator[Image.Image]:
    """Yield a picture whose header has been read; the caller's own picture is not closed."""
    if isinstance(source, Image.Image):
        yield source
        return
    with io.BytesIO(source) if isinstance(source, bytes) else Path(source).open("rb") as stream:
        head = stream.read(_HEAD)
        kind = sniff(head)
        size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        if size == 0:
            raise CorruptImage(f"{name}: the file is empty; replace it with a good copy")
        if kind not in _READERS:
            what = f"{kind} pictures cannot be opened" if kind else "not a picture of a known format"
            raise CorruptImage(f"{name}: {what}; convert it to JPEG or PNG ({', '.join(_READERS)} are read)")
        try:
            image = _reader(kind)(stream)  # without a name, or Pillow would map that file into memory
        except DAMAGE:
            # To Pillow, a header that says 0 is damaged. Only now, as a GIF's frames may be larger than it says.
            if sides := _stated_sides(kind, head):
                _refuse_without_pixels(*sides, name)
            raise
        yield image


def _stated_sides(kind: str, head: bytes) -> tuple[int, int] | None:
    """Return the width and height that a PNG's, GIF's or BMP's first bytes say; None for others, and when cut short."""
    forms = {"PNG": (">II", 16), "GIF": ("<HH", 6), "BMP": ("<HH" if head[14:15] == b"\x0c" else "<ii", 18)}
    layout, place = forms.get(kind, ("", 0))
    if not layout or len(head) < place + struct.calcsize(layout):
        return None
    width, height = struct.unpack_from(layout, head, place)
    return width, height


def _refuse_without_pixels(width: int, height: int, name: str) -> None:
    if width * height == 0:
        raise CorruptImage(f"{name}: has no pixels ({width} × {height}); replace it with a good copy")


def _reader(kind: str) -> Any:
    module, reader = _READERS[kind]
    try:
        return getattr(importlib.import_module(f"PIL.{module}"), reader)
    except ImportError:
        raise CorruptImage(f"{kind} pictures need a newer Pillow; run: pip install --upgrade pillow") from None


def _admit(image: Image.Image, name: str, limit: int) -> None:
    """Refuse what has no pixels or too many, before any is decoded."""
    width, height = image.size
    _refuse_without_pixels(width, height, name)
    if width * height > limit:
        raise CorruptImage(
            f"{name}: {width} × {height} is {width * height / 1e6:.0f} megapixels, more than the limit of "
            f"{limit / 1e6:.0f}; save a smaller copy of it"
        )


def _decode(
    image: Image.Image, full: tuple[int, int], drafted: tuple[float, float] | None, min_side: int | None
) -> Picture:
    """full: size by the header; drafted: exact size to which a JPEG is reduced while it is decoded."""
    image.load()
    if drafted is None:
        full = image.size  # a TIFF turns itself upright while it loads
    orientation, taken = _exif(image)
    rgb = _on_white(image)
    if min_side:
        width, height = drafted or rgb.size
        factor = max(1, int(min(width, height)) // (2 * min_side))
        target = (max(1, int(width / factor)), max(1, int(height / factor)))
        if target != rgb.size:  # a draft's last row and column may stand for less than a whole one: hence the box
            rgb = rgb.resize(target, Image.Resampling.BICUBIC, box=(0, 0, width, height))
    if orientation in _TURNS:
        rgb = rgb.transpose(_TURNS[orientation])
        full = full[::-1] if orientation >= 5 else full
    rgb.info = {}  # nothing that would turn the picture again, and no kilobytes of metadata
    return Picture(rgb, *full, taken=taken)


def _exif(image: Image.Image) -> tuple[int, str | None]:
    try:
        exif = image.getexif()
        orientation = exif.get(_ORIENTATION, 1)
        taken = exif.get_ifd(_EXIF_IFD).get(_DATE_TIME_ORIGINAL)
    except DAMAGE:
        return 1, None  # damaged metadata says nothing about the pixels
    try:
        moment = datetime.strptime(str(taken).strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        return orientation, None
    return orientation, moment.strftime("%Y-%m-%dT%H:%M:%S")


def _on_white(image: Image.Image) -> Image.Image:
    """Return a new RGB picture: deep channels scaled to 8 bits, transparency laid on white."""
    if image.mode.startswith("I;16"):
        return Image.fromarray(((np.asarray(image).astype(np.uint32) + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        return Image.fromarray(_stretched(np.asarray(image, np.float32))).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if not image.has_transparency_data:
        return image.copy() if image.mode == "RGB" else image.convert("RGB")
    layer = image.convert("RGBA")
    page = Image.new("RGB", layer.size, "white")
    page.paste(layer, mask=layer.getchannel("A"))
    return page


def _stretched(values: np.ndarray) -> np.ndarray:
    """Map the range of values without a known white point to 0–255; what is not a number becomes black."""
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    scaled = (np.where(finite, values, low) - low) * (255 / (high - low) if high > low else 0)
    return np.round(scaled).astype(np.uint8)

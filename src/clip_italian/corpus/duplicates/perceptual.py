"""A perceptual hash: 64 bits that stay nearly the same when a picture is re-encoded, resized, or made grey.

Public names: phash, phash_file, mirrored, distance, BLANK.
"""

import numpy as np
from PIL import Image

from ...images import ImageLike, open_image

_SIDE = 32  # pixels of the small grey square of which the frequencies are taken
_FAINT = 1.0  # grey levels; when no wave is stronger the picture is blank, and its bits would be chance
BLANK = 0  # the hash of every blank picture


def _cosines() -> np.ndarray:
    """Return the orthonormal DCT-II of _SIDE points as a matrix (frequency, pixel)."""
    steps = np.arange(_SIDE)
    matrix = np.cos(np.pi * (2 * steps[None] + 1) * steps[:, None] / (2 * _SIDE)) * np.sqrt(2 / _SIDE)
    matrix[0] /= np.sqrt(2)
    return matrix


_WAVES = sorted(
    ((down, across) for down in range(_SIDE) for across in range(_SIDE)),
    key=lambda wave: (wave[0] ** 2 + wave[1] ** 2, wave[0]),
)[1:65]  # the 64 longest waves after the mean, in every direction alike
_DOWN, _ACROSS = (np.array(axis) for axis in zip(*_WAVES, strict=True))
_COSINES = _cosines()[: max(_DOWN.max(), _ACROSS.max()) + 1]
# Seen in a mirror, a wave with an odd number of half periods across changes its sign, and no other does.
_MIRROR = np.packbits(_ACROSS % 2 == 1).view(">u8").astype(np.uint64)[0]


def phash(image: Image.Image) -> int:
    """Return 64 bits: the signs of the 64 longest waves (DCT-II) in a picture squeezed to 32 × 32 grey pixels.

    image: any mode; transparency should lie on something already (`images.open_image` sees to that). Blank pictures
    give BLANK. A sign needs no median, so that a mirrored picture's hash is known from the picture's (`mirrored`).
    Source: the idea is Zauner 2010 ("pHash"), who compares with the median; waves by length and signs are ours.
    """
    grey = image if image.mode == "L" else image.convert("L")
    pixels = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64)
    waves = (_COSINES @ pixels @ _COSINES.T)[_DOWN, _ACROSS]
    if np.abs(waves).max() < _FAINT * _SIDE:  # a wave of amplitude a has a coefficient of up to a × side
        return BLANK
    return int.from_bytes(np.packbits(waves > 0).tobytes(), "big")


def phash_file(source: ImageLike) -> int:
    """Open a picture at reduced scale, safely and upright, and hash it. Raises CorruptImage.

    It may differ by a bit or two from the hash of the full decode.
    """
    return phash(open_image(source, min_side=_SIDE))


def mirrored(hashes: np.ndarray | int) -> np.ndarray:
    """Return the hashes (uint64) that the left-right mirrored pictures have."""
    return np.asarray(hashes, np.uint64) ^ _MIRROR


def distance(first: np.ndarray | int, second: np.ndarray | int) -> np.ndarray:
    """Count the bits in which hashes differ, 0 to 64, element by element."""
    return np.bitwise_count(np.asarray(first, np.uint64) ^ np.asarray(second, np.uint64))

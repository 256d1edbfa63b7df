"""The colours behind their names, and how far apart two colours look.

Public names: PALETTE, jitter, oklab, rgb.
"""

import numpy as np

# Lightness, chroma and hue in degrees (OKLCh), spread so that after `jitter` each is still nearest to its own name.
PALETTE: dict[str, tuple[float, float, float]] = {
    "rosso": (0.56, 0.22, 27),
    "verde": (0.62, 0.18, 144),
    "blu": (0.45, 0.22, 263),
    "giallo": (0.89, 0.18, 99),
    "arancione": (0.74, 0.18, 60),
    "viola": (0.50, 0.22, 305),
    "rosa": (0.80, 0.13, 355),
    "marrone": (0.42, 0.085, 52),
    "nero": (0.17, 0.0, 0),
    "bianco": (0.975, 0.0, 0),
    "grigio": (0.63, 0.0, 0),
}

# Linear sRGB to cone responses, and their cube roots to OKLab. Source: B. Ottosson, "A perceptual color space for image
# processing", 2020.
_TO_CONES = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929],
     [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
_TO_LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468],
     [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip
_FROM_LAB, _FROM_CONES = np.linalg.inv(_TO_LAB), np.linalg.inv(_TO_CONES)


def jitter(colour: str, lightness: float, chroma: float, hue: float) -> np.ndarray:
    """Return (3,) sRGB in [0, 1] near a named colour; the three shifts are in [-1, 1]. Raises KeyError."""
    usual_lightness, usual_chroma, usual_hue = PALETTE[colour]
    return rgb(usual_lightness + 0.025 * lightness, usual_chroma * (1 + 0.1 * chroma), usual_hue + 5 * hue)


def rgb(lightness: float, chroma: float, hue: float) -> np.ndarray:
    """Return (3,) sRGB in [0, 1] of an OKLCh colour (hue in degrees), cut to what a screen shows."""
    angle = np.deg2rad(hue)
    lab = np.array([lightness, chroma * np.cos(angle), chroma * np.sin(angle)])
    linear = np.clip(_FROM_CONES @ (_FROM_LAB @ lab) ** 3, 0, 1)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def oklab(colours: np.ndarray) -> np.ndarray:
    """Convert (…, 3) sRGB in [0, 1] to OKLab, where distances are about as large as they look."""
    colours = np.asarray(colours, dtype=np.float64)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_CONES.T) @ _TO_LAB.T

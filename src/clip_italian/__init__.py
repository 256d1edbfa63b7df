"""CLIP-Italian: pictures and Italian words in one space.

>>> import clip_italian
>>> encoder = clip_italian.load("runs/mine")                                # doctest: +SKIP
>>> encoder.encode_texts(["due gatti sul divano"]).shape                    # doctest: +SKIP
(1, 512)
"""

from .encoder import Embeddings, Encoder, ImageLike, PatchEncoder, load
from .errors import ClipItalianError

__version__ = "0.1.0"
__all__ = ["ClipItalianError", "Embeddings", "Encoder", "ImageLike", "PatchEncoder", "__version__", "load"]

"""Texts to piece ids as numpy arrays: all of a tokenizer that needs no torch.

Public names: PieceTokenizer, PAD_NAMES.
"""

import unicodedata
from collections.abc import Sequence

import numpy as np
import tokenizers

from ..errors import BadModel, shortened

PAD_NAMES = ("<pad>", "[PAD]", "<|endoftext|>")
UNKNOWN_NAMES = ("<unk>", "[UNK]")


def _latin(letter: str) -> bool:
    return "LATIN" in unicodedata.name(letter, "")


class PieceTokenizer:
    """A `tokenizers.Tokenizer` that cuts at `max_length` pieces, closing marks included, and pads to the longest text.

    The published CLIP-Italian processor does not cut and feeds BERT more positions than were trained. `backend` is
    copied. Raises BadModel when it has no padding piece, or `max_length` leaves no room for a piece of text.
    """

    def __init__(self, backend: tokenizers.Tokenizer, max_length: int) -> None:
        pad = next((name for name in PAD_NAMES if backend.token_to_id(name) is not None), None)
        if pad is None:
            raise BadModel(f"the tokenizer has no padding piece; one of {', '.join(PAD_NAMES)} is needed")
        self.backend = tokenizers.Tokenizer.from_str(backend.to_str())
        marks = self.backend.num_special_tokens_to_add(is_pair=False)
        if not isinstance(max_length, int) or max_length <= marks:
            raise BadModel(f"texts cannot be cut at {max_length!r} pieces: {marks} of them are marks around the text")
        self.max_length = max_length
        self.backend.encode_special_tokens = True  # "[MASK]" in a person's text is text
        self.backend.enable_truncation(max_length)
        self.backend.enable_padding(pad_id=self.backend.token_to_id(pad), pad_token=pad)

    @property
    def size(self) -> int:
        """How many rows an embedding needs for every piece, added ones included: the largest id and one."""
        return 1 + max(self.backend.get_vocab(with_added_tokens=True).values())

    def fault(self, text: str) -> str | None:
        """Return what keeps a text from being read whole, to follow the model's name in an error; None if nothing does.

        That is: a text without letter or digit, a word with a letter that no piece spells, more pieces than are read.
        A tokenizer of bytes can spell any alphabet, but has only met Latin letters.
        """
        clean = self.backend.normalizer.normalize_str(text) if self.backend.normalizer else text
        if not any(character.isalnum() for character in clean):
            return f'finds no word in "{shortened(text)}"'
        pieces = self.backend.encode(text)
        if strange := self._unspelled(text, clean, pieces):
            return f'cannot read "{shortened(strange)}"'
        if pieces.overflowing:
            return f"reads {self.max_length} pieces of a text, some {self.max_length * 3 // 5} words, and this has more"
        return None

    def _unspelled(self, text: str, clean: str, pieces: tokenizers.Encoding) -> str | None:
        if isinstance(self.backend.decoder, tokenizers.decoders.ByteLevel):
            return next((word for word in clean.split() if not all(map(_latin, filter(str.isalpha, word)))), None)
        unknown = {self.backend.token_to_id(name) for name in UNKNOWN_NAMES}
        places = zip(pieces.ids, pieces.offsets, strict=True)
        spans = (text[slice(*place)] for number, place in places if number in unknown)
        return next((span for span in spans if any(map(str.isalpha, span))), None)

    def arrays(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return ids (n, t) int64 and mask (n, t) bool, True at real pieces; t is the longest text's, n at least 1."""
        encodings = self.backend.encode_batch(list(texts))
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        return ids, np.array([encoding.attention_mask for encoding in encodings], bool)

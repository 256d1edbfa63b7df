"""Texts to piece ids as numpy arrays: all of a tokenizer that needs no torch.

Public names: PieceTokenizer, PAD_NAMES.
"""

from collections.abc import Sequence

import numpy as np
import tokenizers

from ..errors import BadModel

PAD_NAMES = ("<pad>", "[PAD]", "<|endoftext|>")
UNKNOWN_NAMES = ("<unk>", "[UNK]")


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

    def knows(self, text: str) -> bool:
        """Tell whether any known piece of a text holds a letter or digit; of signs and unspelled letters none does.

        A tokenizer of bytes can spell any alphabet, but has only met Latin letters: there, one of those must be in it.
        """
        bytewise = isinstance(self.backend.decoder, tokenizers.decoders.ByteLevel)
        unknown = {self.backend.token_to_id(name) for name in UNKNOWN_NAMES}
        pieces = self.backend.encode(text, add_special_tokens=False)
        return any(
            character.isalnum() and (character.isascii() or not bytewise)
            for number, piece in zip(pieces.ids, pieces.tokens, strict=True)
            if number not in unknown
            for character in piece
        )

    def arrays(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Return ids (n, t) int64 and mask (n, t) bool, True at real pieces; t is the longest text's, n at least 1."""
        encodings = self.backend.encode_batch(list(texts))
        ids = np.array([encoding.ids for encoding in encodings], np.int64)
        return ids, np.array([encoding.attention_mask for encoding in encodings], bool)

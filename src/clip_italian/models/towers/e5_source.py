"""All of multilingual-e5-small that needs no torch: its pieces, its tokenizer, and its weights under our names.

The list of kept pieces was made from captions, their English originals, Europarl, and a list of Italian words with

    clip-italian tokens flickr8k-it/train.jsonl:1 coco-photos/train.jsonl:1 \\
        italian/parallel/europarl_en_it_59k.tsv.gz:5 italian/parole_italiane_280000.txt.gz:10 --out pieces.txt.gz

Public names: Pretrained, pretrained, tokenizer, all_pieces, kept_pieces, pieces_hash, SPECIALS, WIDTH, LAYERS, INNER,
POSITIONS.
"""

import gzip
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from ...errors import BadModel
from ...files import sha256_parts
from ..spelling import spelled
from .e5_file import E5File, read_package

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
LAST_LATIN = 0x1EFF  # the end of Latin Extended Additional
WIDTH, LAYERS, INNER, POSITIONS = 384, 12, 1536, 512

# A layer's parts as we name them and as the package does.
_PARTS = {
    "query": "q", "key": "k", "value": "v", "out": "ao", "attention_norm": "aln",
    "widen": "fi", "narrow": "fo", "output_norm": "oln",
}  # fmt: skip


@dataclass(frozen=True)
class Pretrained:
    """The package's weights for a trimmed vocabulary. rows: of its embedding, one per kept piece."""

    source: E5File
    rows: np.ndarray

    def tensor(self, name: str) -> np.ndarray:
        """Return a tensor of E5Tower by its name there, float32. Raises KeyError for a name it does not have."""
        if name == "pieces.weight":
            return self.source.tensor("emb.word", self.rows, WIDTH)
        if name == "positions":
            # Every piece is of the first type, so that its vector is the same summand everywhere.
            return self.source.tensor("emb.pos", columns=WIDTH)[:POSITIONS] + self.source.tensor("emb.type")[:WIDTH]
        place, _, kind = name.rpartition(".")
        if kind not in ("weight", "bias"):
            raise KeyError(name)
        if place == "embedding_norm":
            theirs, columns = "emb.ln", None
        else:
            layers, number, part = place.split(".") if place.count(".") == 2 else ("", "", "")
            if layers != "layers" or part not in _PARTS:
                raise KeyError(name)
            theirs = f"l{number}.{_PARTS[part]}"
            matrix = kind == "weight" and not part.endswith("norm")
            columns = (INNER if part == "narrow" else WIDTH) if matrix else None
        return self.source.tensor(f"{theirs}.{kind[0]}", columns=columns)


def pretrained(pieces: Sequence[str]) -> Pretrained:
    """Open the package's weights for a vocabulary of `pieces`. Raises MissingExtra, BadModel."""
    source = read_package()
    numbers = {piece: number for number, piece in enumerate(source.pieces)}
    if strange := [piece for piece in pieces if piece not in numbers]:
        raise BadModel(f"multilingual-e5-small has no piece {strange[0]!r}")
    return Pretrained(source, np.array([numbers[piece] for piece in pieces]))


def all_pieces() -> tuple[tuple[str, ...], np.ndarray]:
    """Return the package's 250,002 pieces and their unigram scores. Raises MissingExtra."""
    source = read_package()
    return source.pieces, source.scores


@lru_cache(maxsize=1)
def kept_pieces() -> tuple[str, ...]:
    """Return the trimmed vocabulary in order: the special pieces, then the listed ones."""
    packed = resources.files(__package__).joinpath("pieces.txt.gz").read_bytes()
    return SPECIALS + tuple(gzip.decompress(packed).decode("utf-8").split("\n"))


@lru_cache(maxsize=1)
def pieces_hash() -> str:
    """Return the SHA-256 of the trimmed vocabulary, which checkpoints note: other pieces would be other rows."""
    return sha256_parts(piece.encode() for piece in kept_pieces())


def tokenizer(pieces: Sequence[str]) -> Tokenizer:
    """Build the unigram tokenizer over `pieces` (specials first) with the package's scores.

    Text is put into NFKC and lower case without signs (see spelling.py), runs of white space become one space, and
    texts are closed by <s> … </s>. A Latin letter that no piece spells loses its accents. Raises MissingExtra.
    """
    names, scores = all_pieces()
    score = dict(zip(names, scores.tolist(), strict=True))
    vocabulary = [(piece, 0.0 if piece in SPECIALS else score[piece]) for piece in pieces]
    built = Tokenizer(models.Unigram(vocabulary, unk_id=SPECIALS.index("<unk>"), byte_fallback=False))
    built.normalizer = normalizers.Sequence(
        [
            *spelled(),
            normalizers.NFD(),
            normalizers.Replace(Regex(_unspelled_accents(frozenset(pieces))), ""),
            normalizers.NFC(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    built.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    built.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    built.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", SPECIALS.index("</s>"))]
    )
    return built


def _unspelled_accents(pieces: frozenset[str]) -> str:
    """Return the pattern of the accents, in decomposed text, of the Latin letters that are no piece by themselves."""
    bases: dict[str, str] = {}
    for letter in map(chr, range(0xC0, LAST_LATIN + 1)):
        decomposed = unicodedata.normalize("NFD", letter)
        base, marks = decomposed[0], decomposed[1:]
        if marks and base.isascii() and letter not in pieces:
            bases[marks] = bases.get(marks, "") + base
    any_mark = "[\u0300-\u036f]"
    return "|".join(f"(?<=[{letters}]){marks}(?!{any_mark})" for marks, letters in bases.items()) or "(?!)"

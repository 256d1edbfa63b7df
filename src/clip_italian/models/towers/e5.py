"""multilingual-e5-small with its vocabulary trimmed to the pieces that Italian and English need.

96 of the model's 118 million weights are its vocabulary; the pieces listed in `pieces.txt.gz` leave about 30 million.
A text's vector is the mean over its pieces. Source: Wang et al. 2024, Multilingual E5 Text Embeddings.

The list was made from captions, their English originals, Europarl, and a list of Italian words with

    clip-italian tokens flickr8k-it/train.jsonl:1 coco-photos/train.jsonl:1 \\
        italian/parallel/europarl_en_it_59k.tsv.gz:5 italian/parole_italiane_280000.txt.gz:10 --out pieces.txt.gz

Public names: E5Tower, tokenizer, all_pieces, kept_pieces, pieces_hash, SPECIALS.
"""

import gzip
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional as F

from ...errors import BadModel
from ...files import sha256_parts
from ..lowrank import LowRankLinear, make_low_rank
from .base import TextTower, TowerOutput, mean_over
from .e5_file import E5File, read_package

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")
LAST_LATIN = 0x1EFF  # the end of Latin Extended Additional
WITHOUT_WIDTH, AS_APOSTROPHE = "[\u00ad\u200b-\u200f\u2060\ufeff]", "[\u02bc\u02be]"
WIDTH, LAYERS, HEADS, INNER, POSITIONS, EPSILON = 384, 12, 12, 1536, 512, 1e-12


class Layer(nn.Module):
    """A post-norm transformer layer over packed pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.attention_norm = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.widen, self.narrow = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.output_norm = nn.LayerNorm(WIDTH, eps=EPSILON)

    def forward(self, x: Tensor, places: Tensor, bias: Tensor, dropout: float) -> Tensor:
        """x: (pieces, width), at `places` of the flattened (n, t) texts; bias: (n, 1, 1, t), −inf where padded."""
        attended = self.out(self._attend(x, places, bias))
        x = self.attention_norm(x + F.dropout(attended, dropout, self.training))
        narrowed = self.narrow(F.gelu(self.widen(x)))
        return self.output_norm(x + F.dropout(narrowed, dropout, self.training))

    def _attend(self, x: Tensor, places: Tensor, bias: Tensor) -> Tensor:
        rows, length = bias.shape[0], bias.shape[-1]
        query, key, value = (
            _padded(linear(x), places, rows, length).view(rows, length, HEADS, WIDTH // HEADS).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        # Written out: on captions' few pieces the fused kernel's backward pass is ten times slower on CPUs.
        score = query @ key.transpose(-1, -2) * (WIDTH // HEADS) ** -0.5 + bias
        out = torch.softmax(score, -1).to(value.dtype) @ value
        return out.transpose(1, 2).reshape(rows * length, WIDTH)[places]


class E5Tower(TextTower):
    """The encoder; every linear map runs over the real pieces only, never over padding.

    vocabulary: number of rows of the trimmed embedding. cut: the number of leading layers that, with the embeddings,
    make up the stem and stay as they are (None: nothing is cut off). low_rank: rank of the changes that the other
    layers' linear maps learn in place of new weights (None: the weights themselves learn). dropout: on the residual
    branches, in training. Raises BadModel.
    """

    dim = WIDTH
    max_length = POSITIONS

    def __init__(
        self, vocabulary: int, cut: int | None = None, low_rank: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if cut is not None and not 0 <= cut <= LAYERS:
            raise BadModel(f"the text tower has {LAYERS} layers; cut after 0 to {LAYERS} of them, not {cut}")
        if low_rank is not None and low_rank < 1:
            raise BadModel(f"low-rank changes have rank 1 or more, not {low_rank}; leave low_rank out for none")
        if not 0 <= dropout < 1:
            raise BadModel(f"dropout is a share from 0 to below 1, not {dropout}")
        self.spec = {
            "type": "multilingual-e5-small", "vocabulary": vocabulary, "cut": cut, "low_rank": low_rank,
            "dropout": dropout, "pieces_sha256": pieces_hash(),
        }  # fmt: skip
        self.cut, self.dropout, self.has_stem = cut, dropout, cut is not None
        self.pieces = nn.Embedding(vocabulary, WIDTH)
        self.positions = nn.Parameter(torch.zeros(POSITIONS, WIDTH))
        self.embedding_norm = nn.LayerNorm(WIDTH, eps=EPSILON)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        if low_rank is not None:
            make_low_rank(self.layers[cut or 0 :], low_rank)
        self.fixed = self._fixed(low_rank is not None)

    def stem(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embed the pieces and run the layers before the cut; ids themselves when nothing is cut off. t ≤ 512."""
        return (ids, mask) if self.cut is None else (self._run(self._embed(ids), mask, 0, self.cut), mask)

    def body(self, hidden: Tensor, mask: Tensor) -> TowerOutput:
        """Run the remaining layers and take the mean."""
        if self.cut is None:
            hidden = self._embed(hidden)
        tokens = self._run(hidden, mask, self.cut or 0, LAYERS)
        return TowerOutput(tokens, mean_over(tokens, mask), mask)

    def _embed(self, ids: Tensor) -> Tensor:
        return self.embedding_norm(self.pieces(ids) + self.positions[: ids.shape[1]])

    def _run(self, hidden: Tensor, mask: Tensor, first: int, last: int) -> Tensor:
        # Found once: a mask as an index makes a GPU wait for its count every time.
        places = mask.flatten().nonzero().squeeze(1)
        packed = hidden.flatten(0, 1)[places]
        bias = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, float("-inf"))[:, None, None]
        for layer in self.layers[first:last]:
            packed = layer(packed, places, bias, self.dropout)
        return _padded(packed, places, *mask.shape)

    def _fixed(self, low_rank: bool) -> frozenset[str]:
        before = ("pieces.", "positions", "embedding_norm.", *(f"layers.{n}." for n in range(self.cut or 0)))
        names = (name for name in self.state_dict() if self.cut is not None or low_rank)
        low = {f"{name}.weight" for name, module in self.named_modules() if isinstance(module, LowRankLinear)}
        return frozenset(name for name in names if name.startswith(before) or name in low)

    @torch.no_grad()
    def load_pretrained(self, pieces: Sequence[str]) -> "E5Tower":
        """Fill in the package's weights for a vocabulary of `pieces`. Raises MissingExtra, BadModel."""
        if len(pieces) != self.pieces.num_embeddings:
            raise BadModel(
                f"the vocabulary has {len(pieces)} pieces, but the text tower {self.pieces.num_embeddings} rows"
            )
        source = read_package()
        numbers = {piece: number for number, piece in enumerate(source.pieces)}
        rows = np.array([numbers[piece] for piece in pieces])
        self.pieces.weight.copy_(_tensor(source.tensor("emb.word", rows, WIDTH)))
        self.positions.copy_(_tensor(source.tensor("emb.pos", columns=WIDTH)[:POSITIONS]))
        self.positions.add_(_tensor(source.tensor("emb.type", columns=WIDTH)[0]))
        _fill(self.embedding_norm, source, "emb.ln")
        names = {
            "query": "q", "key": "k", "value": "v", "out": "ao", "attention_norm": "aln",
            "widen": "fi", "narrow": "fo", "output_norm": "oln",
        }  # fmt: skip
        for number, layer in enumerate(self.layers):
            for ours, theirs in names.items():
                _fill(getattr(layer, ours), source, f"l{number}.{theirs}")
        return self


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

    Text is put into NFKC, runs of white space become one space, and texts are closed by <s> … </s>. A Latin letter
    that no piece spells loses its accents, marks without width go, and an accent typed as an apostrophe (perche´)
    becomes one. Raises MissingExtra.
    """
    names, scores = all_pieces()
    score = dict(zip(names, scores.tolist(), strict=True))
    vocabulary = [(piece, 0.0 if piece in SPECIALS else score[piece]) for piece in pieces]
    built = Tokenizer(models.Unigram(vocabulary, unk_id=SPECIALS.index("<unk>"), byte_fallback=False))
    built.normalizer = normalizers.Sequence(
        [
            normalizers.Replace(Regex(WITHOUT_WIDTH), ""),
            normalizers.Replace("\u00b4", "'"),  # of which NFKC would make a space and an accent
            normalizers.NFKC(),
            normalizers.Replace(Regex(AS_APOSTROPHE), "'"),
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


def _padded(x: Tensor, places: Tensor, rows: int, length: int) -> Tensor:
    """Put (pieces, width) at their places among zeros; returns (rows, length, width)."""
    return x.new_zeros(rows * length, WIDTH).index_copy(0, places, x).view(rows, length, WIDTH)


def _fill(module: nn.Module, source: E5File, name: str) -> None:
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor) and isinstance(bias, Tensor)
    weight.copy_(_tensor(source.tensor(f"{name}.w")).view_as(weight))
    bias.copy_(_tensor(source.tensor(f"{name}.b")))


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))

"""A tokenizer of one's own, learned from captions.

Public names: train_tokenizer, SPECIALS.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from .spelling import spelled

# The order of XLM-R and multilingual-e5, so that padding is piece 1 everywhere in this package.
SPECIALS = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def train_tokenizer(texts: Iterable[str], vocabulary_size: int = 8000) -> Tokenizer:
    """Learn a byte-level BPE tokenizer of at most `vocabulary_size` pieces; the same texts give the same pieces.

    Texts are put in NFKC and lower case, accents kept, signs left out (see spelling.py); an apostrophe between letters
    ends its word, so that "l'albero" and "un albero" share a piece. Every byte is a piece, so that no text gives <unk>;
    <s> and </s> are put around. A `vocabulary_size` under 261 (256 bytes, 5 specials) counts as 261. Sources: Sennrich
    2016; of the bytes Radford 2019.

    >>> train_tokenizer(["un albero", "l'albero"] * 2, 300).encode("L'ALBERO").tokens
    ['<s>', "Ġl'", 'Ġalbero', '</s>']
    """
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))  # noqa: S106 (the name of a piece)
    tokenizer.normalizer = normalizers.Sequence(
        [
            *spelled(),
            normalizers.Replace(Regex(r"(?<=\p{L})'(?=\p{L})"), "' "),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\p{L}[\p{L}\p{M}]*'?| ?\p{N}| ?[^\s\p{L}\p{N}]+|\s+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(name, SPECIALS.index(name)) for name in ("<s>", "</s>")]
    )
    return tokenizer

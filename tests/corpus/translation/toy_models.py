"""Tiny models of the three families, made on the spot: sentence pieces learned from a few captions, weights taught for
some hundred steps, saved as transformers does, converted as CTranslate2 does."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sentencepiece
import torch
import transformers
from ctranslate2.converters import TransformersConverter
from ctranslate2.specs.model_spec import OPTIONAL

NOUNS = {
    "a dog": "un cane", "a cat": "un gatto", "a woman": "una donna", "a child": "un bambino", "a bird": "un uccello",
}  # fmt: skip
VERBS = {"runs": "corre", "sleeps": "dorme", "eats": "mangia", "plays": "gioca"}
PLACES = {"on the beach": "sulla spiaggia", "in the garden": "nel giardino", "under a tree": "sotto un albero"}
PAIRS = {
    f"{noun} {verb} {place}": f"{un} {va} {dove}"
    for noun, un in NOUNS.items()
    for verb, va in VERBS.items()
    for place, dove in PLACES.items()
}
TAUGHT = {english: PAIRS[english] for english in sorted(PAIRS)[::2]}
STEPS = {"marian": 200, "nllb": 220, "madlad": 240}
_SMALL = {"d_model": 48, "encoder_layers": 1, "decoder_layers": 1, "dropout": 0.0, "activation_function": "relu"}
_HEADS = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 96, "decoder_ffn_dim": 96}


@dataclass(frozen=True)
class Toy:
    """original: as transformers saves it. converted: for CTranslate2."""

    original: Path
    converted: Path


def make_all(folder: Path) -> dict[str, Toy]:
    torch.manual_seed(0)
    transformers.utils.logging.set_verbosity_error()
    return {"marian": marian(folder), "nllb": nllb(folder), "madlad": madlad(folder)}


def pieces(path: Path, sentences: list[str], size: int, **settings: Any) -> Path:
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences * 3), model_prefix=str(path.with_suffix("")), vocab_size=size,
        hard_vocab_limit=False, minloglevel=2, num_threads=1, **settings,
    )  # fmt: skip
    path.with_suffix(".model").rename(path)
    path.with_suffix(".vocab").unlink()
    return path


def marian(folder: Path, *, teach_it: bool = True) -> Toy:
    """Two sentencepiece models, one vocabulary, <pad> last, as opus-mt has them."""
    original = folder / "marian"
    original.mkdir(parents=True)
    sides = [
        pieces(original / "source.spm", list(PAIRS), 80), pieces(original / "target.spm", list(PAIRS.values()), 80)
    ]  # fmt: skip
    words = ["</s>", "<unk>"]
    for side in sides:
        model = sentencepiece.SentencePieceProcessor(model_file=str(side))
        words += [model.id_to_piece(i) for i in range(3, model.get_piece_size())]
    words = [*dict.fromkeys(words), "<pad>"]
    (original / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    tokenizer = transformers.MarianTokenizer(
        source_spm=str(sides[0]), target_spm=str(sides[1]), vocab=str(original / "vocab.json"), source_lang="en",
        target_lang="it",
    )  # fmt: skip
    pad = len(words) - 1
    config = transformers.MarianConfig(
        vocab_size=len(words), max_position_embeddings=128, eos_token_id=0, pad_token_id=pad, forced_eos_token_id=None,
        decoder_start_token_id=pad, bos_token_id=None, scale_embedding=True, static_position_embeddings=True,
        **_SMALL, **_HEADS,
    )  # fmt: skip
    model = transformers.MarianMTModel(config)
    model.model.shared.weight.data[pad] = 0
    model.final_logits_bias[0, pad] = -1e4  # <pad> is never said, and takes no share of the probability
    model.generation_config.update(bad_words_ids=[[pad]], num_beams=1, max_length=64)
    if teach_it:
        batch = tokenizer(list(TAUGHT), text_target=list(TAUGHT.values()), return_tensors="pt", padding=True)
        teach(model, batch["input_ids"], batch["attention_mask"], batch["labels"], pad, STEPS["marian"])
    model.save_pretrained(original)
    tokenizer.save_pretrained(original)
    return convert(original, ["source.spm", "target.spm"])


def nllb(folder: Path) -> Toy:
    """One BPE model of sentence pieces and tokens for the languages."""
    original = folder / "nllb"
    original.mkdir(parents=True)
    pieces(original / "sentencepiece.bpe.model", [*PAIRS, *PAIRS.values()], 120, model_type="bpe")
    setup = {"tokenizer_class": "NllbTokenizer", "src_lang": "eng_Latn", "tgt_lang": "ita_Latn"}
    setup_json = json.dumps({**setup, "extra_special_tokens": ["eng_Latn", "fra_Latn", "ita_Latn"]})
    (original / "tokenizer_config.json").write_text(setup_json)
    tokenizer = transformers.AutoTokenizer.from_pretrained(original)
    config = transformers.M2M100Config(
        vocab_size=len(tokenizer), max_position_embeddings=128, pad_token_id=1, bos_token_id=0, eos_token_id=2,
        decoder_start_token_id=2, scale_embedding=True, attention_dropout=0.0, activation_dropout=0.0,
        encoder_layerdrop=0.0, decoder_layerdrop=0.0, **_SMALL, **_HEADS,
    )  # fmt: skip
    model = transformers.M2M100ForConditionalGeneration(config)
    batch = tokenizer(list(TAUGHT), text_target=list(TAUGHT.values()), return_tensors="pt", padding=True)
    teach(model, batch["input_ids"], batch["attention_mask"], batch["labels"], 1, STEPS["nllb"])
    model.save_pretrained(original)
    tokenizer.save_pretrained(original)
    return convert(original, ["sentencepiece.bpe.model"])


def madlad(folder: Path) -> Toy:
    """T5 whose pieces hold <2it>, a symbol of its own."""
    original = folder / "madlad"
    original.mkdir(parents=True)
    file = pieces(
        original / "spiece.model", [*PAIRS, *PAIRS.values()], 120, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        user_defined_symbols=["<2it>", "<2en>"],
    )  # fmt: skip
    (original / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5Tokenizer", "extra_ids": 0}))
    spm = sentencepiece.SentencePieceProcessor(model_file=str(file))
    config = transformers.T5Config(
        vocab_size=spm.get_piece_size(), d_model=48, d_kv=12, d_ff=96, num_layers=1, num_decoder_layers=1, num_heads=4,
        dropout_rate=0.0, feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=0,
    )  # fmt: skip
    model = transformers.T5ForConditionalGeneration(config)
    inputs = padded([[*spm.encode(f"<2it> {text}"), 1] for text in TAUGHT], 0)
    labels = padded([[*spm.encode(text), 1] for text in TAUGHT.values()], 0)
    teach(model, inputs, inputs != 0, labels, 0, STEPS["madlad"])
    model.save_pretrained(original)
    return convert(original, ["spiece.model"])


def padded(rows: list[list[int]], pad: int) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=pad)


def teach(model: Any, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor, pad: int, steps: int) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-3)
    labels = labels.masked_fill(labels == pad, -100)
    model.train()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = 4e-3 * min(1, (step + 1) / 20)
        loss = model(input_ids=ids, attention_mask=mask.long(), labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if model.config.model_type == "marian":  # whose decoder begins with nothing, not with a word
            model.model.shared.weight.data[pad] = 0
    model.eval()


class Converter(TransformersConverter):
    """With transformers 5, CTranslate2 4.8 takes T5 models whose outputs are not scaled for ones whose are."""

    def _load(self) -> Any:
        spec = super()._load()
        if (
            json.loads((Path(self._model_name_or_path) / "config.json").read_text()).get("scale_decoder_outputs")
            is False
        ):
            spec.decoder.scale_outputs = OPTIONAL
        return spec


def convert(original: Path, copied: list[str]) -> Toy:
    converted = original.with_name(f"{original.name}-ct2")
    Converter(str(original), copy_files=copied).convert(str(converted))
    return Toy(original, converted)


if __name__ == "__main__":
    import sys
    import time

    torch.set_num_threads(1)
    began = time.perf_counter()
    for make in (marian, nllb, madlad):
        toy = make(Path(sys.argv[1]))
        print(toy, sorted(p.name for p in toy.converted.iterdir()), time.perf_counter() - began)
        print((toy.converted / "config.json").read_text())

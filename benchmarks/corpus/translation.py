"""Sentences a second of a local translation model: this package's path beside transformers' `generate`.

python benchmarks/corpus/translation.py [--texts 64] [--rounds 3] [--beam 4] [--layers 6] [--words 60000] [--threads 1]

Needs ctranslate2, sentencepiece, torch, transformers. Both run the same Marian model of opus-mt's shape (512 wide, 6 +
6 layers, 8 heads) with random weights on the same drawn captions, with as many threads. Random weights do not end a
sentence, so that both write as many tokens as they may, 20 each (the characters written tell): the figures are of
speed, and say nothing of quality. Times are processor seconds, all threads together, which other work on the machine
hardly changes. The package's path is measured whole: cutting into pieces, sorting, search, putting together, the cache
on disk. Of transformers the same without a cache, texts sorted by length, in the faster of two batch sizes. int8 is
the same model with weights in 8 bits, for which transformers has no counterpart on a CPU.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

from clip_italian.corpus.translation import TranslationPlan, open_translator

TOKENS = 20  # of every translation; no caption has more
WHO = ["a dog", "two cats", "an old man", "a young woman", "three children", "a red bus", "a small boat", "a horse"]
WHAT = ["running", "sitting", "sleeping", "waiting", "playing with a ball", "eating", "looking up", "standing"]
WHERE = ["on the beach", "in a kitchen", "near a window", "under a tree", "in the street", "by the river"]


def captions(count: int) -> list[str]:
    """Draw different captions of 9 to 14 words, 3,072 at most."""
    every = [f"{who} {what} {where} with {other}" for who, what, where, other in product(WHO, WHAT, WHERE, WHO)]
    return random.Random(0).sample(every, count)


def make_model(folder: Path, layers: int, words: int) -> None:
    """Save a random Marian model with the words of such captions and a vocabulary filled up to `words`."""
    import sentencepiece
    import torch
    import transformers

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(captions(3000)), model_prefix=str(folder / "source"), model_type="word", vocab_size=400,
        hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (folder / "source.vocab").unlink()
    (folder / "source.model").rename(folder / "source.spm")
    (folder / "target.spm").write_bytes((folder / "source.spm").read_bytes())
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "source.spm"))
    longest = max(map(len, model.encode(captions(3000))))
    assert longest <= TOKENS, f"a caption has {longest} pieces, and would be cut"
    known = ["</s>", "<unk>", *(model.id_to_piece(i) for i in range(3, model.get_piece_size()))]
    known = [*known, *(f"▁w{i}" for i in range(words - len(known) - 1)), "<pad>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(known)}))
    tokenizer = transformers.MarianTokenizer(
        source_spm=str(folder / "source.spm"), target_spm=str(folder / "target.spm"), vocab=str(folder / "vocab.json")
    )
    torch.manual_seed(0)
    config = transformers.MarianConfig(
        vocab_size=words, d_model=512, encoder_layers=layers, decoder_layers=layers, encoder_attention_heads=8,
        decoder_attention_heads=8, encoder_ffn_dim=2048, decoder_ffn_dim=2048, activation_function="swish",
        max_position_embeddings=512, pad_token_id=words - 1, decoder_start_token_id=words - 1, eos_token_id=0,
        bos_token_id=None, forced_eos_token_id=None, scale_embedding=True, static_position_embeddings=True,
    )  # fmt: skip
    network = transformers.MarianMTModel(config)
    print(f"model: random weights, {sum(p.numel() for p in network.parameters()) / 1e6:.1f} million parameters")
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def with_transformers(folder: Path, beam: int, threads: int) -> Callable[[list[str], int], list[str]]:
    """Return a function of texts and a batch size that translates as transformers documents it."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    model = transformers.MarianMTModel.from_pretrained(folder).eval()
    tokenizer = transformers.MarianTokenizer.from_pretrained(folder)

    def translate(texts: list[str], batch: int) -> list[str]:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        out = [""] * len(texts)
        for start in range(0, len(texts), batch):
            some = order[start : start + batch]
            inputs = tokenizer([texts[i] for i in some], return_tensors="pt", padding=True)
            rows = model.generate(
                **inputs, num_beams=beam, max_new_tokens=TOKENS, min_new_tokens=TOKENS, do_sample=False
            )
            for i, text in zip(some, tokenizer.batch_decode(rows, skip_special_tokens=True), strict=True):
                out[i] = text
        return out

    return translate


def with_package(model: Path, beam: int, threads: int, scratch: Path) -> Callable[[list[str]], list[str]]:
    """Return a function that translates through the package, each time into a new cache."""
    plan = TranslationPlan(engine="ctranslate2", model=str(model), beam=beam, threads=threads, max_tokens=TOKENS)

    def translate(texts: list[str]) -> list[str]:
        cache = scratch / "cache.sqlite"
        cache.unlink(missing_ok=True)
        translator._cache = type(translator._cache)(cache)
        return translator.translate(texts)

    translator = open_translator(plan, scratch / "cache.sqlite", scratch)
    return translate


def seconds(run: Callable[[], list[str]]) -> tuple[float, float]:
    """Time one run; returns processor seconds, and characters a translation."""
    began = time.process_time()
    done = run()
    return time.process_time() - began, statistics.mean(map(len, done))


def main() -> None:
    """Measure by turns and print the ratio of each round's times with its spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--beam", type=int, default=4)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--words", type=int, default=60_000)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    import transformers
    from ctranslate2.converters import TransformersConverter

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    threads = options.threads
    texts = captions(options.texts)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        original = scratch / "original"
        original.mkdir()
        make_model(original, options.layers, options.words)
        runs: dict[str, Callable[[], list[str]]] = {}
        theirs = with_transformers(original, options.beam, threads)
        best = min((16, options.texts), key=lambda batch: seconds(lambda: theirs(texts, batch)))
        runs["transformers"] = lambda: theirs(texts, best)
        for numbers in ("float32", "int8"):
            folder = scratch / numbers
            TransformersConverter(str(original), copy_files=["source.spm", "target.spm"]).convert(
                str(folder), quantization=numbers
            )
            runs[f"package, {numbers}"] = packaged(with_package(folder, options.beam, threads, scratch), texts)
        print(f"{len(texts)} captions, beam {options.beam}, {threads} threads, transformers in batches of {best}")
        report(runs, options.rounds, len(texts))


def packaged(translate: Callable[[list[str]], list[str]], texts: list[str]) -> Callable[[], list[str]]:
    """Bind texts, and open the model before the first measured round."""
    translate(texts[:2])
    return lambda: translate(texts)


def report(runs: dict[str, Callable[[], list[str]]], rounds: int, count: int) -> None:
    """Run all by turns and print the median rate, and the ratio of each round with its spread."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    written = dict.fromkeys(runs, 0.0)
    for _ in range(rounds):
        for name, run in runs.items():
            took, written[name] = seconds(run)
            times[name].append(took)
    for name, taken in times.items():
        ratios = sorted(a / b for a, b in zip(times["transformers"], taken, strict=True))
        print(
            f"{name:<18} {count / statistics.median(taken):7.1f} sentences/core-s   {written[name]:5.1f} characters   "
            f"ratio {statistics.median(ratios):5.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}, {rounds} rounds)"
        )


if __name__ == "__main__":
    main()

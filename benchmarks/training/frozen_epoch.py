"""An epoch with frozen towers: features computed once and kept, against running the towers in every step.

python benchmarks/training/frozen_epoch.py [--towers base|huggingface] [--pictures 256] [--batch 64] [--rounds 3]

base: EfficientNet-Lite2 and multilingual-e5-small (extra `base`); huggingface: a ViT and a BERT of a quarter of the
paper's size, random. The aim is a ratio of 100 or more. What computing the features once costs is printed, too: it is
about one epoch without them.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from towers import huggingface_towers
from toy_photos import photos

from clip_italian.training.recipe import Recipe
from clip_italian.training.setup import build
from clip_italian.training.stage import Inputs, StageTraining


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--towers", choices=("base", "huggingface"), default="base")
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder))


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Time epochs with and without kept features by turns, in one process."""
    samples = photos(folder, options.pictures)
    towers = {"image_tower": {"type": "efficientnet-lite2"}, "text_tower": {"type": "multilingual-e5-small"}}
    if options.towers == "huggingface":
        towers = huggingface_towers(folder, depth=3, width=384)
    stage = {"name": "heads", "learn": {"heads": 1e-3}, "epochs": 99, "batch": options.batch}
    recipe = Recipe.model_validate({"name": "frozen", "workers": 2, "stages": [stage], **towers})
    inputs = Inputs(recipe, build(recipe, []), samples, (), folder / "cache", lambda what, done, total: None)
    begun = time.perf_counter()
    training = StageTraining(inputs, 0, nn.Parameter(torch.zeros(())))
    print(f"{options.pictures} pictures: features computed once in {time.perf_counter() - begun:.1f} s")
    kept, fresh = [], []
    epoch(training)  # warms up
    for _ in range(options.rounds):
        kept += [epoch(training) for _ in range(5)]
        fresh.append(epoch_without(training))
    for name, times in (("with kept features", kept), ("without", fresh)):
        print(f"epoch {name}: min {min(times):.4f} s, median {statistics.median(times):.4f} s")
    print(f"ratio: min {min(fresh) / min(kept):.0f}, median {statistics.median(fresh) / statistics.median(kept):.0f}")


def epoch(training: StageTraining) -> float:
    """Train one epoch; returns its seconds."""
    begun = time.perf_counter()
    training.model.train()
    batches: list[np.ndarray] = training.batches(0)
    for done, (batch, (hidden, mirrored)) in enumerate(zip(batches, training.images.epoch(batches, 0), strict=True)):
        training.step(0, done, batch, hidden, mirrored)
    return time.perf_counter() - begun


def epoch_without(training: StageTraining) -> float:
    """Train one epoch with every picture decoded and both towers run; returns its seconds."""
    images, texts = training.images.kept, training.texts.batch

    def run(batch: list[str]) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return training.text_part.stem(*training.texts.tokenizer.encode(batch))

    training.images.kept, training.texts.batch = [], run
    try:
        return epoch(training)
    finally:
        training.images.kept, training.texts.batch = images, texts


if __name__ == "__main__":
    main()

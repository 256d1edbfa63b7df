"""A full training step of ours against a plain loop over transformers' VisionTextDualEncoderModel.

python benchmarks/training/step.py [--full] [--batch 32] [--rounds 8] [--precision float32|bfloat16]

Both train the same towers (a quarter of the paper's size; --full: its own, ViT-B/32 and BERT base) on the same decoded
pictures and captions, tokenised in the step, with the same optimiser; steps are taken by turns. A ratio of 1 or less
means that ours is not slower.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from towers import huggingface_towers
from toy_photos import photos
from transformers import AutoConfig, AutoTokenizer, VisionTextDualEncoderConfig, VisionTextDualEncoderModel

from clip_italian.training.recipe import Recipe
from clip_italian.training.setup import build
from clip_italian.training.stage import Inputs, StageTraining


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the paper's size")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options, Path(folder))


def measure(options: argparse.Namespace, folder: Path) -> None:
    """Take steps of both by turns, in one process."""
    samples = photos(folder, options.batch)
    size = {"depth": 12, "width": 768} if options.full else {"depth": 3, "width": 384}
    towers = huggingface_towers(folder, **size)
    learn = dict.fromkeys(("image_tower", "text_tower", "heads", "scale"), 1e-5)
    recipe = Recipe.model_validate(
        {
            "name": "step",
            "workers": 0,
            "precision": options.precision,
            "stages": [{"name": "all", "learn": learn, "epochs": 99, "batch": options.batch}],
            **towers,
        }
    )
    inputs = Inputs(recipe, build(recipe, []), samples, (), folder / "cache", lambda what, done, total: None)
    training = StageTraining(inputs, 0, nn.Parameter(torch.zeros(())))
    [batch] = training.batches(0)
    [(pixels, mirrored)] = training.images.epoch([batch], 0)
    texts = [samples[index].captions[0].text for index in batch]
    training.model.train()
    mine, plain = step_of_ours(training, batch, pixels, mirrored), step_of_theirs(towers, options, pixels, texts)
    for step in (mine, plain):
        step()  # warms up
    times: dict[str, list[float]] = {"ours": [], "transformers": []}
    for turn in range(options.rounds):
        for name, step in (("ours", mine), ("transformers", plain))[:: 1 if turn % 2 else -1]:
            begun = time.perf_counter()
            step()
            times[name].append(time.perf_counter() - begun)
    for name, seconds in times.items():
        print(f"{name}: min {min(seconds):.3f} s, median {statistics.median(seconds):.3f} s a step of {options.batch}")
    least, middle = (f(times["ours"]) / f(times["transformers"]) for f in (min, statistics.median))
    print(f"ours / transformers: min {least:.2f}, median {middle:.2f}")


def step_of_ours(
    training: StageTraining, batch: np.ndarray, pixels: Tensor, mirrored: np.ndarray
) -> Callable[[], float]:
    """Return our step on one batch."""
    return lambda: training.step(0, 1, batch, pixels, mirrored)


def step_of_theirs(towers: dict, options: argparse.Namespace, pixels: Tensor, texts: list[str]) -> Callable[[], float]:
    """Return the step that a page of transformers' documentation would write, on the same batch."""
    configs = [
        AutoConfig.for_model(**config) for config in (towers["image_tower"]["config"], towers["text_tower"]["config"])
    ]
    model = VisionTextDualEncoderModel(VisionTextDualEncoderConfig.from_vision_text_configs(*configs)).train()
    tokenizer = AutoTokenizer.from_pretrained(towers["text_tower"]["tokenizer"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def step() -> float:
        tokens = tokenizer(texts, padding=True, truncation=True, max_length=96, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16"):
            loss = model(**tokens, pixel_values=pixels, return_loss=True).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


if __name__ == "__main__":
    main()

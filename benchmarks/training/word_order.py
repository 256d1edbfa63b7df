"""What text towers learn of word order when pictures are no obstacle.

python benchmarks/training/word_order.py [--scenes 6000] [--steps 600] [--seed 0]

Pictures are replaced by what truly is in them: for every object its shape, its colour, both together, each alone and
multiplied by a wave over the place. One linear map on top of that, and the text tower, learn as in the demo, on
captions and hard negatives of training scenes. Then each tower says which of two sentences is true of validation
scenes, a relation or its opposite (chance 0.5), which colour of 11, which count of 6. Takes two minutes a tower on
one core.
"""

import argparse
import math
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip_italian.data import scenes as drawing
from clip_italian.data.sample import Caption, ImageRef, Sample
from clip_italian.data.scenes import Scene
from clip_italian.data.scenes.scene import Contrast
from clip_italian.data.scenes.vocabulary import COLOURS, SHAPES
from clip_italian.evaluation.statistics import Interval, bootstrap_means
from clip_italian.models.tokenizer import Tokenizer
from clip_italian.models.tokenizer_training import train_tokenizer
from clip_italian.models.towers import build_text_tower
from clip_italian.training.losses import contrastive, positive_pairs
from clip_italian.training.recipe import Texts
from clip_italian.training.texts import draw_texts

TOWERS = {
    "gated-text": {"width": 96, "depth": 2},
    "scratch-text": {"width": 96, "depth": 2, "heads": 4, "pooling": "mean"},
    "bag-of-words": {"width": 96},
}
DIM, BATCH, RATE, ASKED = 256, 64, 2e-3, 600


class Truth(nn.Module):
    """A linear map of what is in a scene, brought to unit variance."""

    def __init__(self, contents: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", contents.mean(0))
        self.register_buffer("spread", contents.std(0) + 1e-3)
        self.layers = nn.Sequential(nn.Linear(contents.shape[1], DIM), nn.BatchNorm1d(DIM, affine=False))

    def forward(self, contents: Tensor) -> Tensor:
        """Return (n, DIM) unit rows."""
        return F.normalize(self.layers((contents - self.mean) / self.spread), dim=-1)


class Told(nn.Module):
    """A text tower, one linear map, unit variance."""

    def __init__(self, kind: str, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.tower = build_text_tower({"type": kind, "vocabulary": tokenizer.size, **TOWERS[kind]})
        self.layers = nn.Sequential(nn.Linear(self.tower.dim, DIM, bias=False), nn.BatchNorm1d(DIM, affine=False))

    def forward(self, texts: list[str]) -> Tensor:
        """Return (n, DIM) unit rows."""
        return F.normalize(self.layers(self.tower(*self.tokenizer.encode(texts)).pooled), dim=-1)


def main() -> None:
    """Train every tower and print what it can tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=6000)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    learned = list(drawing.scenes(options.scenes))
    asked = list(drawing.scenes(ASKED, split="valid"))
    tokenizer = Tokenizer(train_tokenizer([text for scene in learned for text in scene.captions], 400), 32)
    for kind in TOWERS:
        torch.manual_seed(options.seed)
        begun = time.monotonic()
        truth, texts = train(kind, tokenizer, learned, options.steps, options.seed)
        seconds = time.monotonic() - begun
        scores = {asked_for: ask(truth, texts, asked, asked_for) for asked_for in drawing.CONTRASTS}
        told = "   ".join(f"{name} {s.value:.3f} ({s.low:.3f}-{s.high:.3f})" for name, s in scores.items())
        print(f"{kind}, {options.steps} steps in {seconds:.0f} s: {told}", flush=True)


def train(kind: str, tokenizer: Tokenizer, scenes: list[Scene], steps: int, seed: int) -> tuple[Truth, Told]:
    """Learn from scenes; the rate rises for 50 steps, and falls over the second half."""
    contents = torch.stack([content(scene) for scene in scenes])
    samples = [as_sample(scene) for scene in scenes]
    truth, texts = Truth(contents), Told(kind, tokenizer)
    log_scale = nn.Parameter(torch.tensor(math.log(20.0)))
    parameters = [*truth.parameters(), *texts.parameters(), log_scale]
    optimizer = torch.optim.AdamW(parameters, RATE, weight_decay=0.02)
    rng = np.random.default_rng(seed)
    per_epoch = len(scenes) // BATCH
    for step in range(steps):
        epoch, place = divmod(step, per_epoch)
        if place == 0:
            order = rng.permutation(len(scenes))
        batch = order[place * BATCH : (place + 1) * BATCH]
        chosen = [samples[number] for number in batch]
        told, owners = draw_texts(Texts(hard_negatives=4), chosen, [False] * BATCH, seed=seed, epoch=epoch)
        positives = positive_pairs([sample.key for sample in chosen], owners, captions=told)
        falling = 0.5 * (1 + math.cos(math.pi * max(0.0, 2 * step / steps - 1)))
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 50) * falling
        loss = contrastive(truth(contents[batch]), texts(told), log_scale.exp(), positives=positives)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return truth.eval(), texts.eval()


def ask(truth: Truth, texts: Told, scenes: list[Scene], kind: Contrast) -> Interval:
    """Return the share of scenes to which the true sentence is nearest, with its interval; a tie counts as wrong."""
    right = []
    for scene in scenes:
        try:
            sentences, true = drawing.contrasts(scene, kind)
        except ValueError:  # nothing of this kind can be asked
            continue
        with torch.no_grad():
            score = (texts(list(sentences)) @ truth(content(scene)[None])[0]).numpy()
        right.append(float(score[true] > np.delete(score, true).max()))
    return bootstrap_means({kind: np.array(right)})[kind]


def as_sample(scene: Scene) -> Sample:
    """Return what training reads of a scene, without a picture."""
    captions = tuple(Caption(text) for text in scene.captions)
    return Sample(
        scene.key,
        ImageRef("none"),
        captions,
        extra={"hard_negatives": [list(kind) for kind in drawing.hard_negatives(scene)]},
    )


def content(scene: Scene) -> Tensor:
    """Return what is in a scene: (3 · 155,) sums over its objects."""
    shapes, total = list(SHAPES), np.zeros((155, 3), np.float32)
    for thing in scene.things:
        shape, colour = shapes.index(thing.shape), COLOURS.index(thing.colour)
        what = np.zeros(155, np.float32)
        what[[shape, 12 + colour, 23 + 11 * shape + colour]] = 1
        where = [1, math.sin((2 * thing.x - 1) * math.pi / 2), math.sin((2 * thing.y - 1) * math.pi / 2)]
        total += what[:, None] * np.array(where, np.float32)
    return torch.from_numpy(total.ravel())


if __name__ == "__main__":
    main()

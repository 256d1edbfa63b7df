"""How often a model's patch vectors point at what is asked for: the most similar place must lie in its box.

Three kinds of pictures whose boxes are known: four photos side by side (the grid pointing game, Böhle 2021), a small
photo pasted into another, and drawn scenes of two groups of objects. Photos are asked for by the Italian names of their
ImageNet classes; scenes by their groups, "due cerchi rossi". Chance is the boxes' share of the picture.

Run: OMP_NUM_THREADS=1 python benchmarks/models/pointing.py MODEL ALBUM [PICTURES]

ALBUM: a folder of photos named WNID_….jpg. PICTURES: how many of each kind, 80 by default.
"""

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from clip_italian import PatchEncoder, load
from clip_italian.data.class_names import imagenet
from clip_italian.data.scenes import scenes
from clip_italian.data.scenes.draw import draw
from clip_italian.data.scenes.vocabulary import phrase
from clip_italian.evaluation.statistics import bootstrap_means

SIDE = 448
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Question:
    """What is asked of a picture and where it is: boxes as left, top, right, bottom, in fractions of the sides."""

    kind: str
    picture: int
    image: Image.Image
    text: str
    boxes: tuple[Box, ...]


def questions(album: Path, count: int) -> Iterator[Question]:
    """Make `count` pictures of each kind, the same ones every time."""
    chance = random.Random(0)
    names = {one.wnid: one.form.with_article() for one in imagenet()}
    photos = [path for path in sorted(album.glob("*.jpg")) if path.name.partition("_")[0] in names]

    def asked(path: Path) -> str:
        return names[path.name.partition("_")[0]]

    for number in range(count):
        four, page, half = chance.sample(photos, 4), Image.new("RGB", (SIDE, SIDE)), SIDE // 2
        for place, path in enumerate(four):
            page.paste(_square(path, half), (place % 2 * half, place // 2 * half))
        for place, path in enumerate(four):
            left, top = place % 2 / 2, place // 2 / 2
            yield Question("four photos", number, page, asked(path), ((left, top, left + 0.5, top + 0.5),))
    for number in range(count):
        ground, path = chance.sample(photos, 2)
        side = chance.randint(SIDE * 3 // 10, SIDE // 2)
        x, y = chance.randint(0, SIDE - side), chance.randint(0, SIDE - side)
        page = _square(ground, SIDE)
        page.paste(_square(path, side), (x, y))
        box = (x / SIDE, y / SIDE, (x + side) / SIDE, (y + side) / SIDE)
        yield Question("pasted photo", number, page, asked(path), (box,))
    for number, scene in enumerate(scenes(count, split="train", seed=5, kind="relation")):
        image = draw(scene.things, scene.texture, 256)
        for place, group in enumerate(scene.groups):
            boxes = tuple(thing.box for thing in scene.things if thing.group == place)
            yield Question("drawn scene", number, image, phrase(group), boxes)


def main() -> None:
    """Print a line a kind: how often the place is right, with its interval, and chance."""
    model, album = sys.argv[1], Path(sys.argv[2])
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 80
    encoder = load(model)
    if not isinstance(encoder, PatchEncoder):
        sys.exit(f"{model}: has no patch vectors")
    asked = list(questions(album, count))
    texts = encoder.encode_texts([question.text for question in asked])
    right: dict[str, list[bool]] = {}
    owner: dict[str, list[int]] = {}
    chance: dict[str, list[float]] = {}
    seen, patches = None, np.zeros((1, 1, encoder.dim), np.float32)
    for question, text in zip(asked, texts, strict=True):
        if seen is not question.image:
            seen, patches = question.image, encoder.encode_patches(question.image)
        similarity = patches @ text
        row, column = np.unravel_index(similarity.argmax(), similarity.shape)
        x, y = (column + 0.5) / similarity.shape[1], (row + 0.5) / similarity.shape[0]
        found = any(left <= x <= over and top <= y <= under for left, top, over, under in question.boxes)
        right.setdefault(question.kind, []).append(found)
        owner.setdefault(question.kind, []).append(question.picture)
        area = sum((over - left) * (under - top) for left, top, over, under in question.boxes)
        chance.setdefault(question.kind, []).append(area)
    print(f"{encoder.name}: {patches.shape[0]} × {patches.shape[1]} places")
    for kind, hits in right.items():
        score = bootstrap_means({"right": np.array(hits, float)}, np.array(owner[kind]))["right"]
        print(
            f"{kind}: {score.value:.3f} [{score.low:.3f}–{score.high:.3f}] of {len(hits)} questions, "
            f"chance {np.mean(chance[kind]):.3f}"
        )


def _square(path: Path, side: int) -> Image.Image:
    with Image.open(path) as image:
        return image.convert("RGB").resize((side, side))


if __name__ == "__main__":
    main()

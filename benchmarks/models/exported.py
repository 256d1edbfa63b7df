"""What the ways of storing an exported model's weights cost: size, time to open, ms a picture and a text, cosines.

Run: OMP_NUM_THREADS=1 python benchmarks/models/exported.py FLOAT32 OTHER… [--pictures FOLDER]

Each argument is a directory that `clip-italian export` wrote, the first one with float32 weights. Times are medians, in
milliseconds of the processor for one thread, so that what else runs on the machine counts little; encoding a picture is
timed without decoding. Cosines: of the others' vectors to the first one's, over up to 100 pictures of the folder and
sentences about them; lowest and mean.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from clip_italian.encoder import load
from clip_italian.images import find_images, open_image
from clip_italian.models.onnx_encoder import OnnxEncoder

ROUNDS = 30
TEXT = "un cane bianco corre sulla spiaggia"
WORDS = ("gatto", "pizza margherita", "due bambini", "il mare al tramonto", "una bicicletta rossa", "treno", "neve")


def median(run: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the median processor time of one call, in milliseconds."""
    times = []
    for _ in range(rounds + 2):
        begun = time.process_time()
        run()
        times.append(time.process_time() - begun)
    return float(np.median(times[2:])) * 1000


def opened(directory: str) -> tuple[OnnxEncoder, float]:
    """Open a model with both networks; returns it and the time in milliseconds."""
    begun = time.process_time()
    encoder = load(directory)
    assert isinstance(encoder, OnnxEncoder)
    for network in (encoder._image, encoder._text):
        network._session = network._open()
    return encoder, (time.process_time() - begun) * 1000


def times(encoder: OnnxEncoder) -> tuple[float, float]:
    """Return the milliseconds of a picture after decoding, and of a text."""
    size = encoder.preprocess.size
    pixels = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)
    return median(lambda: encoder._image.run(pixels=pixels)), median(lambda: encoder.encode_texts([TEXT]))


def main() -> None:
    """Print a line a directory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("directories", nargs="+")
    parser.add_argument("--pictures", type=Path)
    given = parser.parse_args()
    paths = list(find_images(given.pictures))[:100] if given.pictures else []
    images = [open_image(path, min_side=256) for path in paths]
    texts = [TEXT, *WORDS, *(f"{word} in una foto" for word in WORDS)]
    expected: list[np.ndarray] = []
    for directory in given.directories:
        opened(directory)  # once for the disk's cache
        encoder, opening = opened(directory)
        picture, text = times(encoder)
        stored = sum(path.stat().st_size for path in Path(directory).glob("*.onnx"))
        found = [encoder.encode_images(images), encoder.encode_texts(texts)]
        expected = expected or found
        cosines = [(a * b).sum(1) for a, b in zip(expected, found, strict=True) if len(a)]
        shown = ", ".join(f"{row.min():.4f} / {row.mean():.4f}" for row in cosines)
        print(
            f"{directory}: {stored / 1e6:.1f} MB, open {opening:.0f} ms, picture {picture:.1f} ms, text {text:.2f} ms; "
            f"cosines {shown}",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""How fast a folder is indexed, and whether both cores are busy: `index` against decoding and encoding by turns.

python benchmarks/search/indexing.py [--photos DIR] [--model M] [--cost 0.03] [--count 200]

Without --photos it draws JPEGs of 12 megapixels; without --model it uses an encoder whose pictures cost --cost seconds
of one core each, in numpy, which leaves the other core free as a network's arithmetic does.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from clip_italian.encoder import Encoder, ImageLike, load
from clip_italian.images import find_images, open_image
from clip_italian.preprocess import Preprocess
from clip_italian.search.indexing import index


class CostlyEncoder:
    """Gives random unit vectors after a given time of one core's arithmetic for each picture."""

    name, dim, fingerprint, preprocess = "costly", 256, "0" * 64, Preprocess(224)

    def __init__(self, cost_s: float) -> None:
        self.cost_s = cost_s
        self.matrix = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)

    def encode_images(self, images: Iterable[ImageLike]) -> np.ndarray:
        """Return vectors of no meaning."""
        pixels = np.array([np.asarray(self.preprocess.square(open_image(image))).reshape(-1)[:256] for image in images])
        end = time.thread_time() + self.cost_s * len(pixels)
        while time.thread_time() < end:
            np.matmul(self.matrix, self.matrix)
        rows = pixels.astype(np.float32) + 1
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def encode_texts(self, texts: Iterable[str]) -> np.ndarray:
        """Texts have no part in this benchmark."""
        raise NotImplementedError


def draw_photos(folder: Path, count: int) -> None:
    """Write `count` JPEGs of 4000 × 3000 pixels; only their tails differ, which decoders do not read."""
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((4000, 3000), Image.Resampling.BICUBIC).save(folder / "0.jpg", quality=88)
    data = (folder / "0.jpg").read_bytes()
    for i in range(1, count):
        (folder / f"{i}.jpg").write_bytes(data + i.to_bytes(8))


def by_turns(folder: Path, encoder: Encoder, batch: int) -> int:
    """Decode a batch, encode it, and so on; returns the number of photos."""
    size, paths = getattr(encoder, "preprocess", Preprocess()).size, list(find_images(folder))
    for start in range(0, len(paths), batch):
        encoder.encode_images([open_image(path, min_side=size) for path in paths[start : start + batch]])
    return len(paths)


def measured(label: str, run: Callable[[], int]) -> float:
    """Run, print photos a second and cores in use, and return the seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(
        f"{label:<10} {count / wall:7.1f} photos/s   {cpu / wall:4.2f} cores busy of {os.cpu_count()}   {wall:6.1f} s"
    )
    return wall


def main() -> None:
    """Measure both ways on the same photos and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--cost", type=float, default=0.03, help="seconds a picture, without --model")
    parser.add_argument("--count", type=int, default=200, help="photos to draw, without --photos")
    parser.add_argument("--batch", type=int, default=32)
    options = parser.parse_args()
    encoder: Encoder = load(options.model) if options.model else CostlyEncoder(options.cost)
    with tempfile.TemporaryDirectory() as place:
        photos = options.photos or Path(place, "photos")
        if options.photos is None:
            photos.mkdir()
            draw_photos(photos, options.count)
        turns = measured("by turns", lambda: by_turns(photos, encoder, options.batch))
        album = Path(place, "x.album")
        both = measured("overlapped", lambda: index(photos, album, encoder, batch=options.batch).added)
    print(f"ratio      {turns / both:7.2f}× as fast overlapped (hashing and writing the album included)")


if __name__ == "__main__":
    main()

"""What a training step reads: pictures and texts, as far as the towers' fixed stems have carried them.

Where a stem does not learn, its output is computed once and kept on disk, so that an epoch costs only what learns.
Public names: ImageFeed, TextFeed, Views, Report, check_window, device_of, in_use, remove_kept, samples_hash, stem_hash.
"""

import contextlib
import itertools
import json
import math
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ..data.augment import AUGMENTATIONS
from ..data.captions import mirrorable
from ..data.sample import Sample
from ..data.seeded import generator
from ..errors import BadModel, BadRecipe, ClipItalianError
from ..files import atomic_write, sha256_parts, write_json
from ..images import open_image
from ..models.tokenizer import Tokenizer
from ..models.towers.base import FrozenImage, FrozenText, ImageTower, TextTower
from ..preprocess import Preprocess

Report = Callable[[str, int, int], None]  # what, done, total
CHUNK = 64
_KEPT = re.compile(r"[0-9a-f]{16}\.(npy|json)|(?P<part>\.[0-9a-f]{16}\.(npy|json)\.\w{8}\.part)")


@dataclass(frozen=True)
class Views:
    """How a picture is shown: augmentation by name, and whether a few views are kept or each epoch has its own.

    window: the smallest share of a kept map's side that a batch may see of it; with one, half the maps are mirrored.
    """

    augment: str = "none"
    kept: int | None = None
    seed: int = 0
    window: float | None = None

    @property
    def count(self) -> int:
        """How many kept views there are of a picture; 0 when every epoch draws anew."""
        return 1 if self.augment == "none" else self.kept or 0


class Squares(Dataset):
    """Decodes and augments; item (index, epoch) is a size × size × 3 uint8 array and whether it was mirrored."""

    def __init__(self, samples: Sequence[Sample], preprocess: Preprocess, views: Views) -> None:
        self.samples, self.preprocess, self.views = samples, preprocess, views
        self.mirrorable = np.array([mirrorable(sample) for sample in samples], bool)

    def __getitem__(self, place: tuple[int, int]) -> tuple[np.ndarray, bool]:
        index, epoch = place
        sample = self.samples[index]
        image = open_image(sample.image.read(), min_side=self.preprocess.size)
        rng = generator(self.views.seed, epoch, sample.key)
        chain = "none" if sample.exact else self.views.augment
        augment = AUGMENTATIONS[chain](rng, self.preprocess.size, flip=bool(self.mirrorable[index]))
        image, mirrored = augment(image)
        return np.asarray(self.preprocess.square(image)), mirrored


class ImageFeed:
    """Gives a tower's `body` its batches.

    With a stem and kept views, the stem's outputs lie in `folder` as float16, one file a view, written once and found
    again by what they depend on. Otherwise pictures are decoded anew by `workers` processes and the stem, if any, runs
    on the fly. A stem always runs as in use: without dropout, its running statistics left alone. With a window, each
    batch sees another part of the kept maps, each of them from a place of its own. Raises BadRecipe when there are
    none.
    """

    def __init__(
        self,
        samples: Sequence[Sample],
        tower: ImageTower,
        preprocess: Preprocess,
        views: Views,
        *,
        folder: Path,
        workers: int,
        bfloat16: bool,
        report: Report,
    ) -> None:
        check_window(tower, views)
        self.squares = Squares(samples, preprocess, views)
        self.tower, self.workers, self.bfloat16 = tower, workers, bfloat16
        self.views, self.length = views, len(samples)
        self.kept: list[np.ndarray] = []
        self.mirrored = np.zeros((views.count, len(samples)), bool)
        if tower.has_stem and views.count:
            for view in range(views.count):
                self.kept.append(self._keep(view, folder, report))

    def epoch(self, batches: Sequence[np.ndarray], epoch: int) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Yield (what `body` reads, which are mirrored) for batches of sample numbers."""
        if not self.kept:
            yield from self._fresh(batches, epoch)
            return
        for batch in batches:
            view = (epoch + batch) % self.views.count
            maps, mirrored = [self.kept[v][i] for v, i in zip(view, batch, strict=True)], self.mirrored[view, batch]
            if self.views.window:
                maps, turned = self._parts_of(maps, batch, epoch)
                mirrored = mirrored ^ turned
            yield _channels_last(torch.from_numpy(np.stack(maps)).to(device_of(self.tower))), mirrored

    def _parts_of(self, maps: list[np.ndarray], batch: np.ndarray, epoch: int) -> tuple[list[np.ndarray], np.ndarray]:
        """Cut a part of one size out of (c, h, w) maps and mirror some; returns them and which were mirrored."""
        assert self.views.window
        rng = generator(self.views.seed, epoch, self.squares.samples[batch[0]].key, "window")
        height, width = maps[0].shape[1:]
        down, across = (int(rng.integers(math.ceil(self.views.window * side), side + 1)) for side in (height, width))
        tops, lefts = (rng.integers(0, room + 1, len(maps)) for room in (height - down, width - across))
        turned = (rng.random(len(maps)) < 0.5) & self.squares.mirrorable[batch]
        parts = [map_[:, y : y + down, x : x + across] for map_, y, x in zip(maps, tops, lefts, strict=True)]
        return [part[..., ::-1] if turn else part for part, turn in zip(parts, turned, strict=True)], turned

    def _fresh(self, batches: Sequence[np.ndarray], epoch: int) -> Iterator[tuple[Tensor, np.ndarray]]:
        places = [[(int(index), epoch) for index in batch] for batch in batches]
        loader: DataLoader = DataLoader(
            self.squares,
            batch_sampler=places,
            num_workers=self.workers,
            collate_fn=_collate,
            worker_init_fn=_leave_interrupts,
            # With the common generator, every new loader would draw from it, and a resumed run's dropout would differ.
            generator=torch.Generator(),
        )
        try:
            for pixels, mirrored in loader:
                normalised = torch.from_numpy(self.squares.preprocess.normalise(pixels))
                yield self._stem(normalised.to(device_of(self.tower))), mirrored
        except ClipItalianError as error:
            # A worker's error comes with its whole traceback; a person needs its last line.
            message = str(error).strip().rpartition("\n")[2]
            raise type(error)(message.removeprefix(f"{type(error).__module__}.{type(error).__name__}: ")) from None

    def _stem(self, pixels: Tensor) -> Tensor:
        if not self.tower.has_stem:
            return pixels
        with in_use(self.tower, self.bfloat16):
            return self.tower.stem(pixels)

    def _keep(self, view: int, folder: Path, report: Report) -> np.ndarray:
        preprocess = json.dumps(self.squares.preprocess.to_json())
        shown = [self.views.augment, self.views.seed, view, self.bfloat16, preprocess]
        described = [samples_hash(self.squares.samples), stem_hash(self.tower), *shown]
        name = sha256_parts(str(part).encode() for part in described)[:16]
        path, flags = folder / f"{name}.npy", folder / f"{name}.json"
        if not flags.is_file():
            self._compute(view, path, flags, report)
        self.mirrored[view] = json.loads(flags.read_text())
        return np.load(path, mmap_mode="r")

    def _compute(self, view: int, path: Path, flags: Path, report: Report) -> None:
        chunks = np.array_split(np.arange(self.length), -(-self.length // CHUNK))
        mirrored: list[bool] = []

        def rows() -> Iterator[Tensor]:
            for hidden, flipped in self._fresh(chunks, view):
                yield hidden
                mirrored.extend(flipped.tolist())
                report(f"features, view {view + 1} of {self.views.count}", len(mirrored), self.length)

        _write_rows(path, rows())
        write_json(flags, mirrored)  # its presence says that the features are whole


class TextFeed:
    """Gives a text tower's `body` its batches; with a stem, each distinct text goes through it once.

    texts: all that may be asked for. Outputs lie in `folder` as float16, one after another; without a stem the texts'
    pieces are kept where the tower is.
    """

    def __init__(
        self,
        texts: Sequence[str],
        tower: TextTower,
        tokenizer: Tokenizer,
        *,
        folder: Path,
        bfloat16: bool,
        report: Report,
    ) -> None:
        self.tower, self.tokenizer, self.bfloat16 = tower, tokenizer, bfloat16
        self.places: dict[str, tuple[int, int]] = {}
        self.lengths: np.ndarray | None = None
        distinct = sorted(set(texts), key=lambda text: (len(text), text))
        if tower.has_stem:
            self.packed = self._keep(distinct, folder, report)
        elif distinct:
            self.rows = {text: row for row, text in enumerate(distinct)}
            ids, mask = tokenizer.encode(distinct)
            self.ids, self.lengths = ids.to(device_of(tower)), mask.sum(1).numpy()

    def batch(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return (what `body` reads, its mask)."""
        device = device_of(self.tower)
        if not self.tower.has_stem:
            return self._pieces(texts, device)
        places = [self.places[text] for text in texts]
        longest = max(length for _, length in places)
        hidden = torch.zeros(len(texts), longest, self.packed.shape[1])
        mask = torch.zeros(len(texts), longest, dtype=torch.bool)
        for row, (start, length) in enumerate(places):
            hidden[row, :length] = torch.from_numpy(self.packed[start : start + length].astype(np.float32))
            mask[row, :length] = True
        return hidden.to(device), mask.to(device)

    def _pieces(self, texts: Sequence[str], device: torch.device) -> tuple[Tensor, Tensor]:
        assert self.lengths is not None
        rows = np.array([self.rows[text] for text in texts])
        lengths = self.lengths[rows]
        longest = int(lengths.max())
        ids = self.ids[torch.from_numpy(rows).to(device)][:, :longest]
        return ids, torch.arange(longest, device=device) < torch.from_numpy(lengths).to(device)[:, None]

    def _keep(self, texts: list[str], folder: Path, report: Report) -> np.ndarray:
        stem = stem_hash(self.tower)
        described = [stem, self.tokenizer.backend.to_str(), self.bfloat16, *texts]
        path = folder / f"{sha256_parts(part.encode() for part in map(str, described))[:16]}.npy"
        lengths_path = path.with_suffix(".json")
        if not lengths_path.is_file():
            self._compute(texts, path, lengths_path, report)
        start = 0
        for text, length in zip(texts, json.loads(lengths_path.read_text()), strict=True):
            self.places[text] = (start, length)
            start += length
        return np.load(path, mmap_mode="r")

    def _compute(self, texts: list[str], path: Path, lengths_path: Path, report: Report) -> None:
        lengths: list[int] = []

        def rows() -> Iterator[Tensor]:
            for first in range(0, len(texts), CHUNK * 4):
                chunk = texts[first : first + CHUNK * 4]
                ids, mask = (tensor.to(device_of(self.tower)) for tensor in self.tokenizer.encode(chunk))
                with in_use(self.tower, self.bfloat16):
                    hidden, mask = self.tower.stem(ids, mask)
                yield hidden[mask]
                lengths.extend(mask.sum(1).tolist())
                report("text features", first + len(chunk), len(texts))

        _write_rows(path, rows())
        write_json(lengths_path, lengths)


def check_window(tower: ImageTower, views: Views) -> None:
    """Raise BadRecipe when views have a window, but of this tower no maps are kept that it could show parts of."""
    if views.window and (isinstance(tower, FrozenImage) or not tower.has_stem or not views.count):
        raise BadRecipe("window: only kept maps have parts; let the image tower have a cut and learn")


def remove_kept(folder: Path, *, only_parts: bool = False) -> None:
    """Remove the outputs that feeds keep in `folder`, and the folder itself when nothing else lies there.

    only_parts: remove only what a process that was killed left half-written.
    """
    for path in folder.glob("*"):
        found = _KEPT.fullmatch(path.name)
        if found and (found["part"] or not only_parts):
            path.unlink()
    with contextlib.suppress(OSError):
        folder.rmdir()


def samples_hash(samples: Sequence[Sample]) -> str:
    """Hash what training depends on in a list of samples: keys, captions, sizes of the pictures' files."""
    parts = (f"{s.key}\0{[(c.language, c.text) for c in s.captions]}\0{s.queries}\0{s.image.size}" for s in samples)
    return sha256_parts(part.encode("utf-8", "surrogateescape") for part in parts)


def stem_hash(part: ImageTower | TextTower) -> str:
    """Hash the weights that a part's stem uses, and where it ends."""
    whole = isinstance(part, FrozenImage | FrozenText)
    tensors = part.state_dict()
    names = sorted(tensors) if whole else sorted(part.fixed)
    weights = (tensors[name].detach().cpu().contiguous().numpy().tobytes() for name in names)
    spec = {name: value for name, value in part.spec.items() if name not in ("drop", "dropout")}  # in training alone
    settings = json.dumps([spec, getattr(part, "keep_tokens", None)], sort_keys=True)
    return sha256_parts([settings.encode(), *weights])


def device_of(part: nn.Module) -> torch.device:
    """Return where a part's weights lie; a part without any is on the processor."""
    return next((parameter.device for parameter in part.parameters()), torch.device("cpu"))


@contextlib.contextmanager
def in_use(part: nn.Module, bfloat16: bool) -> Iterator[None]:
    """Run a part as it runs in a finished model, without gradients, and put each module's mode back behind it."""
    training = [module for module in part.modules() if module.training]
    part.eval()
    try:
        with torch.no_grad(), torch.autocast(device_of(part).type, torch.bfloat16, enabled=bfloat16):
            yield
    finally:
        for module in training:
            module.training = True


def _write_rows(path: Path, chunks: Iterator[Tensor]) -> None:
    """Write (k, …) chunks as one float16 .npy file, whole or not at all. Raises BadModel for numbers float16 lacks."""
    count, first = 0, next(chunks)
    with atomic_write(path) as stream:
        _write_header(stream, 0, first)
        for chunk in itertools.chain([first], chunks):
            half = chunk.to(torch.float16).cpu().numpy()
            if not np.isfinite(half).all():
                raise BadModel("the part that does not learn gives numbers over 65504 or none at all; train all of it")
            stream.write(half.tobytes())
            count += len(half)
        stream.seek(0)
        _write_header(stream, count, first)


def _write_header(stream: IO[bytes], count: int, like: Tensor) -> None:
    # numpy leaves room in a header for the first axis to grow, so that both have the same length.
    shape = (count, *like.shape[1:])
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f2", "fortran_order": False, "shape": shape})


def _leave_interrupts(worker: int) -> None:
    """Let ^C reach the main process alone, which stops its workers when it has ended its step."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _collate(items: list[tuple[np.ndarray, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.stack([pixels for pixels, _ in items]), np.array([mirrored for _, mirrored in items], bool)


def _channels_last(hidden: Tensor) -> Tensor:
    # Kept features were written in (n, c, h, w) order; convolutions want the channels last.
    values = hidden.float()
    return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values

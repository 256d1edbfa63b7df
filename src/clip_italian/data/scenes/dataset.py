"""Scenes as a data set: in memory, or as JSON lines and tar shards on disk.

Public names: corpus, write, describe, Written, Progress.
"""

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from ...files import atomic_write, lock
from ..sample import Caption, ImageRef, Sample
from .generate import scenes
from .scene import Kind, Scene, hard_negatives
from .vocabulary import class_names

Progress = Callable[[int, int], None]  # pictures drawn so far, of how many

SHARD = 10_000  # pictures in a tar
JPEG_QUALITY = 95
_CHUNK = 64  # pictures sent to a process at once


@dataclass(frozen=True)
class Written:
    """What `write` left on disk: the JSON lines, their tars, and for single objects the list of class names."""

    lines: Path
    shards: tuple[Path, ...]
    classes: Path | None


def corpus(
    n: int,
    *,
    split: str = "train",
    seed: int = 0,
    size: int = 112,
    kind: Kind | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> list[Sample]:
    """Draw n scenes into memory, each as the JPEG that `write` would store, about 8 kB at 112 pixels.

    size: pixels a side. kind: "single", "group" or "relation" alone; with "single" the classes come in turn and
    `Sample.label` points into `class_names()`. jobs: processes that draw. `Sample.extra` holds what the JSON line
    would. Raises ValueError on an unknown split or kind.

    >>> corpus(2, seed=3)[1].texts("it")                                # doctest: +SKIP
    ('tre stelle blu', 'ci sono tre stelle blu')
    """
    samples = []
    for done, (scene, picture) in enumerate(_pictures(scenes(n, split=split, seed=seed, kind=kind), size, jobs), 1):
        image = ImageRef(Path("scenes"), f"{scene.key}.jpg", data=picture)
        captions = tuple(Caption(text) for text in scene.captions)
        samples.append(Sample(scene.key, image, captions, label=scene.label, extra=describe(scene, size)))
        if progress:
            progress(done, n)
    return samples


def write(
    out: Path | str,
    n: int,
    *,
    split: str = "train",
    seed: int = 0,
    size: int = 112,
    kind: Kind | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Written:
    """Write n scenes to the folder `out`: scenes-SPLIT.jsonl and scenes-SPLIT-00.tar, …, or scenes-SPLIT-KIND.

    Splits share a folder. The files appear when all are whole, the JSON lines last, and replace earlier ones of the
    same name; the same arguments give the same bytes. Single objects also get a .cls beside each picture (WebDataset)
    and their class names in scenes-classes.txt. Other arguments as for `corpus`. Raises Busy when another process is
    writing there, OSError on a full disk, ValueError on an unknown split or kind.
    """
    out = Path(out)
    name = f"scenes-{split}-{kind}" if kind else f"scenes-{split}"
    paths = [out / f"{name}-{shard:02d}.tar" for shard in range(-(-n // SHARD))]
    drawn = _pictures(scenes(n, split=split, seed=seed, kind=kind), size, jobs)
    with lock(out / f".{name}.lock", "writing scenes"):
        _remove(*out.glob(f".{name}.jsonl.*.part"), *out.glob(f".{name}-[0-9]*.tar.*.part"))
        with atomic_write(out / f"{name}.jsonl", "w") as lines, ExitStack() as shards:
            tars: list[tarfile.TarFile] = []
            for number, (scene, picture) in enumerate(drawn):
                if number % SHARD == 0:
                    stream = shards.enter_context(atomic_write(paths[len(tars)]))
                    tars.append(shards.enter_context(tarfile.open(fileobj=stream, mode="w")))
                member = f"{number:06d}.jpg"
                _add(tars[-1], member, picture)
                if kind == "single":
                    _add(tars[-1], f"{number:06d}.cls", str(scene.label).encode())
                lines.write(_line(f"{paths[len(tars) - 1].name}#{member}", scene, size))
                if progress:
                    progress(number + 1, n)
        _remove(*set(out.glob(f"{name}-[0-9]*.tar")).difference(paths))
        classes = _write_classes(out) if kind == "single" else None
    return Written(out / f"{name}.jsonl", tuple(paths), classes)


def describe(scene: Scene, size: int) -> dict[str, Any]:
    """Return what the JSON line of a scene holds beside its captions; `make(**described["scene"])` makes it again."""
    described: dict[str, Any] = {
        "kind": scene.kind,
        "relation": scene.relation,
        "objects": scene.objects(size),
        "hard_negatives": [list(kind) for kind in hard_negatives(scene)],
        "scene": {"index": scene.index, "split": scene.split, "seed": scene.seed, "kind": scene.asked},
    }
    if scene.label is not None:
        described["label"] = scene.label
    return described


def _pictures(drawn: Iterable[Scene], size: int, jobs: int) -> Iterator[tuple[Scene, bytes]]:
    """Yield every scene with its JPEG, in order."""
    if jobs == 1:
        for scene in drawn:
            yield scene, _jpeg(scene, size)
        return
    listed = list(drawn)
    # Started afresh rather than forked: the caller may hold threads, as torch does.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        yield from zip(listed, pool.map(partial(_jpeg, size=size), listed, chunksize=_CHUNK), strict=True)


def _jpeg(scene: Scene, size: int) -> bytes:
    stream = io.BytesIO()
    # Colours of small objects would bleed at the usual half resolution.
    scene.draw(size).save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return stream.getvalue()


def _remove(*leftovers: Path) -> None:
    for path in leftovers:
        path.unlink()


def _write_classes(out: Path) -> Path:
    path = out / "scenes-classes.txt"
    with atomic_write(path, "w") as names:
        names.writelines(f"{label}\n" for label in class_names())
    return path


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # no owner, no time: the same scenes make the same bytes
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _line(image_path: str, scene: Scene, size: int) -> str:
    line = {"image_path": image_path, "captions": list(scene.captions), **describe(scene, size)}
    return json.dumps(line, ensure_ascii=False) + "\n"

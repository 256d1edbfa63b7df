"""What a student reads: captions, queries, phrases cut out of them, class names in sentences, lines of text files.

Public names: read_lines, TextPool, gather, Pieces, padded, tokenised.
"""

import gzip
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..data.captions import swap_left_right
from ..data.class_names import ClassName
from ..data.sample import Sample
from ..errors import BadRecord
from ..models.tokenizer import Tokenizer
from .distil_recipe import Kind, StudentTexts
from .feeds import Report

LONGEST = 20  # words of a line; longer ones say nothing that a picture shows
CHUNK = 8192
WIDTHS = 8  # texts of a step are padded to multiples of this, so that a GPU meets few shapes
_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*['’]?")
_FUNCTION = frozenset(
    """a ad agli ai al all' alla alle allo an and are at by c'è che col con d' da dagli dai dal dall' dalla dalle degli
    dei del dell' della delle dello di e ed era for from gli ha has he her his i il in is it its l' la le lo mentre ne
    nei nel nell' nella nelle o of on or per si some sono su sua sui sul sull' sulla sulle suo that the their there to
    tra un un' una uno while with è""".split()  # noqa: SIM905 (a page of quotes says no more)
)


def read_lines(source: str) -> list[str]:
    """Read further texts: a line each, or, of a .tsv or .tab, each column that holds letters; .gz may follow.

    "table.tsv#2,3" takes only those columns, counted from 1. Texts of over 20 words are left out. Raises BadRecord.
    """
    name, _, wanted = source.partition("#")
    path, columns = Path(name), [int(number) - 1 for number in wanted.split(",") if number]
    table = path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab"))
    found: dict[str, None] = {}
    for line in _text(path):
        parts = line.split("\t") if table else [line]
        for part in [parts[column] for column in columns if column < len(parts)] if columns else parts:
            text = " ".join(part.split())
            if _WORD.search(text) and len(text.split()) <= LONGEST:
                found[text] = None
    if not found:
        raise BadRecord(f"{source}: no texts in it")
    return list(found)


@dataclass(frozen=True)
class TextPool:
    """All distinct texts, and where the kinds and the pictures' own lie among them.

    kinds: places in `texts` of each kind. own: (2, n, most) int64, places of each picture's texts, plain and mirrored;
    weight: (n, most) float64, how often each is drawn, 0 where there is none. prototypes: places of the texts
    around each class's first name.
    """

    texts: list[str]
    kinds: dict[Kind, np.ndarray]
    own: np.ndarray
    weight: np.ndarray
    prototypes: list[list[int]]

    def draw_own(self, pictures: np.ndarray, mirrored: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `count` texts of each picture, different ones as long as it has them; returns (k, count) places."""
        with np.errstate(divide="ignore"):
            keys = np.log(self.weight[pictures]) + rng.gumbel(size=(len(pictures), self.weight.shape[1]))
        order = np.argsort(-keys, axis=1)[:, :count]
        if order.shape[1] < count:
            order = np.repeat(order[:, :1], count, 1)
        missing = np.take_along_axis(self.weight[pictures], order, 1) == 0
        order = np.where(missing, order[:, :1], order)
        return np.take_along_axis(self.own[mirrored.astype(int), pictures], order, 1)

    def draw_others(self, count: int, shares: dict[Kind, float], rng: np.random.Generator) -> np.ndarray:
        """Draw places of any texts, by kind."""
        kinds = [kind for kind in self.kinds if shares.get(kind, 0) > 0] or list(self.kinds)
        weight = np.array([shares.get(kind, 0) or 1e-9 for kind in kinds])
        numbers = rng.multinomial(count, weight / weight.sum())
        return np.concatenate([rng.choice(self.kinds[kind], n) for kind, n in zip(kinds, numbers, strict=True)])


def gather(
    samples: Sequence[Sample],
    settings: StudentTexts,
    lines: Iterable[Sequence[str]],
    classes: Sequence[ClassName],
    rng: np.random.Generator,
) -> TextPool:
    """Put the pool together; only captions in the recipe's languages count.

    lines: further texts, by their file. Raises BadRecord when there is no caption.
    """
    places: dict[str, int] = {}
    kinds: dict[Kind, list[int]] = {"captions": [], "queries": [], "phrases": [], "labels": [], "lines": []}

    def add(kind: Kind, text: str) -> int:
        if text not in places:
            places[text] = len(places)
            kinds[kind].append(places[text])
        return places[text]

    own, weight = [], []
    spoken: list[tuple[str, str]] = []
    for sample in samples:
        pairs = _weighted(sample, settings)
        own.append([(add(k, text), add(k, swap_left_right(text))) for k, text, _ in pairs])
        weight.append([share for _, _, share in pairs])
        spoken += [(caption.text, caption.language) for caption in sample.captions]
    if not any(own):
        raise BadRecord(f"no picture has a caption in {', '.join(settings.languages)}: nothing to learn to read from")
    prototypes = [[add("labels", text) for text in one.form.texts()] for one in classes]
    for one in classes:
        for text in sorted(one.texts()):  # a set's own order differs from run to run
            add("labels", text)
    free = max(0, settings.most - len(places))
    extra: list[tuple[Kind, str]] = [("phrases", text) for text in sorted(set(_phrases(spoken, settings, rng)))]
    for source in lines:
        chosen = rng.permutation(len(source))[: settings.lines]
        extra += [("lines", source[place]) for place in sorted(chosen)]
    for place in rng.permutation(len(extra))[:free]:
        add(*extra[place])
    most = max(map(len, own))
    return TextPool(
        list(places),
        {kind: np.array(found, np.int64) for kind, found in kinds.items() if found}
        | {"captions": _by_language(spoken, places, settings)},
        np.array([[[*(pair[side] for pair in row), *[0] * (most - len(row))] for row in own] for side in (0, 1)]),
        np.array([[*row, *[0.0] * (most - len(row))] for row in weight]),
        prototypes,
    )


@dataclass(frozen=True)
class Pieces:
    """Texts as piece ids on a device: ids (n, longest) int32, lengths (n,) int64 there, and as numpy."""

    ids: Tensor
    lengths: Tensor
    counts: np.ndarray

    def batch(self, places: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """Return ids (k, width) int64 and mask (k, width) bool of texts none of which is longer than `width`."""
        mask = torch.arange(width, device=self.ids.device) < self.lengths[places, None]
        return self.ids[places, :width].long(), mask


def padded(pieces: Pieces, places: np.ndarray) -> int:
    """Return the width to which the texts at `places` are padded."""
    return min(-(-int(pieces.counts[places].max()) // WIDTHS) * WIDTHS, pieces.ids.shape[1])


def tokenised(texts: Sequence[str], tokenizer: Tokenizer, device: torch.device, report: Report) -> Pieces:
    """Turn all texts into pieces once."""
    ids = torch.ones((len(texts), tokenizer.max_length), dtype=torch.int32)  # what stands there is masked
    counts = np.zeros(len(texts), np.int64)
    for start in range(0, len(texts), CHUNK):
        found, mask = tokenizer.encode(texts[start : start + CHUNK])
        ids[start : start + len(found), : found.shape[1]] = found.int()
        counts[start : start + len(found)] = mask.sum(1).numpy()
        report("reading texts", start + len(found), len(texts))
    return Pieces(ids[:, : int(counts.max())].contiguous().to(device), torch.from_numpy(counts).to(device), counts)


def _weighted(sample: Sample, settings: StudentTexts) -> list[tuple[Kind, str, float]]:
    """Return a picture's texts, each with how often it is drawn."""
    found: list[tuple[Kind, str, float]] = []
    for language, weight in settings.languages.items():
        texts = sample.texts(language)
        found += [("captions", text, weight / len(texts)) for text in texts if weight > 0]
    if not found:
        return []
    whole = sum(weight for _, _, weight in found)
    share = settings.queries / (1 - settings.queries) * whole if sample.queries and settings.queries else 0
    return found + [("queries", text, share / len(sample.queries)) for text in sample.queries if share]


def _by_language(spoken: Sequence[tuple[str, str]], places: dict[str, int], settings: StudentTexts) -> np.ndarray:
    """Return captions' places, those of a language that is drawn more often as many times more."""
    least = min(weight for weight in settings.languages.values() if weight > 0)
    times = {language: round(weight / least) for language, weight in settings.languages.items()}
    found = {(text, language) for text, language in spoken if times.get(language)}
    return np.array([places[text] for text, language in sorted(found) for _ in range(times[language])], np.int64)


def _phrases(captions: Sequence[tuple[str, str]], settings: StudentTexts, rng: np.random.Generator) -> Iterator[str]:
    """Cut beginnings and windows of one to four words out of each caption, and function words off their ends."""
    most = max(settings.languages.values())
    for caption, language in captions:
        words = _WORD.findall(caption)
        each = round(settings.phrases * settings.languages.get(language, 0) / most)
        for number, draw in enumerate(rng.random((each, 2))):
            length = 1 + int(draw[0] * 4)
            # Every other one is a beginning, article included, as long as its first noun may be.
            start = 0 if number % 2 == 0 else int(draw[1] * max(1, len(words) - length + 1))
            part = words[start : start + length + (number % 2 == 0)]
            while part and part[-1].lower() in _FUNCTION:
                part.pop()
            while start and part and part[0].lower() in _FUNCTION:
                part.pop(0)
            if part:
                yield " ".join(part).replace("' ", "'").lower()


def _text(path: Path) -> list[str]:
    if not path.is_file():
        raise BadRecord(f"{path}: no such file; check the name")
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig").splitlines()
    except (UnicodeDecodeError, EOFError, gzip.BadGzipFile) as error:
        raise BadRecord(f"{path}: cannot be read as text ({error}); save it as UTF-8") from error

"""Everything a card measures, from data sets as people name them on a command line.

Public names: Source, parse_source, Card, measure, ASKED.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...data.readers import read
from ...data.sample import Sample
from ...encoder import Encoder
from ...errors import BadLabels, BadRecord
from .. import scenes
from ..encoding import Progress
from ..labels import default_templates, label_ids, read_labels, with_classes
from ..report import Result
from ..retrieval import evaluate_queries
from ..zero_shot import evaluate_zero_shot
from .captions import Captions, rank_captions
from .gender import Neutral, Symmetry, neutral_searches, symmetry

SCENE_SIZE = 224  # pixels a side of the drawn scenes
# What drawn scenes are asked about, in words.
ASKED = {
    "colour": "colour",
    "count 1-4": "count, 1 to 4",
    "count 5-6": "count, 5 and 6",
    "left_right": "left or right",
    "above_below": "above or below",
}


@dataclass(frozen=True)
class Source:
    """A data set: what the card calls it, where it lies, and what goes with it (class names, or a folder of photos)."""

    name: str
    path: Path
    along: str = ""


@dataclass(frozen=True)
class Card:
    """What was measured, by the data sets' names.

    captions: retrieval with all that follows from it. classes: zero-shot. queries: typed queries. symmetry, neutral:
    women and men, of those caption sets that say enough of them. scenes: drawn ones.
    """

    captions: Mapping[str, Captions]
    classes: Mapping[str, Result]
    queries: Mapping[str, Result]
    symmetry: Mapping[str, Symmetry]
    neutral: Mapping[str, Sequence[Neutral]]
    scenes: scenes.Measured | None


def parse_source(text: str) -> Source:
    """Read "NAME=PATH" or "NAME:ALONG=PATH".

    Raises BadRecord when there is no name or no path.

    >>> parse_source("album:imagenet=foto/album")
    Source(name='album', path=PosixPath('foto/album'), along='imagenet')
    """
    name, _, path = text.partition("=")
    name, _, along = name.partition(":")
    if not name or not path:
        raise BadRecord(
            f"{text!r}: write NAME=PATH for captions, NAME:CLASSES=PATH for pictures with classes (CLASSES may be left "
            "out where NAME is a set of names), NAME:FOLDER=PATH for typed queries (a .tsv) over a folder of photos"
        )
    return Source(name, Path(path), along)


def measure(
    encoder: Encoder, sources: Sequence[Source], *, with_scenes: bool = True, progress: Progress | None = None
) -> Card:
    """Measure each data set by its kind, and drawn scenes.

    A .tsv holds typed queries over the folder `along`, or, without it, the folder beside it that is named like it
    without "-queries". Pictures with captions are retrieved. Others are named from the class names `along`, or from the
    set of names that the data set is called after; with_classes says where their classes come from. Raises BadRecord,
    BadLabels, BadModel.
    """
    names = [source.name for source in sources]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise BadRecord(f"{repeated[0]}: two data sets of this name; give each its own")
    captions, classes, queries = {}, {}, {}
    for source in sources:
        if source.path.suffix == ".tsv":
            queries[source.name] = evaluate_queries(encoder, _photos(source), source.path, progress=progress)
            continue
        samples = read(source.path)
        if any(sample.captions for sample in samples):
            captions[source.name] = rank_captions(encoder, samples, progress=progress)
        else:
            classes[source.name] = _zero_shot(encoder, source, samples, progress)
    balance, neutral = {}, {}
    for name, found in captions.items():
        if (
            both := symmetry(encoder, [ranked.text for ranked in found.ranked], found.owners, found.gallery)
        ) is not None:
            balance[name] = both
        if searches := neutral_searches(encoder, found.texts, found.gallery):
            neutral[name] = searches
    drawn = scenes.measure(encoder, SCENE_SIZE, progress=progress) if with_scenes else None
    return Card(captions, classes, queries, balance, neutral, drawn)


def _zero_shot(encoder: Encoder, source: Source, samples: Sequence[Sample], progress: Progress | None) -> Result:
    labels = source.along or source.name
    try:
        names = read_labels(labels)
    except BadLabels as error:
        raise BadLabels(
            f"{source.name}: its pictures have no captions, and no class names go with it: {error}"
        ) from error
    classed = with_classes(samples, source.path, names, ids=label_ids(labels))
    return evaluate_zero_shot(encoder, classed, names, default_templates(labels), progress=progress)


def _photos(source: Source) -> Path:
    folder = Path(source.along) if source.along else source.path.with_name(source.path.stem.removesuffix("-queries"))
    if not folder.is_dir():
        raise BadRecord(
            f"{source.path}: its photos are looked for in {folder}, where no folder is; name it: NAME:FOLDER="
        )
    return folder

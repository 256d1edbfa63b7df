"""A sample of translations to rate: so many of each source and engine, the same ones every time.

Public names: Translation, Sample, translations, draw, save, open_sample.
"""

import heapq
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ...errors import BadRecord
from ...files import sha256_parts, write_json
from ..record import Record
from .plan import QualityPlan

_FORMAT = "clip-italian rating sample 1"


@dataclass(frozen=True)
class Translation:
    """An English text and its Italian one. id: depends on all the rest, and no spreadsheet takes it for a number."""

    id: str
    english: str
    italian: str
    source: str
    engine: str

    @property
    def stratum(self) -> str:
        """Return the source and the engine in one name."""
        return f"{self.source} × {self.engine or 'unknown'}"


@dataclass(frozen=True)
class Sample:
    """Translations in the order of the sheet, and how many there were to draw from in each stratum."""

    translations: tuple[Translation, ...]
    population: Mapping[str, int]

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits that tell this sample from any other."""
        return sha256_parts([translation.id.encode() for translation in self.translations])[:12]


def translations(records: Iterable[Record]) -> Iterator[Translation]:
    """Yield every translated Italian caption of the records whose English text is known."""
    for record in records:
        for caption in record.captions:
            if caption.origin == "translated" and caption.language == "it" and caption.original:
                yield translation(caption.original, caption.text, source=record.source, engine=caption.engine)


def translation(english: str, italian: str, *, source: str, engine: str) -> Translation:
    """Return the pair with its id; halves of a character (lone surrogates), which no file can hold, become "?"."""
    english, italian = (text.encode("utf-8", "replace").decode() for text in (english, italian))
    digest = sha256_parts([text.encode() for text in (source, engine, english, italian)])
    return Translation(f"t{digest[:15]}", english, italian, source, engine)


def draw(found: Iterable[Translation], plan: QualityPlan) -> Sample:
    """Draw `plan.sample` translations: `plan.at_least` of each stratum, the rest in proportion to their numbers.

    Which ones depends on their ids and the seed alone, not on their order; equal pairs are drawn once. Holds no more
    than `plan.sample` translations of each stratum, whatever the stream. The sheet's order mixes the strata, so that a
    rater does not know which engine is next. Raises BadRecord when there is nothing to draw.
    """
    nearest: dict[str, list[tuple[int, str, Translation]]] = {}  # per stratum, a heap with the farthest one on top
    held: dict[str, set[str]] = {}
    population: dict[str, int] = {}
    for one in found:
        heap, ids = nearest.setdefault(one.stratum, []), held.setdefault(one.stratum, set())
        population[one.stratum] = population.get(one.stratum, 0) + 1
        if one.id in ids:
            continue
        entry = (-_place(one.id, plan.seed), one.id, one)
        if len(heap) < plan.sample:
            heapq.heappush(heap, entry)
            ids.add(one.id)
        elif entry > heap[0]:
            ids.remove(heapq.heapreplace(heap, entry)[1])
            ids.add(one.id)
    if not nearest:
        raise BadRecord("no translated caption with a known English text; a rating sheet needs both")
    sizes = {stratum: len(heap) for stratum, heap in nearest.items()}
    shares = _allocate(population, sizes, plan)
    chosen = [entry for stratum, heap in nearest.items() for entry in sorted(heap, reverse=True)[: shares[stratum]]]
    order = sorted(chosen, key=lambda entry: entry[:2], reverse=True)
    return Sample(tuple(one for _, _, one in order), dict(sorted(population.items())))


def _place(identity: str, seed: int) -> int:
    return int(sha256_parts([str(seed).encode(), identity.encode()])[:16], 16)


def _allocate(population: Mapping[str, int], sizes: Mapping[str, int], plan: QualityPlan) -> dict[str, int]:
    """Give each stratum `at_least` places, then each place left to the one farthest behind its proportional share."""
    strata = sorted(population, key=lambda stratum: (-population[stratum], stratum))
    total = min(plan.sample, sum(sizes.values()))
    floor = min(plan.at_least, total // len(strata))
    shares = {stratum: min(floor, sizes[stratum]) for stratum in strata}
    people = sum(population.values())
    wanted = {stratum: total * population[stratum] / people for stratum in strata}
    for _ in range(total - sum(shares.values())):
        open_ones = [stratum for stratum in strata if shares[stratum] < sizes[stratum]]
        shares[max(open_ones, key=lambda stratum: wanted[stratum] - shares[stratum])] += 1
    return shares


def save(sample: Sample, path: Path) -> None:
    """Write the sample as JSON, with what raters do not see: the source and engine of each translation."""
    rows = [asdict(translation) for translation in sample.translations]
    write_json(path, {"format": _FORMAT, "population": dict(sample.population), "translations": rows})


def open_sample(path: Path) -> Sample:
    """Read what `save` wrote. Raises BadRecord, OSError."""
    try:
        value = json.loads(path.read_text("utf-8"))
        if value["format"] != _FORMAT:
            raise BadRecord(f"{path}: not a rating sample of this version (format {value['format']!r})")
        rows = tuple(Translation(**row) for row in value["translations"])
        return Sample(rows, {str(stratum): int(count) for stratum, count in value["population"].items()})
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadRecord(
            f"{path}: not a rating sample ({error}); give the .json that was written with the sheet"
        ) from None

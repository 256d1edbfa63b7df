"""Filled sheets read back: how good the translations are, and how far their raters agree.

Public names: Ratings, Summary, Quality, read_sheets, sample_of, summarize.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import BadRecord, shortened
from .agreement import Agreement, gwet, two_sided_t
from .cells import COLUMNS, unguarded
from .plan import QualityPlan
from .sample import Sample, Translation

SCALE = (1, 2, 3, 4)  # from "the meaning is lost" to "good", as in the paper


@dataclass(frozen=True)
class Ratings:
    """What the raters said of a sample. values: (translations, raters) float64, NaN where one did not rate."""

    sample: Sample
    raters: tuple[str, ...]
    values: np.ndarray
    comments: dict[str, dict[str, str]]  # translation id → rater → comment


@dataclass(frozen=True)
class Summary:
    """The ratings of some translations. mean: over translations with a rating, each the mean of its ratings.

    low, high: ends of the mean's 95 % interval (Student's t over translations), None for fewer than two; distribution:
    how many ratings of each value; agreement: None where no two translations are rated or none twice.
    """

    translations: int
    rated: int
    ratings: int
    mean: float | None
    low: float | None
    high: float | None
    distribution: dict[int, int]
    agreement: Agreement | None


@dataclass(frozen=True)
class Quality:
    """Summaries of all, of each source and engine, and of each rater (alone, so without agreement).

    population_mean: the strata's means, each weighted by how many translations the corpus has of it; the overall mean
    favours small strata, which the sample has more of than their share. None when a stratum has no rating.
    """

    overall: Summary
    population_mean: float | None
    strata: dict[str, Summary]
    raters: dict[str, Summary]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return asdict(self)


def read_sheets(sample: Sample, paths: Sequence[Path]) -> Ratings:
    """Read one filled CSV per rater, who is called after the file.

    Rows may be missing or empty: not rated. Reads what spreadsheets make of the file too: semicolons or tabs between
    cells, "3,0" for 3. Raises BadRecord with file and line for a rating that is none of 1 to 4, an id that the sample
    has not or that comes twice, a sheet of another sample, a column missing, bytes that are not UTF-8; OSError.
    """
    if not paths:
        raise BadRecord("no filled sheet to read; give one CSV per rater")
    row_of = {one.id: i for i, one in enumerate(sample.translations)}
    values = np.full((len(row_of), len(paths)), math.nan)
    comments: dict[str, dict[str, str]] = {}
    raters = _names(paths)
    for column, (path, rater) in enumerate(zip(paths, raters, strict=True)):
        rows = _rows(path)
        _check_sample(path, rows, set(row_of))
        seen: dict[str, int] = {}
        for line, row in rows:
            if row["id"] in seen:
                raise BadRecord(f"{path}:{line}: id {row['id']} stands in line {seen[row['id']]} already; delete one")
            seen[row["id"]] = line
            values[row_of[row["id"]], column] = _rating(path, line, row["rating"])
            if row["comment"].strip():
                comments.setdefault(row["id"], {})[rater] = unguarded(row["comment"]).strip()
    return Ratings(sample, raters, values, comments)


def sample_of(path: Path) -> Sample:
    """Take the sample from a sheet's CSV, when its .json is lost: source and engine stay unknown. Raises BadRecord."""
    found = [
        Translation(row["id"], unguarded(row["english"]), unguarded(row["italian"]), "unknown", "")
        for _, row in _rows(path)
    ]
    return Sample(tuple(found), {"unknown × unknown": len(found)})


def summarize(ratings: Ratings, plan: QualityPlan) -> Quality:
    """Compute mean, distribution and agreement: overall, by stratum, by rater. Raises BadRecord (no rating)."""
    if np.isnan(ratings.values).all():
        raise BadRecord(f"no rating in {', '.join(ratings.raters)}; fill in the column `rating` with 1 to 4")
    names = np.array([one.stratum for one in ratings.sample.translations])
    strata = {stratum: _summary(ratings.values[names == stratum], plan) for stratum in sorted(set(names.tolist()))}
    return Quality(
        _summary(ratings.values, plan),
        _population_mean(strata, ratings.sample.population),
        strata,
        {rater: _summary(ratings.values[:, [i]], plan) for i, rater in enumerate(ratings.raters)},
    )


def _summary(values: np.ndarray, plan: QualityPlan) -> Summary:
    given = ~np.isnan(values)
    count = given.sum(axis=1)
    rated = count > 0
    means = np.where(given, values, 0).sum(axis=1)[rated] / count[rated]
    mean = float(means.mean()) if rated.any() else None
    low = high = None
    agreement = None
    if mean is not None and len(means) > 1:
        reach = two_sided_t(len(means) - 1) * float(means.std(ddof=1)) / math.sqrt(len(means))
        low, high = max(SCALE[0], mean - reach), min(SCALE[-1], mean + reach)
        if count.max() > 1:
            agreement = gwet(values, weights=plan.weights, categories=SCALE)
    distribution = {value: int((values == value).sum()) for value in SCALE}
    return Summary(len(values), int(rated.sum()), int(given.sum()), mean, low, high, distribution, agreement)


def _population_mean(strata: Mapping[str, Summary], population: Mapping[str, int]) -> float | None:
    total = count = 0.0
    for stratum, summary in strata.items():
        if summary.mean is None:
            return None
        weight = population.get(stratum, summary.translations)
        total, count = total + weight * summary.mean, count + weight
    return total / count


def _names(paths: Sequence[Path]) -> tuple[str, ...]:
    """Call each rater after his file, with its folder where two files have one name."""
    stems = [path.stem for path in paths]
    names = tuple(stem if stems.count(stem) == 1 else str(path) for stem, path in zip(stems, paths, strict=True))
    if len(set(names)) < len(names):
        raise BadRecord(f"{next(name for name in names if names.count(name) > 1)}: given twice; give each sheet once")
    return names


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Read the rows with the line each begins in."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRecord(f"{path}: not UTF-8 (byte {error.start}); save it as “CSV UTF-8” in the spreadsheet") from None
    header = text.split("\n", 1)[0]
    between = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=between)
    rows: list[tuple[int, dict[str, str]]] = []
    columns: list[str] = []
    line = 1
    try:
        for cells in reader:
            if line == 1:
                columns = [cell.strip().lower() for cell in cells]
                missing = [name for name in COLUMNS if name not in columns]
                if missing:
                    raise BadRecord(f"{path}:1: no column {', '.join(missing)}; a sheet has {', '.join(COLUMNS)}")
            elif any(cell.strip() for cell in cells):
                row = dict(zip(columns, cells, strict=False))
                rows.append((line, {name: row.get(name, "") for name in COLUMNS} | {"id": row.get("id", "").strip()}))
            line = reader.line_num + 1
    except csv.Error as error:
        raise BadRecord(f"{path}:{line}: not CSV ({error})") from None
    if not columns:
        raise BadRecord(f"{path}: empty; a sheet begins with the columns {', '.join(COLUMNS)}")
    return rows


def _check_sample(path: Path, rows: Sequence[tuple[int, dict[str, str]]], known: set[str]) -> None:
    strange = [(line, row["id"]) for line, row in rows if row["id"] not in known]
    if not strange:
        return
    line, identity = strange[0]
    if len(strange) > len(rows) / 2:
        raise BadRecord(
            f"{path}: a sheet of another sample ({len(strange)} of its {len(rows)} ids are not in this one); "
            "all sheets must be copies of one"
        )
    raise BadRecord(f"{path}:{line}: unknown id {shortened(identity)!r}; leave the column `id` as it was")


def _rating(path: Path, line: int, cell: str) -> float:
    text = cell.strip().removeprefix("'").replace(",", ".")
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if value not in SCALE:
        raise BadRecord(
            f"{path}:{line}: rating {shortened(cell.strip())!r}; write 1 (meaning lost), 2, 3 or 4 (good), "
            "or nothing when not rated"
        )
    return value

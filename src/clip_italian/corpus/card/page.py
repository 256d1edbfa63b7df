"""The data card as a page: numbers, what was refused and why, licences, and a grid of samples.

Public names: write_card.

All that comes from the corpus is escaped; the page loads nothing and runs no script.
"""

import base64
import io
import json
from collections.abc import Iterable, Mapping
from html import escape
from importlib import resources
from typing import Any

from PIL import Image

from ...errors import CorruptImage
from ...files import atomic_write
from ...images import open_image
from ..corpus import Corpus
from ..ledger import SCORED, Entry
from ..shards import Shards
from ..statistics import Statistics, explained

_GRID, _SIDE = 24, 160  # samples shown, and pixels of a side
_SHOWN = 12  # rows of a table of names
_NOTE = "a source states no licence: ask the pictures' owners before you build a product on them"


def write_card(corpus: Corpus, shards: Shards, told: Statistics) -> None:
    """Write the card beside the corpus. Raises CannotWrite, OSError when the disk is full."""
    parts = [
        _top(told, shards),
        _section("Sources", _sources(told), "Samples read, lost on the way, and kept. A row that breaks its source's "
                 "format never becomes a sample."),
        _section("What was refused, and why", _refused(told), "Each sample is refused once, by the first reason; of a "
                 "sample that stays, single captions may have been dropped."),
        _section("Pictures", _pictures(told), "Addresses that were asked for, and how each ended."),
        _section("Captions", _captions(told), _captions_note(told)),
        _section("Translation", _translation(corpus, told), "Rated by people from 1 (meaning lost) to 4 (good)."),
        _section("Licences and hosts", _licences(told), f"As the sources state them. Where {_NOTE}."),
        _section("Samples", _grid(corpus), "The first by their ids, which are hashes: a fair draw."),
        _section("Plan", f"<pre>{escape(corpus.plan.model_dump_json(indent=1, exclude_defaults=True))}</pre>",
                 "What differs from the defaults. The list of ids, ids.txt, and this plan are the corpus: anyone "
                 "who has the sources can build it again; what has left is in gone.tsv, which other plans can name."),
    ]  # fmt: skip
    style = resources.files(__package__).joinpath("card.css").read_text("utf-8")
    title = escape(told.name)
    with atomic_write(corpus.card, "w") as stream:
        stream.write(
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
            "style-src 'unsafe-inline'\">"
            f"<title>{title} – data card</title><style>{style}</style></head>"
            f"<body><main>{''.join(parts)}</main></body></html>\n"
        )


def _section(title: str, body: str, note: str = "") -> str:
    said = f'<p class="note">{escape(note)}</p>' if note else ""
    return f"<section><h2>{escape(title)}</h2>{said}{body}</section>" if body else ""


def _top(told: Statistics, shards: Shards) -> str:
    figures = {
        "samples": sum(told.samples.values()), "captions": told.captions,
        **{f"in {split}": count for split, count in told.samples.items()}, "shards": shards.shards,
        "tombstones": told.gone,
    }  # fmt: skip
    cells = "".join(f"<div><b>{count:,}</b><span>{escape(name)}</span></div>" for name, count in figures.items())
    return (
        f"<header><h1>{escape(told.name)}</h1><p>Italian image–caption pairs. Fingerprint of the shards: "
        f'<code>{shards.fingerprint[:16]}</code></p><div class="figures">{cells}</div></header>'
    )


def _sources(told: Statistics) -> str:
    rows = []
    for funnel in told.funnels:
        lost = sum(funnel.lost.values())
        rows.append((funnel.source, f"{funnel.skipped_rows:,}", f"{funnel.read:,}", f"{lost:,}", f"{funnel.kept:,}",
                     _bar(funnel.kept, max(1, funnel.read))))  # fmt: skip
    table = _table(("source", "broken rows", "read", "refused", "kept", ""), rows, raw={5})
    examples = [f"<li>{escape(text)}</li>" for funnel in told.funnels for text in funnel.skipped_examples[:3]]
    return table + (f"<details><summary>Broken rows, for example</summary><ul>{''.join(examples)}</ul></details>"
                    if examples else "")  # fmt: skip


def _refused(told: Statistics) -> str:
    columns = [("samples", "lost"), ("captions", "dropped")]
    tables = []
    for title, name in columns:
        counts = [(funnel.source, reason, count) for funnel in told.funnels
                  for reason, count in getattr(funnel, name).items()]  # fmt: skip
        most = max((count for _, _, count in counts), default=1)
        rows = [(source, reason, f"{count:,}", _bar(count, most)) for source, reason, count in counts]
        if rows:
            tables.append(f"<h3>{title}</h3>" + _table(("source", "reason", "", ""), rows, raw={3}))
    return "".join(tables)


def _pictures(told: Statistics) -> str:
    most = max(told.pictures.values(), default=1)
    rows = [(status, explained(status), f"{count:,}", _bar(count, most)) for status, count in told.pictures.items()]
    return _table(("", "", "addresses", ""), rows, raw={3}) if rows else ""


def _captions(told: Statistics) -> str:
    return _histogram(told.words) + _table(
        ("origin", "captions"), [(name, f"{count:,}") for name, count in told.origins.items()]
    )


def _captions_note(told: Statistics) -> str:
    notes = ["Words of a caption."]
    if told.covered:
        shares = ", ".join(f"{share:.2%} fit into {pieces} pieces" for pieces, share in told.covered.items())
        notes.append(f"By the tokenizer of {told.pieces_by}: {shares}.")
    if told.similarity:
        low, middle, high = (told.similarity[i] for i in (1, 5, 9))
        notes.append(
            f"Cosine of caption and picture: median {middle:.2f}, from {low:.2f} to {high:.2f} for four in five."
        )
    return " ".join(notes)


def _translation(corpus: Corpus, told: Statistics) -> str:
    translated = sum(count for name, count in told.origins.items() if name.startswith("translated"))
    if not translated:
        return ""
    path = corpus.folder / "quality.json"
    if not path.is_file():
        return f"<p>{translated:,} captions are translated; nobody has rated them yet (corpus sheet).</p>"
    found = json.loads(path.read_text("utf-8"))
    rows = [_rated(name, one) for name, one in {"all": found["overall"], **found["strata"]}.items()]
    return f"<p>{translated:,} captions are translated; {len(found['raters'])} people rated a sample.</p>" + _table(
        ("", "rated", "mean", "1", "2", "3", "4", "agreement (Gwet)"), rows
    )


def _rated(name: str, one: Mapping[str, Any]) -> tuple[str, ...]:
    mean = "-" if one["mean"] is None else f"{one['mean']:.2f}"
    if one["low"] is not None:
        mean += f" ({one['low']:.2f}–{one['high']:.2f})"
    agreed = one["agreement"]
    said = "-" if agreed is None else f"{agreed['value']:.3f} ({agreed['low']:.3f}–{agreed['high']:.3f})"
    counts = (str(one["distribution"].get(value, 0)) for value in ("1", "2", "3", "4"))
    return (name, str(one["rated"]), mean, *counts, said)


def _licences(told: Statistics) -> str:
    parts = []
    for title, counts in (("licence", told.licences), ("host", told.hosts)):
        rows = [(name, f"{count:,}") for name, count in list(counts.items())[:_SHOWN]]
        if len(counts) > _SHOWN:
            rest = list(counts.values())[_SHOWN:]
            rows.append((f"and {len(rest):,} more", f"{sum(rest):,}"))
        parts.append(_table((title, "samples"), rows))
    return f'<div class="beside">{"".join(parts)}</div>'


def _grid(corpus: Corpus) -> str:
    batch: list[Entry] = next(corpus.ledger.batches(SCORED, _GRID), [])
    pictures = corpus.ledger.pictures_of([entry.record.image for entry in batch])
    cells = []
    for entry in batch:
        try:
            picture = open_image(corpus.store.path(pictures[entry.record.image].sha256), min_side=_SIDE)
        except CorruptImage:
            continue
        texts = "".join(f"<p>{escape(one.caption.text)}</p>" for one in entry.italian[:2] if not one.dropped)
        about = escape(" · ".join(filter(None, (entry.record.source, entry.record.attribution[:60]))))
        cells.append(
            f'<figure><img alt="" src="{_thumbnail(picture)}">'
            f"<figcaption>{texts}<small>{about}</small></figcaption></figure>"
        )
    return f'<div class="grid">{"".join(cells)}</div>'


def _thumbnail(picture: Image.Image) -> str:
    picture.thumbnail((2 * _SIDE, _SIDE))
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]], raw: set[int] | None = None) -> str:
    """Lay out rows; columns in `raw` are HTML of ours already."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join(
        "<tr>"
        + "".join(f"<td>{cell if i in (raw or ()) else escape(cell)}</td>" for i, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _bar(value: int, most: int) -> str:
    return f'<span class="bar"><i style="width:{100 * value / most:.1f}%"></i></span>'


def _histogram(counts: Mapping[int, int]) -> str:
    """Draw how many captions have how many words, 40 and more as one."""
    if not counts:
        return ""
    bins = [0] * 41
    for words, count in counts.items():
        bins[min(words, 40)] += count
    most, last = max(bins), max(i for i, count in enumerate(bins) if count)
    width, height = 16, 120
    bars = "".join(
        f'<rect x="{i * width + 2}" y="{height - height * count / most:.1f}" width="{width - 3}" '
        f'height="{height * count / most:.1f}"><title>{i}{"+" if i == 40 else ""}: {count:,}</title></rect>'
        for i, count in enumerate(bins[: last + 1])
    )
    marks = "".join(
        f'<text x="{i * width + width / 2}" y="{height + 16}">{i}{"+" if i == 40 else ""}</text>'
        for i in range(0, last + 1, 5)
    )
    size = (last + 1) * width
    return (
        f'<svg viewBox="0 0 {size} {height + 22}" width="{size}" role="img" '
        f'aria-label="captions by number of words">{bars}{marks}</svg>'
    )

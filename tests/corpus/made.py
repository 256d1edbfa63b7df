"""A small corpus's sources, in the layouts of the real ones, with the addresses of a local server; and its plan."""

import csv
import gzip
import hashlib
import json
from pathlib import Path

from clip_italian.corpus.sources.wit import COLUMNS

ORDINARY = [
    "Un cane nero corre sulla spiaggia",
    "Due bambini giocano a pallone nel cortile",
    "Una donna con un cappello rosso legge il giornale",
    "Un gatto bianco dorme sul divano verde",
    "Tre uomini siedono al tavolo di un bar",
    "Il treno attraversa il ponte sopra il fiume",
    "Una barca a vela vicino alla costa",
    "Un vecchio mulino in mezzo al campo di grano",
    "La piazza del mercato piena di gente",
    "Un piatto di pasta con il pomodoro fresco",
    "Una bicicletta appoggiata al muro di mattoni",
    "Le montagne coperte di neve al tramonto",
]


def wit_row(number, caption, url):
    """Return a row of WIT as its columns go."""
    row = dict.fromkeys(COLUMNS, "")
    row |= {
        "language": "it", "page_url": f"https://it.wikipedia.org/wiki/Pagina_{number}", "image_url": url,
        "caption_reference_description": caption, "mime_type": "image/jpeg", "page_title": f"Pagina {number}",
        "original_height": "72", "original_width": "96", "is_main_image": "true",
        "attribution_passes_lang_id": "false", "page_changed_recently": "true",
    }  # fmt: skip
    return [row[name] for name in COLUMNS]


def write_wit(path, rows):
    """Write rows as WIT's files are: gzip, tabs, quotes where a field needs them."""
    with gzip.open(path, "wt", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(rows)


def sources(folder: Path, server, *, ordinary=24):
    """Write WIT and Conceptual Captions files below a folder, with good rows, every kind of bad one, and copies."""
    rows = [wit_row(i, f"{ORDINARY[i % 12]}, foto {i:02}", server.url(f"photo/{i}.jpg")) for i in range(ordinary)]
    rows += [
        wit_row(100, "Anna Maria Mozzoni", server.url("photo/100.jpg")),
        wit_row(101, "Per informazioni scrivere a mario.rossi@example.it", server.url("photo/101.jpg")),
        wit_row(102, "Un prato con le pecore", server.url("status/404/102.jpg")),
        wit_row(103, "Un prato con le mucche", server.url("html.jpg")),
        wit_row(104, "Una mela rossa su un tavolo", server.url("header/104.jpg?X-Robots-Tag=noai")),
        wit_row(105, "Un cane nero sulla sabbia", server.url("photo/0.jpg?w=192&h=144")),  # a near copy of the first
        wit_row(106, "Un bambino gioca, di nuovo", server.url("photo/1.jpg")),  # the same address as the second
        wit_row(107, "Una partita di calcio", server.url("photo/COCO_val2014_000000169356.jpg")),  # of MSCOCO-IT dev
    ]
    write_wit(folder / "wit.tsv.gz", rows)
    english = [f"a dog number {i} on the beach\t{server.url(f'photo/{200 + i}.jpg')}" for i in range(6)]
    (folder / "cc.tsv").write_text("\n".join(english) + "\n")


def plan(folder: Path, server, **tables) -> Path:
    """Write a plan for these sources; tables add to it or replace what it has."""
    fetching = {"allow_private": True, "ports": [server.port], "rate": 1e6, "per_host": 64, "backoff": 0.01,
                "side": 64}  # fmt: skip
    whole = {
        "name": "prova",
        "model": "",
        "sources": [
            {"kind": "wit", "files": ["wit.tsv.gz"]},
            {"kind": "conceptual-captions", "files": ["cc.tsv"]},
        ],
        "fetching": fetching,
        "shards": {"samples": 8, "valid": 0.2},
        "run": {"jobs": 1, "batch": 5},
        **tables,
    }
    path = folder / "corpus.toml"
    path.write_text("\n".join(_toml(whole)) + "\n")
    return path


def _toml(tables):
    plain = {name: value for name, value in tables.items() if not isinstance(value, dict) and name != "sources"}
    yield from (f"{name} = {json.dumps(value)}" for name, value in plain.items())
    for source in tables["sources"]:
        yield "[[sources]]"
        yield from (f"{name} = {json.dumps(value)}" for name, value in source.items())
    for name, table in tables.items():
        if isinstance(table, dict):
            yield f"[{name}]"
            yield from (f"{key} = {_value(value)}" for key, value in table.items())


def _value(value):
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + "}"
    return json.dumps(value)


def hashes(folder: Path):
    """Return name → SHA-256 of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }

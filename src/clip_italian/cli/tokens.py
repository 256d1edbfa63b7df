"""`clip-italian tokens`: choose the text tower's vocabulary from open text."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from ..errors import BadRecord


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command()
    def tokens(
        text: Annotated[list[str], typer.Argument(help="FILE or FILE:MINIMUM; .gz, .jsonl and .tsv are read")],
        out: Annotated[Path, typer.Option(help="where the list goes, gzipped")],
    ) -> None:
        """Trim the vocabulary of a pretrained text tower.

        Of multilingual-e5-small's pieces, keep those that some FILE uses at least MINIMUM (1) times.

        Example: clip-italian tokens captions.jsonl:1 europarl.tsv.gz:5 words.txt.gz:10 --out pieces.txt.gz
        """
        from ..models.towers.trim import choose_pieces, write_pieces

        corpora = [_corpus(argument) for argument in text]
        pieces = choose_pieces((_texts(path), minimum) for path, minimum in corpora)
        write_pieces(out, pieces)
        typer.echo(f"{len(pieces)} pieces written to {out}")


def _corpus(argument: str) -> tuple[Path, int]:
    name, _, minimum = argument.rpartition(":")
    path, least = (Path(name), int(minimum)) if name and minimum.isdecimal() else (Path(argument), 1)
    if not path.is_file():
        raise typer.BadParameter(f"{path}: no such file")
    return path, least


def _texts(path: Path) -> Iterator[str]:
    """Yield a file's texts: captions and queries of JSON lines, else every field between tabs."""
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as stream:
            for line in stream:
                number += 1
                yield from _captions(line) if ".jsonl" in path.suffixes else line.rstrip("\n").split("\t")
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise BadRecord(f"{path}: cannot be read after line {number} ({error}); correct or fetch it again") from error


def _captions(line: str) -> Iterator[str]:
    record = json.loads(line)
    if not isinstance(record, dict):
        raise ValueError("a line that is no JSON object")
    yield from _strings([record.get("captions"), record.get("queries")])


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _strings(item)

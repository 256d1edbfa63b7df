"""`clip-italian search`: find photos of an album with Italian words."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer

from .evaluate import Device
from .opening import say_first_use, say_model


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def search(
        words: Annotated[list[str], typer.Argument(metavar="QUERY...", help="What the photo shows, in Italian.")],
        album: Annotated[Path, typer.Option(help="The album file that `index` made.")],
        k: Annotated[int, typer.Option("-k", min=1, help="How many photos to return.")] = 20,
        model: Annotated[str | None, typer.Option(help="Where the album's model is now, if it has moved.")] = None,
        as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
        sheet: Annotated[Path | None, typer.Option(help="Also draw what was found into this PNG.")] = None,
        device: Device = "cpu",
    ) -> None:
        """Find photos with Italian words.

        The best come first. A score orders the photos of one query; it is no measure of how well they fit.

        Example: clip-italian search "un gatto sul divano" --album foto.db -k 5
        """
        from ..images import printable
        from ..search.album import Album
        from ..search.query import search as find
        from ..search.query import stands_out
        from ..search.sheet import Row, contact_sheet

        if sheet is not None and sheet.suffix.lower() != ".png":
            raise typer.BadParameter(f"{sheet}: a sheet is a PNG; let its name end in .png", param_hint="--sheet")
        query = " ".join(words)
        with Album.open(album) as opened:
            say_first_use(model or opened.model)
            encoder = opened.load_encoder(model, device=device)
            say_model(encoder)
            hits = find(opened, encoder, query, k)
            fingerprint, unread = opened.fingerprint, opened.unread()
            doubtful = not stands_out(opened.gallery().vectors, encoder, query)
        gone = {hit.rank for hit in hits if not hit.path.exists()}
        if as_json:
            rows = [
                {"rank": hit.rank, "score": round(hit.score, 6), "path": str(hit.path), "gone": hit.rank in gone}
                for hit in hits
            ]
            found = {"query": query, "album": str(album), "model": fingerprint, "unread": unread}
            typer.echo(json_text(found | {"stands_out": not doubtful, "hits": rows}))
        else:
            for hit in hits:
                mark = "  (gone)" if hit.rank in gone else ""
                typer.echo(f"{hit.rank:>3}  {hit.score:.3f}  {printable(hit.path)}{mark}")
            if gone:
                typer.echo(f"{len(gone)} no longer there; run index again", err=True)
            if unread:
                typer.echo(
                    f"the album is unfinished: {unread:,} files were still to be read; run index again, "
                    "unless it is running now",
                    err=True,
                )
            elif not hits:
                typer.echo("the album has no photos yet; index a folder first", err=True)
            if doubtful:
                typer.echo(
                    "no photo stands out: these fit hardly better than they fit words without meaning; perhaps nothing "
                    "like it is in the album",
                    err=True,
                )
        if sheet is not None:
            captions = [f"{hit.rank}  {printable(hit.path.name)}" for hit in hits]
            contact_sheet([Row(query, [hit.path for hit in hits], captions)], sheet)
            typer.echo(f"drawn: {printable(sheet)}", err=True)


def json_text(value: object) -> str:
    """Format as JSON; stray bytes of a file name that is not UTF-8 become \\udcxx, as Python's os.fsencode reads."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    return re.sub("[\ud800-\udfff]", lambda match: f"\\u{ord(match[0]):04x}", text)

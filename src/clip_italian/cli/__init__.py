"""The command line: one small file per command that parses, calls and prints; no logic lives here.

Public name: main. Exit codes: 0 done, 1 the work failed, 2 wrong arguments, 130 stopped by the user.
"""

import importlib
import sys
from typing import Annotated

import typer
from rich.console import Console

from .. import __version__
from ..errors import ClipItalianError

# As --help lists them: for those who search photos, for those who train, for those who make what the package carries.
COMMANDS = ("index", "search", "classify", "models", "demo", "train", "evaluate", "scenes", "export", "distil", "card",
            "ship", "tokens", "corpus")  # fmt: skip

app = typer.Typer(
    name="clip-italian",
    help="Search your own photos in Italian; train, measure and compare Italian image-text models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clip-italian {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _register() -> None:
    for name in COMMANDS:
        module = importlib.import_module(f"{__name__}.{name}")
        module.register(app)


def main() -> None:
    """Run `clip-italian`; errors a person can act on are printed alone, without a traceback."""
    _register()
    try:
        app()
    except ClipItalianError as error:
        _fail(str(error))
    except OSError as error:  # a full disk, a folder without write permission: the system's words name the file
        _fail(f"{error.filename or 'a file'}: {error.strerror or error}; what was finished is kept")


def _fail(message: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {message}", markup=False)
    sys.exit(1)

"""The command line: one small file per command that parses, calls and prints; no logic lives here.

Public name: main. Exit codes: 0 done, 1 the work failed, 2 wrong arguments, 130 stopped by the user.
"""

import importlib
import sys

import typer
from rich.console import Console

from ..errors import ClipItalianError

COMMANDS = (
    "train",
    "distil",
    "evaluate",
    "index",
    "search",
    "classify",
    "models",
    "export",
    "ship",
    "card",
    "scenes",
    "demo",
    "tokens",
)

app = typer.Typer(
    name="clip-italian",
    help="Italian image-text models: train, evaluate, and search your own photos in Italian.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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

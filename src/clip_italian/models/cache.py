"""The user's cache folder: what can be made again, made once, whole or absent.

Public names: cache_folder, provide, VARIABLE.
"""

import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from ..errors import Busy, CannotWrite
from ..files import lock, whole_folder

VARIABLE = "CLIP_ITALIAN_CACHE"
_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """Return where made-again things lie: $CLIP_ITALIAN_CACHE, else the user's place for caches. Makes nothing.

    Raises CannotWrite when the user has no home.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named).expanduser().absolute()
    base = Path(os.environ.get("XDG_CACHE_HOME") or "")
    if base.is_absolute():  # the specification has relative ones ignored
        return base / "clip-italian"
    try:
        return Path.home() / ".cache" / "clip-italian"
    except RuntimeError as error:
        raise CannotWrite(f"there is no home folder for a cache; name a folder with {VARIABLE}") from error


def provide(name: str, build: Callable[[Path], None], whole: Callable[[Path], bool], *, size: int) -> Path:
    """Return the folder `name` of the cache, made by `build(draft)` where it is not there or not `whole`.

    One process builds; others that ask meanwhile log once that they wait, and take what it made. What a killed one left
    is cleared away.
    size: bytes it will take, for the message. A folder that is whole is only read: the cache may then be read-only.
    Raises CannotWrite, and what `build` raises, and leaves nothing half made.
    """
    cache = cache_folder()
    folder = cache / name
    if whole(folder):
        return folder
    try:
        with contextlib.ExitStack() as held:
            _enter(held, cache / f".{name}.lock", folder)
            if not whole(folder):
                _clear(cache, name)
                with whole_folder(folder) as draft:
                    build(draft)
    except OSError as error:
        raise CannotWrite(
            f"{folder}: cannot be written ({error.strerror or error}): the model is put together there and takes "
            f"{size / 1e6:.0f} MB; free some space or mend its permissions, or name another folder with {VARIABLE}"
        ) from error
    return folder


def _enter(held: contextlib.ExitStack, path: Path, folder: Path) -> None:
    """Have `held` hold the lock, when another process drops it if need be."""
    purpose = "putting a model together"
    try:
        held.enter_context(lock(path, purpose))
    except Busy:
        _log.warning("another process is putting %s together; waiting for it …", folder)
        held.enter_context(lock(path, purpose, wait=True))


def _clear(cache: Path, name: str) -> None:
    """Take away drafts and a folder that is not whole; only the holder of the lock may."""
    _remove(cache.glob(f".{name}.*part"))
    if (cache / name).exists():
        # First out of sight, in one step: nobody finds it half removed.
        _remove([(cache / name).rename(cache / f".{name}.damaged.part")])


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

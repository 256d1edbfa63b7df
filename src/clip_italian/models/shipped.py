"""The models that come with the package: where they lie, what they need, which one is meant when none is named.

Each is a folder, in `clip_italian/shipped/` or in the folder that CLIP_ITALIAN_MODELS names: `clip-italian-base`, put
together with a pip package's weights (assembly.py), and `clip-italian-small`, an exported model as it is. A build may
carry both, one, or none.

Public names: open_shipped, default_name, choose, listed, Shipped, puts_together, BASE, SMALL, NAMES, VARIABLE.
"""

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from ..errors import BadModel, MissingExtra
from . import assembly, onnx_encoder
from .assembly import is_assembled, is_made, open_assembled, size_made
from .cache import cache_folder
from .onnx_encoder import OnnxEncoder, is_exported, open_exported
from .towers.e5_file import PACKAGE, PACKAGE_VERSION, is_installed, lack

BASE, SMALL = "clip-italian-base", "clip-italian-small"
NAMES = (BASE, SMALL)
VARIABLE = "CLIP_ITALIAN_MODELS"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shipped:
    """What is known of a model without opening it.

    carried: whether this build has it. missing: what has to be done before it can be used, "" when nothing. size: bytes
    of its folder. made: bytes that are put together in the cache on first use, 0 for a model that is whole; ready:
    whether nothing has to be put together first. dim: None when the folder is not there or damaged.
    """

    name: str
    folder: Path
    carried: bool
    missing: str
    size: int = 0
    made: int = 0
    ready: bool = False
    dim: int | None = None
    origin: str = ""


def open_shipped(name: str, device: str) -> OnnxEncoder | None:
    """Open a model that comes with the package, or a folder for assembly.py, as an entry of OPENERS; else None.

    A folder that is called like a model is opened by a path, such as ./clip-italian-base. Raises BadModel: this build
    does not carry it, a file is missing, cut short or altered, another device than the CPU; MissingExtra without the
    package it needs, or with another version of it; CannotWrite when its weights cannot be put together in the cache.
    """
    directory = _folder() / name if name in NAMES else Path(name)
    if name not in NAMES and not is_assembled(directory):
        return None
    if not directory.is_dir():
        raise BadModel(_not_carried(name))
    if device != "cpu":
        raise BadModel(f"{name}: runs on the CPU, not on {device!r}; leave the device out")
    called = name if name in NAMES else None
    if is_exported(directory):
        return open_exported(directory, name=called)
    try:
        return open_assembled(directory, name=called)
    except MissingExtra as error:
        if not lack():  # it is another library
            raise
        raise MissingExtra(_needs(name)) from error


def default_name() -> str:
    """Return the model that is meant when none is named, and log it where another version of its package hides base.

    Base where its package is installed, else small. Raises BadModel when this build carries none, MissingExtra when it
    carries base alone and the package, or its version, is missing.
    """
    name, passed_over = choose()
    if passed_over:
        _log.warning("%s; %s is taken instead", passed_over, name)
    return name


def choose() -> tuple[str, str]:
    """Return `default_name` without a word, and why base is not it where another version of its package is installed.

    Raises as `default_name` does.
    """
    carried = [name for name in NAMES if (_folder() / name).is_dir()]
    if BASE in carried and not lack():
        return BASE, ""
    if SMALL in carried:
        return SMALL, _needs(BASE) if BASE in carried and is_installed() else ""
    if BASE in carried:
        raise MissingExtra(_needs(BASE))
    raise BadModel(
        f"no model was named, and this build of clip-italian carries none (looked in {_folder()}); name one: a model "
        "directory, or a hub id"
    )


def puts_together(name: str) -> bool:
    """Tell whether opening the model puts its weights together first; not where it cannot be opened anyway."""
    if name not in NAMES:
        return False
    model = listed(name)
    return bool(model.made) and not model.ready and not model.missing


def listed(name: str) -> Shipped:
    """Tell what is known of one of NAMES without opening it; nothing is hashed."""
    folder = _folder() / name
    if not folder.is_dir():
        return Shipped(name, folder, carried=False, missing="this build does not carry it")
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    try:
        return _assembled(name, folder, size) if not is_exported(folder) else _whole(name, folder, size)
    except (BadModel, OSError) as error:
        return Shipped(name, folder, carried=True, missing=f"damaged: {error}", size=size)


def _whole(name: str, folder: Path, size: int) -> Shipped:
    description = onnx_encoder.read_description(folder, name=name)
    _refuse_absent(folder, description["files"])
    return Shipped(
        name, folder, carried=True, missing="", size=size, ready=True, dim=description["dim"], origin=str(folder)
    )


def _assembled(name: str, folder: Path, size: int) -> Shipped:
    description = assembly.read_description(folder, name=name)
    _refuse_absent(folder, description["files"])
    made = is_made(folder)
    return Shipped(
        name, folder, carried=True, missing="" if made else lack(), size=size, made=size_made(description), ready=made,
        dim=description["dim"],
        origin=f"{folder} and the package {PACKAGE} {PACKAGE_VERSION}, put together in {cache_folder()}",
    )  # fmt: skip


def _refuse_absent(folder: Path, files: Iterable[str]) -> None:
    if absent := [name for name in files if not (folder / name).is_file()]:
        raise BadModel(f"{folder / absent[0]}: is missing; install clip-italian again")


def _needs(name: str) -> str:
    return f"{name} needs the package {lack()}"


def _folder() -> Path:
    named = os.environ.get(VARIABLE)
    return Path(named).absolute() if named else Path(str(resources.files("clip_italian"))) / "shipped"


def _not_carried(name: str) -> str:
    others = [other for other in NAMES if (_folder() / other).is_dir()]
    return (
        f"{name}: this build of clip-italian does not carry it (looked in {_folder()}); "
        + (f"it carries {others[0]}" if others else "it carries no model: name a model directory, or a hub id")
        + f"; a folder of yours that is called so is opened as ./{name}"
    )

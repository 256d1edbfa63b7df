"""What a model's own folder tells: what training noted, and how its exported form compares to it.

Public names: Model, describe, energy, counts, recipe, gate.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...encoder import Encoder
from ...errors import BadModel
from .facts import Facts
from .markdown import Row, table

DESCRIPTION = "model.json"
# Of a stage's settings, those that its row shows.
_STAGE = ("steps", "epochs", "batch", "optimizer", "schedule", "augment", "labelled", "held", "learn")
# A student's parts that come before all of it learns: what each is called, and what learns in it.
_FIRST_PARTS = {
    "blockwise": ("blockwise: the image tower's stages", "image_tower"),
    "reading": ("reading: the text side", "text side"),
}


@dataclass(frozen=True)
class Model:
    """What the card says of the model itself.

    size: bytes on disk, 0 where unknown. notes: what training noted; noted: whether the model's own folder holds them.
    exported: whether it is an exported form; gate: its scores before and after, as model.json keeps them.
    """

    name: str
    dim: int
    fingerprint: str
    size: int = 0
    notes: Mapping[str, Any] = field(default_factory=dict)
    noted: bool = False
    exported: bool = False
    gate: Mapping[str, Any] = field(default_factory=dict)


def describe(encoder: Encoder, folder: Path, notes: Path | None = None) -> Model:
    """Describe an opened model from the model.json of its folder, if there is one.

    notes: another model.json whose notes to take, as of the run that an exported model comes from. Raises BadModel when
    one of them is no model.json.
    """
    description = _read(folder / DESCRIPTION) if (folder / DESCRIPTION).is_file() else {}
    own = description.get("notes", {})
    told = _read(notes).get("notes", {}) if notes else own
    files = [folder / name for name in (DESCRIPTION, *description.get("files", {}))] if description else []
    size = sum(path.stat().st_size for path in files if path.is_file())
    return Model(
        encoder.name, encoder.dim, encoder.fingerprint, size, told,
        noted=bool(told) and told == own, exported="source" in description, gate=description.get("gate", {}),
    )  # fmt: skip


def energy(notes: Mapping[str, Any], facts: Facts) -> list[Row]:
    """Return the rows that tell what training took, or that nobody knows."""
    found = notes.get("energy")
    if not found:
        why = "training noted none" if notes else "the model holds no notes of its training"
        return [("energy", f"was not measured: {why}")]
    seconds = found["seconds"]
    took = f"{seconds / 60:.0f} minutes" if seconds < 6000 else f"{seconds / 3600:.1f} hours"
    others = ["its teacher"] * ("teacher" in notes) + ["what it began with"] * _begun(notes, facts)
    others.append("what earlier runs left it (kept features, answers, parts)")
    counted = f"the run that made it, up to the epoch that was kept; not {', nor '.join(others)}"
    return [
        ("energy", f"{found['kwh']:.3g} kWh in {took}: {found['co2e_kg']:.3g} kg CO2e"),
        ("what was counted", counted),
        ("how it was counted", found["method"]),
    ]


def counts(notes: Mapping[str, Any]) -> str:
    """Say how many pictures and texts the run read, by its own notes; "" where they do not tell."""
    read = notes.get("data")
    if not read:
        return ""
    kinds = ", ".join(f"{number:,} {kind}" for kind, number in read.get("kinds", {}).items())
    return (
        f"By its own notes, the run read {read['pictures']:,} pictures and {read['texts']:,} distinct texts"
        + (f", among them {kinds}" if kinds else "")
        + "."
    )


def recipe(model: Model, facts: Facts) -> Iterable[str]:
    """Tell how the model was trained: what it began with, and its stages."""
    notes = model.notes
    settings = notes.get("recipe")
    yield "## Recipe"
    if not settings:
        yield "The model holds no notes of how it was trained."
        return
    figures = notes.get("figures", {})
    told = [f"`{settings.get('name', '?')}`, seed {settings.get('seed', '?')}"]
    if "teacher" in notes:
        told.append(f"distilled from {_teacher(notes['teacher'])}")
    if "epoch" in figures:
        told.append(f"kept: epoch {figures['epoch']}" + (f" of stage {figures['stage']}" if "stage" in figures else ""))
    yield "; ".join(told) + "." + (f" All settings are in `{DESCRIPTION}`, under `notes`." if model.noted else "")
    yield _beginning(settings, notes, facts)
    stages = settings.get("stages") or _student_stages(settings)
    keys = [key for key in _STAGE if any(stage.get(key) for stage in stages)]
    rows = [(stage.get("name", ""), *(_setting(stage.get(key)) for key in keys)) for stage in stages]
    yield table(("stage", *keys), rows)


def gate(model: Model, supervised: Iterable[str]) -> Iterable[str]:
    """Tell what the exported form lost, by the scores that its model.json keeps. supervised: as in Facts."""
    if not model.exported and not model.gate:
        return
    yield "## Before and after export"
    if not model.gate:
        yield f"Not told: `{DESCRIPTION}` holds no scores of before and after."
        return
    yield (
        "The model as training left it, run by torch, and as it is here, in points from 0 to 100. A loss past the "
        "limit would have refused the export."
    )
    limit, taught = model.gate["limit"], set(supervised)
    rows = [
        (
            _task(one, taught), one["data"], one["score"], f"{one['n']:,}", f"{one['before']:.2f}",
            f"{one['after']:.2f}", f"{round(one['before'] - one['after'], 2) + 0.0:.2f}", f"{limit:g}",
        )
        for one in model.gate["scores"]
    ]  # fmt: skip
    yield table(("task", "data", "score", "queries", "before", "after", "loss", "limit"), rows)


def _task(score: Mapping[str, Any], taught: set[str]) -> str:
    if "accuracy" not in score["score"]:
        return "retrieval"
    return "supervised" if score["data"].partition("/")[0] in taught else "zero-shot"


def _read(description: Path) -> dict[str, Any]:
    try:
        value = json.loads(description.read_text("utf-8"))
        if not all(isinstance(value.get(part, {}), dict) for part in ("notes", "files", "gate")):
            raise TypeError("its notes, files or gate are no table")
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise BadModel(f"{description}: cannot be read ({error}); give a model's {DESCRIPTION}") from error
    return value


def _teacher(teacher: str | Mapping[str, str]) -> str:
    """Name the teacher; older notes hold its name alone."""
    if isinstance(teacher, str):
        return f"{teacher} (its fingerprint was not noted)"
    return f"{teacher['name']} (fingerprint `{teacher['fingerprint']}`)"


def _begun(notes: Mapping[str, Any], facts: Facts) -> bool:
    return bool(facts.begins_with) or notes.get("recipe", {}).get("blend") is not None


def _beginning(settings: Mapping[str, Any], notes: Mapping[str, Any], facts: Facts) -> str:
    """Say what the run began with, as far as notes and facts tell."""
    told = []
    if facts.begins_with:
        told.append(f"It began with {'; '.join(facts.begins_with)}.")
    elif _begun(notes, facts):
        told.append("It began with a finished model; with which is not told.")
    if (blend := settings.get("blend")) is not None:
        told.append(
            f"Its image tower's weights began at {blend:g} of the way from those it is built with to the finished "
            "model's (`blend`)."
        )
    if any(settings.get(part) for part in _FIRST_PARTS):
        told.append(
            "The first parts are shown as the recipe sets them; where a run begins with weights that came through "
            "them, they are left out."
        )
    return " ".join(told)


def _student_stages(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a student's recipe as stages: its first parts, as far as it has them, then the whole student."""
    stages: list[Mapping[str, Any]] = []
    for part, (name, learns) in _FIRST_PARTS.items():
        if one := settings.get(part):
            stages.append({"name": name, **one, "held": None, "learn": {learns: one["rate"]}})
    learn = dict(settings.get("learn", {}))
    if (settings.get("reading") or {}).get("held"):  # then the text side learns no more
        learn.pop("text_tower", None)
        if "heads" in learn:
            learn = {("image head" if part == "heads" else part): rate for part, rate in learn.items()}
    name = "the whole student" if stages else settings.get("name", "")
    return [*stages, {**settings, "name": name, "learn": learn, "held": None}]


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {part:g}" for name, part in value.items())
    return "" if value in (None, 0) else str(value)

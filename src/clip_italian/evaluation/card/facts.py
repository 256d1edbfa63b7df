"""What no measurement tells of a model: where its parts and data come from, under which terms, what it is not for.

A TOML file, checked; every part may be missing, and the card then says that it is not told. Public names: Facts, Data,
Part, read_facts.
"""

import tomllib
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from ...errors import BadRecord


class _Checked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Part(_Checked):
    """A part of the model: what it is, where it comes from, its licence."""

    part: str
    what: str
    licence: str = ""


class Data(_Checked):
    """Data the model learned from."""

    name: str
    photos: str
    captions: str
    terms: str


class Facts(_Checked):
    """What a person says of a model.

    title: the card's heading. about: what the model is, a paragraph or two. parts, data: tables. terms: in words, what
    the data's terms mean for the model. imagenet_labels: whether ImageNet's labels trained it, or one of its towers.
    supervised: names of the data sets, as `card --data` calls them, whose training part trained it with its labels.
    begins_with: finished models or parts that its run began with, each in words. made_on: the machine. caveats: what to
    know about the results. failures: what a person sees who looks through the failures. not_for: what the model must
    not be used for. biases: what is known of its data beside what is measured. quote: names of the data sets whose
    captions the card may print; of the others it names the photo and the caption's number. Without it all may be
    printed.
    """

    title: str = ""
    about: str = ""
    parts: tuple[Part, ...] = ()
    data: tuple[Data, ...] = ()
    terms: str = ""
    imagenet_labels: bool | None = None
    supervised: tuple[str, ...] = ()
    begins_with: tuple[str, ...] = ()
    made_on: str = ""
    caveats: tuple[str, ...] = ()
    failures: str = ""
    not_for: tuple[str, ...] = ()
    biases: tuple[str, ...] = ()
    quote: tuple[str, ...] | None = None


def read_facts(path: Path) -> Facts:
    """Read a TOML file of facts. Raises BadRecord, with the place, when it cannot be read or holds something else."""
    try:
        return Facts.model_validate(tomllib.loads(path.read_text("utf-8-sig")))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRecord(f"{path}: cannot be read as TOML ({error}); give a text file of facts in UTF-8") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        known = ", ".join(Facts.model_fields)
        raise BadRecord(f"{path}: {place}: {first['msg'].lower()}; a card's facts are {known}") from error

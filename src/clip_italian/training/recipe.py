"""Recipes: every setting of a training run, checked, read from TOML, printed, and stored in what comes out.

Public names: Recipe, Stage, read_recipe.
"""

import difflib
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, field_validator, model_validator

from ..errors import BadRecipe
from ..models.towers import Side, tower_settings, tower_types
from .energy import Grid

Part = Literal["image_tower", "text_tower", "heads", "scale"]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Tower(_Settings):
    """A tower's type; what else it takes is its own (docs/training.md) and checked when a recipe is read."""

    model_config = ConfigDict(extra="allow", frozen=True)
    type: str


class Head(_Settings):
    """From a tower's reading to the common space."""

    type: Literal["linear", "mlp", "attention", "places"] = "linear"
    hidden: int | None = Field(default=None, gt=0)
    heads: int | None = Field(default=None, gt=0)
    blocks: int | None = Field(default=None, ge=0)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    centred: bool | None = None

    @model_validator(mode="after")
    def _settings_of_its_type(self) -> "Head":
        taken = {
            "linear": "",
            "mlp": "hidden dropout",
            "attention": "hidden dropout heads",
            "places": "hidden dropout heads blocks",
        }[self.type].split()
        if extra := sorted(self.model_fields_set - {"type", "centred", *taken}):
            raise ValueError(f"a {self.type} head has no {extra[0]}")
        return self


class TextHead(Head):
    """A text tower's head; pieces lie on no map, so that there are no places to know."""

    @field_validator("type")
    @classmethod
    def _has_no_places(cls, value: str) -> str:
        if value == "places":
            raise ValueError("places is a head for image towers only; take linear, mlp or attention")
        return value


class Pictures(_Settings):
    """How pictures become pixels; mean and std default to the tower's own.

    train_size: the size in training, where it is another. Parts cut out of pictures show things larger than whole
    pictures do, so that a somewhat larger size in use makes up for it (Touvron 2019, FixRes).
    """

    size: int = Field(default=224, ge=32, le=1024)
    train_size: int | None = Field(default=None, ge=32, le=1024)
    resize: Literal["crop", "squash"] = "crop"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


class Texts(_Settings):
    """How captions become pieces. vocabulary: size of a tokenizer trained on the captions, for towers from scratch."""

    max_length: int = Field(default=96, ge=4, le=512)
    vocabulary: int = Field(default=8000, ge=300)
    languages: dict[str, float] = {"it": 1.0}
    queries: float = Field(default=0.0, ge=0, le=1, description="how often a short query is drawn in a caption's place")
    per_photo: int = Field(default=1, ge=1, le=5, description="captions of a photo in one step, all of them positives")
    hard_negatives: int = Field(
        default=0,
        ge=0,
        description="texts of a sample's own `hard_negatives`, almost true of it, that it is told from in a step",
    )
    warm_start: int = Field(default=0, ge=0, description="steps of masked-language training on the captions beforehand")

    @model_validator(mode="after")
    def _some_language_is_drawn(self) -> "Texts":
        if not any(weight > 0 for weight in self.languages.values()):
            raise ValueError("languages needs one with a weight above 0, such as { it = 1.0 }")
        return self


class Loss(_Settings):
    """What is made small."""

    type: Literal["softmax", "sigmoid"] = "softmax"
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    margin: float = 0.0
    bias: float = Field(default=-10.0, description="start of the sigmoid loss's bias")


class Classes(_Settings):
    """What the image tower's own classifier adds: every picture is told by the classes it may show.

    weight: of that loss beside the captions'. prototypes: weight of the classifier's rows as stand-ins for pictures.
    mixed: weight of pictures into whose maps such rows are mixed, told by the classes that the classifier then sees.
    keep: weight of staying near what the untouched tower reads. names: how many classes, the likeliest in a batch, are
    told apart in a step.
    """

    weight: float = Field(default=0.5, gt=0)
    prototypes: float = Field(default=0.2, ge=0)
    mixed: float = Field(default=0.0, ge=0)
    keep: float = Field(default=0.5, ge=0)
    names: int = Field(default=1000, ge=2, le=1000)


class Stage(_Settings):
    """One stage: which parts learn and how fast, for how long, on which pictures.

    learn: learning rate of each part that learns. batch: pairs in a step. warmup: share of the steps in which the rate
    rises. views: with an augmentation and a stem that does not learn, how many augmented views of each picture are
    computed beforehand and kept; None draws a new one every epoch. window: of kept maps, each step sees a part whose
    sides are at least this share of the whole ones, and half of them mirrored. clipping: adaptive gradient clipping.
    average: decay a step of an average of the weights, which is then what is validated and kept. patience:
    validations without a better figure after which the stage ends. validate_every: epochs from one validation to the
    next; the last one always has one. labelled: pictures of known classes in a step,
    for a recipe with `classes`. longest: only pictures whose captions all have at most so many
    words are learned from, so that a run may begin with what is simple.
    """

    name: str
    learn: dict[Part, float] = Field(min_length=1)
    epochs: int = Field(gt=0)
    batch: int = Field(default=128, ge=2)
    optimizer: Literal["adabelief", "adamw", "sgd"] = "adamw"
    weight_decay: float = Field(default=0.0, ge=0)
    clipping: float | None = Field(default=None, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    warmup: float = Field(default=0.1, ge=0, lt=1)
    augment: Literal["none", "paper", "crop"] = "none"
    held: int | None = Field(default=None, ge=1)
    views: int | None = Field(default=None, ge=1)
    window: float | None = Field(default=None, gt=0, le=1)
    average: float | None = Field(default=None, gt=0, lt=1)
    patience: int | None = Field(default=None, ge=1)
    validate_every: int = Field(default=1, ge=1)
    labelled: int = Field(default=0, ge=0)
    longest: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _views_need_augmentation(self) -> "Stage":
        if self.views is not None and self.augment == "none":
            raise ValueError("views needs an augmentation: without one, all views are the same")
        if self.window is not None and self.augment != "none" and self.views is None:
            raise ValueError("window shows parts of maps that are kept: give views, or no augmentation")
        return self


class Recipe(_Settings):
    """A whole run. select: the validation figure that decides which weights are kept.

    blend: for a run that begins from a finished model, how far its image tower goes from the pretrained weights (0) to
    the finished ones (1). country: whose electricity the run is counted at (energy.GRIDS).
    """

    name: str
    seed: int = 42
    dim: int = Field(default=512, gt=0)
    image_tower: Tower
    text_tower: Tower
    image_head: Head = Head()
    text_head: TextHead = TextHead()
    pictures: Pictures = Pictures()
    texts: Texts = Texts()
    loss: Loss = Loss()
    classes: Classes | None = None
    scale: float = Field(default=20.0, gt=0, le=100)
    precision: Literal["float32", "bfloat16"] = "float32"
    valid_share: float = Field(default=0.05, gt=0, lt=0.5)
    select: Literal["loss", "mrr@10"] = "loss"
    weights: Literal["float32", "float16"] = "float32"
    blend: float | None = Field(default=None, gt=0, lt=1)
    country: Grid = "world"
    workers: int = Field(default=2, ge=0)
    stages: tuple[Stage, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _classes_need_a_classifier(self) -> "Recipe":
        tower = self.image_tower
        if self.classes and (tower.type != "efficientnet-lite2" or (tower.model_extra or {}).get("end")):
            raise ValueError(
                "classes: only the whole image tower efficientnet-lite2 brings a classifier; leave them out"
            )
        return self

    def stored(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values, unset ones left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def identity(self) -> bytes:
        """Return what a stored run belongs to; `workers`, `weights`, `country` change no training and are left out.

        Settings newer than a run that is still to be resumed are left out, too, while they ask for nothing.
        """
        exclude: dict[str, Any] = {"workers": True, "weights": True, "country": True}
        if self.blend is None:
            exclude["blend"] = True
        if self.classes and not self.classes.mixed:
            exclude["classes"] = {"mixed"}
        if not self.texts.hard_negatives:
            exclude["texts"] = {"hard_negatives"}
        newer = ("longest", "window", "held")
        exclude["stages"] = {
            number: {name for name in newer if getattr(stage, name) is None} for number, stage in enumerate(self.stages)
        }
        return self.model_dump_json(exclude=exclude).encode()


def read_recipe(path: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe from TOML and change it by `key=value` (`stages.0.epochs=3`). Raises BadRecipe.

    Unknown keys are refused with the nearest right one.
    """
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadRecipe(f"{path}: cannot be read ({error.strerror}); recipes are TOML files, see recipes/") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRecipe(f"{path}: is not TOML ({error})") from error
    for override in overrides:
        _override(values, override)
    try:
        recipe = Recipe.model_validate(values)
    except ValidationError as error:
        raise BadRecipe(f"{path}: {'; '.join(map(_fault, error.errors()))}") from error
    if faults := [*_tower_faults("image", recipe.image_tower), *_tower_faults("text", recipe.text_tower)]:
        raise BadRecipe(f"{path}: {'; '.join(faults)}")
    return recipe


def _override(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise BadRecipe(f"--set {override}: write key=value, such as stages.0.epochs=3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text  # a bare word stands for itself, so that --set name=prova needs no quotes inside quotes
    *parents, last = key.split(".")
    place: Any = values
    for parent in parents:
        place = _step(place, parent, override)
    if isinstance(place, list):
        place[_index(place, last, override)] = value
    else:
        place[last] = value


def _step(place: Any, name: str, override: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, name, override)]
    inner = place.setdefault(name, {})
    if not isinstance(inner, dict | list):
        raise BadRecipe(f"--set {override}: {name} is a value, nothing lies under it")
    return inner


def _index(place: list[Any], name: str, override: str) -> int:
    if not name.isdecimal() or int(name) >= len(place):
        raise BadRecipe(f"--set {override}: {name} is not one of 0 to {len(place) - 1}")
    return int(name)


def _tower_faults(side: Side, tower: Tower) -> list[str]:
    """Say what is wrong with a tower's settings, which depend on its type."""
    where, types = f"{side}_tower", tower_types(side)
    if tower.type not in types:
        return [f"{where}.type: there is no {side} tower {tower.type!r}; {_hint(tower.type, types, 'types')}"]
    taken = tower_settings(side, tower.type)
    fields: dict[str, Any] = {name: (annotation, None) for name, annotation in taken.items()}
    # Strict, because the tower gets the value as it was written.
    settings = create_model("Settings", __config__=ConfigDict(extra="forbid", strict=True), **fields)
    try:
        settings.model_validate(tower.model_extra)
    except ValidationError as error:
        return [_fault(problem, f"{where}.", list(taken)) for problem in error.errors()]
    return []


def _fault(problem: Any, place: str = "", known: list[str] | None = None) -> str:
    """Say what is wrong with a setting. known: the keys at `place`, where they are not the recipe's own."""
    location = problem["loc"]
    names = [str(part) for part in location if part != "[key]"] or ["recipe"]
    where = place + ".".join(names)
    if problem["type"] == "extra_forbidden" or "[key]" in location:
        return f"{where} is not a setting; {_hint(names[-1], known or _known_keys(location), 'keys')}"
    return f"{where}: {_complaint(problem)}"


def _hint(name: str, known: list[str], what: str) -> str:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    return f"did you mean {near[0]}?" if near else f"the {what} there are {', '.join(known)}"


def _complaint(problem: Any) -> str:
    if problem["type"] == "missing":
        return "is missing"
    if problem["type"] == "value_error":
        return problem["msg"].removeprefix("Value error, ")
    return f"{problem['msg']}, not {problem['input']!r}"


def _known_keys(location: tuple[int | str, ...]) -> list[str]:
    if location[-1] == "[key]":
        return list(get_args(Part))  # the only table whose keys are of a closed list
    model: type[BaseModel] = Recipe
    nested: dict[str, type[BaseModel]] = {
        "image_head": Head,
        "text_head": TextHead,
        "pictures": Pictures,
        "texts": Texts,
        "loss": Loss,
        "classes": Classes,
        "stages": Stage,
    }
    if len(location) > 1:
        model = nested.get(str(location[0]), Recipe)
    return list(model.model_fields)

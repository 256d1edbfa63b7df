"""Recipes of distillation: every setting of a student's run, checked, read from TOML, stored in what comes out.

Public names: DistilRecipe, Views, Blockwise, Reading, StudentTexts, Weights, read_distil_recipe.
"""

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from ..errors import BadRecipe
from .energy import Grid
from .recipe import Head, Part, Pictures, TextHead, Tower, _fault, _override, _Settings, _tower_faults

Kind = Literal["captions", "queries", "phrases", "labels", "lines"]


class Views(_Settings):
    """What the teacher is shown of each picture, once, and the student ever again.

    captioned, others: views of a picture with captions and of one without; the first is the whole picture. kept: side
    of the squares that pictures are kept as; small: of those pictures' no side of which is longer, where processors
    learn. area, ratio: of a view's part of the square, drawn as `crop_augment` draws them. colour: each of the
    student's own factors lies in 1 ± colour. erase: how often a part of a view, a tenth of it at most, is greyed for
    the student alone. captioned_size, others_size: sides at which the teacher looks at views of the two, by default its
    own; what is small anyway tells it no more when it is enlarged.
    """

    captioned: int = Field(default=6, ge=1)
    others: int = Field(default=3, ge=1)
    kept: int = Field(default=192, ge=32, le=1024)
    small: int = Field(default=64, ge=32, le=1024)
    area: tuple[float, float] = (0.35, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    colour: float = Field(default=0.3, ge=0, lt=1)
    erase: float = Field(default=0.0, ge=0, le=1)
    captioned_size: int | None = Field(default=None, ge=32, le=1024)
    others_size: int | None = Field(default=None, ge=32, le=1024)

    @model_validator(mode="after")
    def _ranges_rise(self) -> "Views":
        if not 0 < self.area[0] <= self.area[1] <= 1 or not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError("area rises within 0 to 1, ratio rises from above 0")
        return self


class Blockwise(_Settings):
    """A first part of the run, in which each stage of the image tower learns what the teacher's makes of its input.

    steps, batch: how many, of so many pictures. rate: at its highest; it rises for `warmup` steps. joined: share of the
    steps, the last ones, in which a stage reads what the student's own stages before it make, instead of the teacher's.
    sizes: sides that pictures have in equal parts of the steps; by default the student's own size all along.
    """

    steps: int = Field(default=4000, ge=1)
    batch: int = Field(default=64, ge=2)
    rate: float = Field(default=3e-3, gt=0)
    warmup: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=0.01, ge=0)
    joined: float = Field(default=0.5, ge=0, le=1)
    sizes: list[Annotated[int, Field(ge=32, le=1024)]] = Field(default=[])


class Reading(_Settings):
    """A first part of the run, in which the text side alone learns the teacher's vectors of texts.

    steps, batch: how many, of so many texts. rate: at its highest; it rises for `warmup` steps. rows: weight of which
    texts the teacher finds near each other, beside 1 for the vectors themselves. held: whether the text side stays as
    it is from then on, so that what it reads, single words above all, is not given up for captions.
    """

    steps: int = Field(default=2000, ge=1)
    batch: int = Field(default=512, ge=2)
    rate: float = Field(default=2e-3, gt=0)
    warmup: int = Field(default=100, ge=0)
    weight_decay: float = Field(default=0.05, ge=0)
    rows: float = Field(default=0.2, ge=0)
    held: bool = False


class StudentTexts(_Settings):
    """What the student reads. vocabulary: of its tokenizer. languages: how often each is drawn as a picture's caption.

    queries: share of short queries among a picture's drawn texts, where it has any. per_photo: texts of a captioned
    picture in a step. batch: texts in a step, those included; the others are drawn by kind, as `shares` weighs them.
    phrases: beginnings and windows of one to four words cut out of each caption in the first
    language, of others by their weight. lines: of each file of further texts,
    at most so many. most: of all distinct texts; beyond it, phrases and lines are left out by chance.
    """

    max_length: int = Field(default=32, ge=4, le=512)
    vocabulary: int = Field(default=8000, ge=300)
    languages: dict[str, float] = Field(default={"it": 0.75, "en": 0.25}, min_length=1)
    queries: float = Field(default=0.15, ge=0, lt=1)
    per_photo: int = Field(default=2, ge=1, le=5)
    batch: int = Field(default=1536, ge=2)
    phrases: int = Field(default=3, ge=0)
    lines: int = Field(default=30_000, ge=0)
    most: int = Field(default=250_000, ge=1)
    shares: dict[Kind, float] = Field(
        default={"captions": 0.3, "queries": 0.1, "phrases": 0.25, "labels": 0.15, "lines": 0.2}, min_length=1
    )


class Weights(_Settings):
    """How much each part of the loss counts, and what cosines are multiplied by in the two that compare distributions.

    image, text: 1 − cosine of student and teacher. rows: the two's similarities over the batch, both ways.
    contrastive: pictures and their own captions. classes: ImageNet's classes, where their names are given; labels: what
    share of a picture's target is its own class, where that is known.
    """

    image: float = Field(default=1.0, ge=0)
    text: float = Field(default=1.0, ge=0)
    rows: float = Field(default=0.5, ge=0)
    contrastive: float = Field(default=0.1, ge=0)
    classes: float = Field(default=0.2, ge=0)
    labels: float = Field(default=0.5, ge=0, le=1)
    rows_scale: float = Field(default=30.0, gt=0, le=100)
    classes_scale: float = Field(default=30.0, gt=0, le=100)


class DistilRecipe(_Settings):
    """A student's whole run; its dimensions are the teacher's.

    batch: pictures in a step; captioned: share of them that have captions, where there are both kinds. epochs: rounds
    over the captioned pictures. warmup: steps in which rates rise. average: decay a step of the weights that are kept.
    validate_every: epochs between validations. settle: batches from which batch norms are measured for the average.
    classifier: whose reading ImageNet's classifier gets, that of the tower as its package brings it or the teacher's.
    """

    name: str
    seed: int = 42
    image_tower: Tower
    text_tower: Tower
    image_head: Head = Head()
    text_head: TextHead = TextHead()
    pictures: Pictures = Pictures(size=160, resize="squash")
    views: Views = Views()
    texts: StudentTexts = StudentTexts()
    blockwise: Blockwise | None = None
    reading: Reading | None = None
    loss: Weights = Weights()
    scale: float = Field(default=20.0, gt=0, le=100)
    learn: dict[Part, float] = Field(
        default={"heads": 2e-3, "image_tower": 2e-3, "text_tower": 1e-3, "scale": 1e-3}, min_length=1
    )
    epochs: int = Field(default=100, gt=0)
    batch: int = Field(default=768, ge=2)
    captioned: float = Field(default=0.6, gt=0, le=1)
    weight_decay: float = Field(default=0.05, ge=0)
    clipping: float | None = Field(default=5.0, gt=0)
    warmup: int = Field(default=200, ge=0)
    average: float = Field(default=0.998, gt=0, lt=1)
    validate_every: int = Field(default=5, ge=1)
    settle: int = Field(default=16, ge=1)
    classifier: Literal["untouched", "teacher"] = "untouched"
    teacher_batch: int = Field(default=512, ge=1)
    precision: Literal["float32", "bfloat16"] = "bfloat16"
    weights: Literal["float32", "float16"] = "float16"
    country: Grid = "world"

    @field_validator("pictures")
    @classmethod
    def _one_size(cls, value: Pictures) -> Pictures:
        if value.train_size is not None:
            raise ValueError("train_size is for `train`; a student learns at the size of its use, so leave it out")
        return value

    @model_validator(mode="after")
    def _room_for_texts(self) -> "DistilRecipe":
        if self.texts.batch < self.batch * self.texts.per_photo:
            raise ValueError(
                f"texts.batch is {self.texts.batch}, but a step may draw {self.batch} × {self.texts.per_photo} captions"
            )
        return self

    def stored(self) -> dict[str, Any]:
        """Return the recipe as plain JSON values, unset ones left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def identity(self) -> bytes:
        """Return what a stored run belongs to; what changes no training, or only its length, is left out."""
        return self.model_dump_json(
            exclude={"weights", "country", "epochs", "validate_every", "teacher_batch"}
        ).encode()


def read_distil_recipe(path: Path, overrides: Iterable[str] = ()) -> DistilRecipe:
    """Read a recipe from TOML and change it by `key=value` (`loss.rows=1`). Raises BadRecipe."""
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise BadRecipe(f"{path}: cannot be read ({error.strerror}); recipes are TOML files, see recipes/") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRecipe(f"{path}: is not TOML ({error})") from error
    for override in overrides:
        _override(values, override)
    try:
        recipe = DistilRecipe.model_validate(values)
    except ValidationError as error:
        raise BadRecipe(
            f"{path}: {'; '.join(_fault(one, known=_keys(one['loc'])) for one in error.errors())}"
        ) from error
    if faults := [*_tower_faults("image", recipe.image_tower), *_tower_faults("text", recipe.text_tower)]:
        raise BadRecipe(f"{path}: {'; '.join(faults)}")
    return recipe


def _keys(location: tuple[int | str, ...]) -> list[str]:
    """Return the keys that may stand where a wrong one does; none where no table is."""
    kind: Any = DistilRecipe
    for part in location[: -2 if location[-1:] == ("[key]",) else -1]:
        fields = getattr(kind, "model_fields", {})
        kind = fields[part].annotation if part in fields else None
    if hasattr(kind, "model_fields"):
        return list(kind.model_fields)
    return [str(key) for key in get_args(next(iter(get_args(kind)), None))]  # of dict[Literal[...], float]

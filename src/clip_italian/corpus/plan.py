"""The plan of a corpus: a TOML file in which every setting is checked.

Public names: CorpusPlan, SimilarityPlan, ShardPlan, RunPlan, read_plan.
"""

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ..errors import BadPlan
from .duplicates.plan import DuplicatePlan
from .fetching.plan import FetchPlan
from .filters.plan import FilterPlan
from .parallel import Where
from .quality.plan import QualityPlan
from .sources import SourcePlan
from .translation.plan import TranslationPlan


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SimilarityPlan(_Table):
    """The table [similarity]: how well captions must fit their pictures, by the plan's model."""

    at_least: float = Field(default=-1.0, ge=-1, le=1, description="captions with a smaller cosine are dropped")
    best: float = Field(default=1.0, gt=0, le=1, description="share of captions that is kept, the nearest ones")


class ShardPlan(_Table):
    """The table [shards]: what is written for training."""

    valid: float = Field(default=0.05, gt=0, lt=1, description="share kept aside for validation")
    samples: int = Field(default=5000, ge=1, description="samples a shard, about")
    weights: dict[str, float] = Field(default_factory=dict, description="source → how often its samples are drawn; 1")

    @model_validator(mode="after")
    def _weights_are_weights(self) -> "ShardPlan":
        if wrong := [name for name, weight in self.weights.items() if not 0 <= weight <= 1000]:
            raise ValueError(f"the weight of {wrong[0]} must lie between 0 and 1000")
        return self


class RunPlan(_Table):
    """The table [run]: what does the work. It changes no result."""

    where: Where = Field(default="processes", description="processes of this machine, or ray: a cluster (extra ray)")
    jobs: int = Field(default=0, ge=0, le=4096, description="workers; 0: as many as this machine has cores")
    batch: int = Field(default=500, ge=1, le=100_000, description="samples a worker gets at a time")

    @property
    def workers(self) -> int:
        """Return how many workers there are."""
        here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        return self.jobs or here or 1


class CorpusPlan(_Table):
    """A corpus: what it is made from, and how."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$", description="goes into every sample and model")
    model: str = Field(
        default="clip-italian-small",
        description='what `load` opens, to compare pictures with each other and with captions; "": hashes alone. The '
        "limits of [duplicates] were measured with this one",
    )
    gone: tuple[str, ...] = Field(
        default=(), description="files gone.tsv of other corpora: what has left those does not come into this one"
    )
    sources: tuple[SourcePlan, ...] = Field(min_length=1)
    filters: FilterPlan = FilterPlan()
    fetching: FetchPlan = FetchPlan()
    duplicates: DuplicatePlan = DuplicatePlan()
    translation: TranslationPlan | None = None
    quality: QualityPlan = QualityPlan()
    similarity: SimilarityPlan = SimilarityPlan()
    shards: ShardPlan = ShardPlan()
    run: RunPlan = RunPlan()

    @model_validator(mode="after")
    def _similarity_needs_a_model(self) -> "CorpusPlan":
        if not self.model and (self.similarity.at_least > -1 or self.similarity.best < 1):
            raise ValueError("similarity.at_least and similarity.best need a model; name one, or leave them out")
        return self

    @model_validator(mode="after")
    def _weights_name_sources(self) -> "CorpusPlan":
        kinds = {source.kind for source in self.sources}
        if unknown := sorted(self.shards.weights.keys() - kinds):
            raise ValueError(f"shards.weights names {unknown[0]}, which is no source of this plan ({_listed(kinds)})")
        return self


def read_plan(path: Path | str) -> CorpusPlan:
    """Read a plan. Raises BadPlan, with every fault that was found in it.

    >>> read_plan("corpus.toml").name                                      # doctest: +SKIP
    'it-1'
    """
    path = Path(path)
    try:
        values = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise BadPlan(f"{path}: there is no such plan; check the name") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadPlan(f"{path}: not TOML ({error}); see docs/corpus.md") from error
    except OSError as error:
        raise BadPlan(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    try:
        return CorpusPlan.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(_fault(problem) for problem in error.errors())
        raise BadPlan(f"{path}: {faults}") from error


def _fault(problem: Any) -> str:
    location = problem["loc"]
    where = ".".join(str(part) for part in location) or "the plan"
    if problem["type"] == "extra_forbidden":
        known = list(_model_at(location[:-1]).model_fields)
        near = difflib.get_close_matches(str(location[-1]), known, 1, 0.5)
        return f"{where} is not a setting; " + (f"did you mean {near[0]}?" if near else f"there are {_listed(known)}")
    if problem["type"] == "missing":
        return f"{where} is missing"
    if problem["type"] == "value_error":
        return f"{where}: {problem['msg'].removeprefix('Value error, ')}"
    return f"{where}: {problem['msg']}, not {problem['input']!r}"


def _model_at(location: tuple[int | str, ...]) -> type[BaseModel]:
    """Return the table that a place in the plan belongs to."""
    model: type[BaseModel] = CorpusPlan
    if not location:
        return model
    if location[0] == "sources":
        sources: tuple[type[BaseModel], ...] = get_args(get_args(SourcePlan)[0])
        kinds: dict[Any, type[BaseModel]] = {
            kind: one for one in sources for kind in get_args(one.model_fields["kind"].annotation)
        }
        return kinds.get(location[-1], model)
    tables: dict[str, type[BaseModel]] = {
        "filters": FilterPlan, "fetching": FetchPlan, "duplicates": DuplicatePlan, "translation": TranslationPlan,
              "quality": QualityPlan, "similarity": SimilarityPlan, "shards": ShardPlan, "run": RunPlan}  # fmt: skip
    return tables.get(str(location[0]), model)


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))

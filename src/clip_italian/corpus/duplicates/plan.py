"""The settings of this room: a table `duplicates` of a corpus's plan.

Public names: DuplicatePlan, Likeness, SetName.
"""

from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

SetName = Literal["mscoco-it-dev", "mscoco-it-test", "xtd10", "crossmodal-3600"]


class Likeness(BaseModel):
    """When two pictures count as one, by the bits in which their hashes differ and by the cosine of their vectors.

    Either `bits` or fewer differ, or the cosine is at least cosine + per_bit × bits that differ, of which there may be
    `farthest`. A cosine alone never decides: to a model that pairs pictures with words, two zebras are alike.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    bits: int = Field(default=6, ge=0, le=12, description="hashes that differ in so many bits are one picture")
    cosine: float = Field(default=0.7, ge=0, le=1, description="with vectors: the cosine needed were the hashes equal")
    per_bit: float = Field(default=0.015, ge=0, le=0.1, description="and how much more of it for each bit that differs")
    farthest: int = Field(default=20, ge=0, le=32, description="more bits than these, and no cosine is enough")
    mirrored: bool = Field(default=True, description="a picture seen in a mirror is the same picture")

    @property
    def least_cosine(self) -> float:
        """The cosine below which vectors never make a pair that the hashes do not make alone."""
        return self.cosine + self.per_bit * (self.bits + 1)

    @property
    def reach(self) -> int:
        """The bits beyond which two hashes never make a pair, whatever the vectors are."""
        return max(self.bits, self.farthest)

    def alike(self, distance: np.ndarray, cosine: np.ndarray | None = None) -> np.ndarray:
        """Tell for each pair whether it counts as one picture. distance: bits; cosine: of the same shape, or None."""
        close = distance <= self.bits
        if cosine is None:
            return close
        return close | ((distance <= self.farthest) & (cosine >= self.cosine + self.per_bit * distance))


class DuplicatePlan(BaseModel):
    """What counts as a duplicate within the corpus, and what as an evaluation picture, which leaves it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    addresses: bool = Field(default=True, description="pictures of one address, or one Flickr or Wikimedia id, are one")
    same: Likeness = Field(default=Likeness(), description="two pictures of the corpus that count as one")
    # A corpus of a million has 500 billion pairs within itself, but only a few billion with a test set: there, a wider
    # net loses little, and catches crops and borders.
    evaluation: Likeness = Field(
        default=Likeness(bits=8, cosine=0.5, per_bit=0.02, farthest=24),
        description="a picture of the corpus and one of a test set that count as one",
    )
    sets: tuple[SetName, ...] = Field(
        default=("mscoco-it-dev", "mscoco-it-test", "xtd10", "crossmodal-3600"),
        description="evaluations whose pictures are removed by their ids, which come with the package",
    )
    id_files: tuple[str, ...] = Field(
        default=(), description="further evaluations: files with one picture's name, address or id a line (.txt, .gz)"
    )
    test_sets: tuple[str, ...] = Field(
        default=(), description="folders, JSON lines or tars of test pictures: these and what is near them is removed"
    )

"""The settings of translation quality: how many translations people rate, and when an automatic signal raises alarm.

Public names: QualityPlan.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class QualityPlan(BaseModel):
    """Table [quality] of corpus.toml. Defaults of the alarms: docs/corpus-quality.md has what they find and miss."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sample: int = Field(default=100, ge=1, description="translations on the rating sheet; the paper's 100")
    at_least: int = Field(default=10, ge=0, description="of each source and engine, as far as there are so many")
    seed: int = Field(default=0, ge=0, description="another seed draws another sample")
    weights: Literal["identity", "ordinal", "linear", "quadratic"] = Field(
        default="ordinal", description="of Gwet's coefficient"
    )
    shortest: float = Field(default=0.72, gt=0, description="alarm: Italian characters per English character, below")
    longest: float = Field(default=1.9, gt=0, description="alarm: Italian characters per English character, above")
    untranslated: float = Field(
        default=0.15, ge=0, le=1, description="alarm: share of Italian words left in English, from"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.shortest >= self.longest:
            raise ValueError(f"shortest ({self.shortest}) must be less than longest ({self.longest})")
        return self

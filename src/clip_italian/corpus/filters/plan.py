"""The settings of the filters, and the names of the rules in the order they are asked.

Public names: FilterPlan, RULES, Rule.
"""

import re
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Rule = Literal[
    "too short",
    "too long",
    "garbled",
    "personal data",
    "url",
    "file name",
    "credit",
    "placeholder",
    "repeated",
    "few letters",
    "proper nouns",
    "language",
]
RULES: tuple[str, ...] = get_args(Rule)


class FilterPlan(BaseModel):
    """What a caption must be to be kept; the table [filters] of corpus.toml."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    without: tuple[Rule, ...] = Field(default=(), description="rules that are not asked")
    min_words: int = Field(default=1, ge=1, description="fewer words: too short")
    min_characters: int = Field(default=3, ge=1, description="fewer characters: too short")
    max_words: int = Field(default=100, ge=1, description="more words: too long; the text tower reads about 70")
    max_characters: int = Field(default=700, ge=1, description="more characters: too long")
    min_letters: float = Field(
        default=0.4, ge=0, le=1, description="smaller share of Latin letters among what is not blank: few letters"
    )
    max_run: int = Field(default=4, ge=1, description="longer run of one sign or one word: repeated")
    min_variety: float = Field(
        default=0.34, ge=0, le=1, description="smaller share of distinct words, from ten words on: repeated"
    )
    proper_nouns: float = Field(
        default=0.8, gt=0, le=1, description="share of words that are proper nouns from which a caption is refused"
    )
    tagger: str = Field(
        default="own",
        description='what tells proper nouns: "own", "spacy:PIPELINE", "auto": it_core_news_sm if installed',
    )
    language_threshold: float = Field(
        default=0.9, ge=0.5, le=1, description="probability of another language from which a caption is refused"
    )
    language_words: float = Field(
        default=0.75,
        ge=0,
        le=1,
        description="share of words known in the wanted language that saves a caption",
    )

    @field_validator("tagger")
    @classmethod
    def _known_tagger(cls, value: str) -> str:
        if value not in ("own", "auto") and not re.fullmatch(r"spacy:\S+", value):
            raise ValueError(f'{value!r} is no tagger; take "own", "auto" or "spacy:it_core_news_sm"')
        return value

    @model_validator(mode="after")
    def _limits_leave_room(self) -> "FilterPlan":
        if self.min_words > self.max_words or self.min_characters > self.max_characters:
            raise ValueError("the lower limit of a length is above the upper one; nothing would be kept")
        return self

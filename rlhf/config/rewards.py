"""What a score is made of: sources, each a model or a function with its weight, as they were asked.

The short forms (reward_model.path, reward.function) become sources here, in `asked_sources`;
everything after that knows the list alone.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from rlhf.config.section import Place, Section

LEGAL_NAME = re.compile(r"[\w.-]{1,64}")
"""A source's name stands in the names of metrics and columns."""


class RewardSourceConfig(Section):
    """One source of the reward; every field besides name and weight is a kind of source."""

    name: str | None = None
    """What its figures are called: `reward/NAME/score`; as a rule the function's name, or that of
    the model's folder."""
    weight: float = 1.0
    """What its score is multiplied by before all are added."""
    model: Place | None = None
    """A trained reward model; RUN/reward_model is the run's own, which a pipeline trains first."""
    function: Place | None = None
    """FILE.py:NAME, as in reward.function."""

    @model_serializer(mode="wrap")
    def _without_other_kinds(self, dump: SerializerFunctionWrapHandler) -> dict[str, object]:
        """Leave out what is not given: a kind of a later release changes no record of this one."""
        return {name: value for name, value in dump(self).items() if value is not None}

    @property
    def given(self) -> dict[str, object]:
        """The kinds that are named, with what they are."""
        values = {kind: getattr(self, kind) for kind in KINDS}
        return {kind: value for kind, value in values.items() if value is not None}


KINDS = tuple(name for name in RewardSourceConfig.model_fields if name not in ("name", "weight"))
"""The kinds of sources there are."""


class RewardConfig(Section):
    """Where a score comes from: models, functions, or the weighted sum of several."""

    function: Place | None = None
    """FILE.py:NAME of f(prompts, completions, **columns) -> list[float], TRL's signature; run in a
    process of its own, so that it cannot end or change the run."""
    timeout_s: float = Field(default=300.0, gt=0)
    """Longest that loading a function, and each call of it (a step's responses), may take, in
    seconds; a judge's too."""
    function_weight: float = 1.0
    """Weight of the function's score."""
    model_weight: float = 1.0
    """Weight of the reward model's score, where there is one."""
    sources: list[RewardSourceConfig] | None = None
    """Any number of models and functions, in place of reward_model.path, function and their two
    weights: [{model: FOLDER, weight: 1}, {function: FILE.py:NAME, weight: 0.5, name: SHORT}]. The
    run's own reward model is {model: RUN/reward_model}. The reward is the sum of weight x score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedSource:
    """One source of the reward, whichever way it was asked for."""

    name: str
    """No two sources have the same."""
    kind: str
    """One of `KINDS`."""
    what: object
    """The model's path, the function's FILE.py:NAME."""
    weight: float
    setting: str
    """The setting that names it."""
    is_listed: bool = False
    """Whether it stands in reward.sources."""


def asked_sources(reward: RewardConfig, reward_model: str | None) -> tuple[AskedSource, ...]:
    """Return what the reward is made of; nothing where nothing was given.

    Args:
        reward: What was asked.
        reward_model: The model of the short form: reward_model.path, else the run's own where it
            counts; not used beside reward.sources.
    """
    if reward.sources is not None:
        listed = [
            (source, f"reward.sources.{at}.{kind}")
            for at, source in enumerate(reward.sources)
            for kind in source.given
        ]
    else:
        function = RewardSourceConfig(function=reward.function, weight=reward.function_weight)
        model = RewardSourceConfig(model=reward_model, weight=reward.model_weight)
        short = ((function, "reward.function"), (model, "reward_model.path"))
        listed = [(source, setting) for source, setting in short if source.given]
    names = _names([source for source, _ in listed])
    return tuple(
        AskedSource(
            name=name,
            kind=kind,
            what=what,
            weight=source.weight,
            setting=setting,
            is_listed=reward.sources is not None,
        )
        for name, (source, setting) in zip(names, listed, strict=True)
        for kind, what in source.given.items()
    )


def is_same_folder(one: str | Path, other: str | Path) -> bool:
    """Return whether two paths are of one folder, which need not be there yet."""
    return os.path.realpath(one) == os.path.realpath(other)


def source_checks(reward: RewardConfig, reward_model: str | None) -> Iterator[str]:
    """Yield one message for every source that cannot be, and for what stands beside the list.

    Args:
        reward: What was asked.
        reward_model: reward_model.path.
    """
    if reward.sources is None:
        return
    beside = {
        "reward.function": reward.function,
        "reward_model.path": reward_model,
        "reward.function_weight": None if reward.function_weight == 1.0 else reward.function_weight,
        "reward.model_weight": None if reward.model_weight == 1.0 else reward.model_weight,
    }
    for setting, value in beside.items():
        if value is not None:
            yield (
                f"{setting}={value} would not be used beside reward.sources; unset it, and name "
                "every source and its weight in the list"
            )
    if not reward.sources:
        yield "reward.sources=[] names no source; leave it out, or name a model or a function"
    for at, source in enumerate(reward.sources):
        yield from _faults(source, f"reward.sources.{at}")
    counts = Counter(source.name for source in reward.sources if source.name is not None)
    for name in (name for name, number in counts.items() if number > 1):
        yield f"reward.sources has {counts[name]} sources of the name {name}; rename all but one"


def _faults(source: RewardSourceConfig, path: str) -> Iterator[str]:
    kinds = list(source.given)
    if not kinds:
        yield f"{path} names no source; legal: one of {', '.join(KINDS)}"
    if len(kinds) > 1:
        yield f"{path} names a {' and a '.join(kinds)}; give each an entry of its own"
    if not source.weight:
        yield (
            f"{path}.weight=0: the source would be asked, and its scores would count nothing; "
            "leave it out, or give it a weight"
        )
    if source.name is not None and not LEGAL_NAME.fullmatch(source.name):
        yield (
            f"{path}.name={source.name!r}: legal are 1 to 64 letters, digits and the signs . _ -, "
            "as the name stands in those of metrics"
        )


def _names(sources: Sequence[RewardSourceConfig]) -> list[str]:
    """Return each source's name: its own, else one after what it is, with a number if taken."""
    taken = {source.name for source in sources if source.name is not None}
    names: list[str] = []
    for source in sources:
        name = source.name
        if name is None:
            usual = _usual_name(source)
            numbered = (f"{usual}_{number}" for number in range(2, len(sources) + 2))
            name = next(each for each in (usual, *numbered) if each not in taken)
            taken.add(name)
        names.append(name)
    return names


def _usual_name(source: RewardSourceConfig) -> str:
    """Return the name of a function, or of a model's folder; of what has none, its kind's."""
    kind, what = next(iter(source.given.items()))
    last = Path(what).absolute().name.rpartition(":")[2] if isinstance(what, str) else ""
    return re.sub(r"[^\w.-]+", "_", last)[:60] or kind

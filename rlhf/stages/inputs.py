"""Inputs: all data of a run, read and checked before anything is started or written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_args

import torch

from rlhf.catalog.stages import Kind, StageRecord
from rlhf.config.commands import value_of
from rlhf.config.data import DataConfig, SourceConfig
from rlhf.config.experiment import Experiment
from rlhf.data.demonstrations import load_demonstrations
from rlhf.data.fingerprint import sha256_files
from rlhf.data.kinds import as_texts, check_rows
from rlhf.data.new_tokenizer import new_tokenizer
from rlhf.data.preferences import load_rankings
from rlhf.data.problems import Faults, heard
from rlhf.data.prompts import as_batches, columns_of, prepare_prompts
from rlhf.data.split import Splits
from rlhf.data.tokenizer import load_tokenizer
from rlhf.errors import ConfigError
from rlhf.flow.text import Demonstrations, PromptBatch, Rankings
from rlhf.models.outline import context_length
from rlhf.plugin import fetched

if TYPE_CHECKING:
    from rlhf.data.tokenizer import TextTokenizer


SHOWN_TO: tuple[Kind, ...] = ("preferences", "prompts")
"""Kinds before whose prompts data.few_shot puts demonstrations."""


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Tokenized data, and the sources it was made from."""

    start: str | None
    """Where the policy's first weights are; None for a new model."""
    tokenizer: TextTokenizer
    demonstrations: Splits[Demonstrations] | None
    rankings: Splits[Rankings] | None
    prompts: Splits[PromptBatch] | None
    pretraining: Demonstrations | None
    """Texts of PPO's PTX loss."""
    prompt_columns: Mapping[str, str] = field(default_factory=dict[str, str])
    """The columns that prompts have besides the prompt, each with which rows are without it."""
    sources: dict[str, dict[str, str]]
    """sha256 of every data source by its path, by kind of data."""
    reward_files: list[Path] = field(default_factory=list[Path])
    """The files of the reward functions, and those beside them that they import."""
    warnings: list[str] = field(default_factory=list)
    """What may be wrong with the rows, a line each."""

    @property
    def left_out(self) -> list[str]:
        """The rows that data.overlong=drop left out, a line a kind of data."""
        return [
            f"data.{name}: left out {splits.dropped:,} rows over their limit (data.overlong=drop)"
            for name, splits in self._kinds().items()
            if splits.dropped
        ]

    def sources_of(self, stage: StageRecord) -> dict[str, str]:
        """Return the sha256 of each source that one stage reads, by path."""
        return {
            path: sha256
            for kind in (stage.reads, *stage.also_reads)
            for path, sha256 in self.sources.get(kind, {}).items()
        }

    def described(self, config: DataConfig) -> dict[str, dict[str, object]]:
        """Return sha256 and (where a kind has one source) the rows used, by source path."""
        found: dict[str, dict[str, object]] = {
            path: {"sha256": sha256}
            for paths in self.sources.values()
            for path, sha256 in paths.items()
        }
        for kind, splits in self._kinds().items():
            sources = config.sources(kind)  # type: ignore[arg-type]
            if len(sources) == 1:
                found[sources[0].path].update(rows=len(splits.train), dropped=splits.dropped)
        return found

    def rows(self) -> dict[str, int]:
        """Return training rows by kind of data."""
        return {name: len(splits.train) for name, splits in self._kinds().items()}

    def _kinds(self) -> dict[str, Splits[Any]]:
        kinds: dict[str, Splits[Any] | None] = {
            "demonstrations": self.demonstrations,
            "preferences": self.rankings,
            "prompts": self.prompts,
        }
        return {name: splits for name, splits in kinds.items() if splits is not None}


def load_inputs(experiment: Experiment, stages: list[StageRecord], start: str | None) -> Inputs:
    """Read the data that the stages need.

    Args:
        experiment: The configuration.
        stages: The stages that will run.
        start: Folder, hub name, FILE.gguf or packaged:NAME of the first policy; None for new.

    Raises:
        ConfigError, DataError, ModelError: naming each fault in one line.
    """
    data, wanted, faults = experiment.data, _wanted(experiment, stages), Faults()
    with heard() as warnings:
        start, tokenizer = _tokenizer(experiment, stages, start, faults)
        read = partial(prepare_prompts, data, tokenizer)
        prepared = faults.of(read) if wanted["prompts"] else None
        prompts = None if prepared is None else as_batches(prepared)
        if prompts is not None:
            longest = int(prompts.train.lengths_B.max()) if len(prompts.train) else 0
            faults.of(lambda: check_context(experiment, longest, start))
        loaded = {
            kind: faults.of(partial(load, data, tokenizer)) if wanted[kind] else None
            for kind, load in _LOADERS.items()
        }
        faults.check()
        return Inputs(
            start=start,
            tokenizer=tokenizer,
            demonstrations=loaded["demonstrations"],
            rankings=loaded["preferences"],
            prompts=prompts,
            prompt_columns={} if prepared is None else columns_of(prepared),
            pretraining=loaded["pretraining"],
            sources={kind: sha256_files(of) for kind, of in _sources(data, wanted).items()},
            warnings=warnings,
        )


def tokenizer_of(experiment: Experiment, start: str | None) -> tuple[str | None, TextTokenizer]:
    """Return the path of the first policy, fetched where it is packaged, and its tokenizer.

    Args:
        experiment: The configuration; policy.new is used without a path.
        start: Folder, hub name, FILE.gguf or packaged:NAME of the first policy; None for new.

    Raises:
        ConfigError, DataError, ModelError: when there is none.
    """
    if start is None:
        return None, _new_tokenizer(experiment)
    path = fetched(start)
    return path, load_tokenizer(path)


def _tokenizer(
    experiment: Experiment, stages: list[StageRecord], start: str | None, faults: Faults
) -> tuple[str | None, TextTokenizer]:
    """Return the start's path and tokenizer; without one, raise all that is wrong with the rows."""
    begun = faults.of(lambda: tokenizer_of(experiment, start))
    if begun is None:
        for kind in kinds_of(experiment, stages):
            faults.of(partial(check_rows, kind, experiment.data))
        faults.check()
    return cast("tuple[str | None, TextTokenizer]", begun)


def sources_of(experiment: Experiment, stages: list[StageRecord]) -> list[SourceConfig]:
    """Return every data source the stages read."""
    found = _sources(experiment.data, _wanted(experiment, stages))
    return [source for sources in found.values() for source in sources]


def kinds_of(experiment: Experiment, stages: list[StageRecord]) -> list[Kind]:
    """Return the kinds of data the stages read."""
    return [kind for kind, is_read in _wanted(experiment, stages).items() if is_read]


def _wanted(experiment: Experiment, stages: list[StageRecord]) -> dict[Kind, bool]:
    """Return for every kind of data whether the stages read it."""
    wanted: dict[Kind, bool] = dict.fromkeys(get_args(Kind), False)
    for stage in stages:
        wanted[stage.reads] = True
        for kind, setting in stage.also_reads.items():
            wanted[kind] |= bool(value_of(experiment, setting))
    return wanted


def _pretraining(data: DataConfig, tokenizer: TextTokenizer) -> Demonstrations:
    return load_demonstrations(as_texts("pretraining", data), tokenizer).train


_LOADERS: dict[Kind, Callable[[DataConfig, TextTokenizer], Any]] = {
    "demonstrations": load_demonstrations,
    "preferences": load_rankings,
    "pretraining": _pretraining,
}
"""What reads each kind of data but prompts, which have to fit the model, too."""


def _sources(data: DataConfig, wanted: Mapping[Kind, bool]) -> dict[str, list[SourceConfig]]:
    """Return the sources of every kind that is wanted, with those of its own test split."""
    tests = {"preferences": data.test_preferences, "prompts": data.test_prompts}
    found: dict[str, list[SourceConfig]] = {}
    for kind, is_read in wanted.items():
        if is_read:
            sources = data.sources(kind)
            own_test = tests.get(kind)
            extra = [] if own_test is None else [SourceConfig(path=own_test)]
            if data.few_shot and kind in SHOWN_TO:
                extra += data.sources("demonstrations")
            found[kind] = [*sources, *extra]
    return found


def _new_tokenizer(experiment: Experiment) -> TextTokenizer:
    """Train a tokenizer on the strings of the demonstrations."""
    new = experiment.policy.new
    if new is None:
        raise ConfigError("policy.path is not set; give a model folder or hub name, or policy.new")
    return new_tokenizer(experiment.data.sources("demonstrations"), new.vocab_size)


def check_context(experiment: Experiment, longest: int, start: str | None) -> None:
    """Refuse prompts after which the longest response does not fit the model's context.

    Args:
        experiment: The configuration.
        longest: Tokens of the longest prompt.
        start: Path of the first policy; None for a new model.

    Raises:
        ConfigError: with the settings that would fit.
    """
    new = experiment.policy.new
    if new is not None and start is None:
        context: int | None = new.context
    elif start is not None and not start.endswith(".gguf"):
        context = context_length(start)
    else:
        return
    wanted = experiment.generation.max_new_tokens
    if context is not None and longest + wanted > context:
        room = context - wanted
        drop = f", or set data.max_prompt_length={room} data.overlong=drop" if room > 0 else ""
        raise ConfigError(
            f"the longest prompt has {longest} tokens and generation.max_new_tokens={wanted}, "
            f"together {longest + wanted}, but the policy's context is {context}; lower "
            f"generation.max_new_tokens to {max(1, context - longest)}{drop}"
        )


def held_out(
    splits: Splits[PromptBatch], num_prompts: int | None, *, samples: int = 1
) -> PromptBatch:
    """Return fixed prompts not trained on, if there are any: test, else validation, else train.

    Repeated prompts are left out; each prompt is then repeated `samples` times, with other draws.
    """
    rows = next((r for r in (splits.test, splits.validation) if len(r)), splits.train)
    first = {str(prompt): row for row, prompt in reversed(list(enumerate(rows.prompts)))}
    chosen = torch.tensor(sorted(first.values())[:num_prompts], dtype=torch.long)
    picked = rows.select(chosen.repeat_interleave(samples))
    return replace(picked, sample_B=torch.arange(len(picked)))

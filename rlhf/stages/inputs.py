"""Inputs: all data of a run, read and checked before anything is started or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import torch

from rlhf.catalog.stages import Kind, StageRecord
from rlhf.config.commands import value_of
from rlhf.config.data import DataConfig, SourceConfig, Sources
from rlhf.config.experiment import Experiment
from rlhf.data.demonstrations import load_demonstrations
from rlhf.data.fingerprint import sha256_files
from rlhf.data.packaged_model import model_file
from rlhf.data.preferences import load_rankings
from rlhf.data.problems import heard
from rlhf.data.prompts import load_prompts
from rlhf.data.rows import read_rows
from rlhf.data.split import Splits
from rlhf.data.tokenizer import load_tokenizer, train_tokenizer
from rlhf.errors import ConfigError
from rlhf.flow.text import Demonstrations, PromptBatch, Rankings
from rlhf.models.outline import context_length

if TYPE_CHECKING:
    from rlhf.data.tokenizer import TextTokenizer


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


def load_inputs(
    experiment: Experiment,
    stages: list[StageRecord],
    start: str | None,
    reward_files: Sequence[Path] = (),
) -> Inputs:
    """Read the data that the stages need.

    Args:
        experiment: The configuration.
        stages: The stages that will run.
        start: Folder, hub name, FILE.gguf or packaged:NAME of the first policy; None for new.
        reward_files: The files of the reward functions.

    Raises:
        ConfigError, DataError, ModelError: naming each fault in one line.
    """
    data = experiment.data
    start = model_file(start) if start is not None else None
    wanted = _wanted(experiment, stages)
    with heard() as warnings:
        tokenizer = load_tokenizer(start) if start is not None else _new_tokenizer(experiment)
        prompts = _prompts(data, tokenizer) if wanted["prompts"] else None
        if prompts is not None:
            _check_context(experiment, prompts.train, start)
        texts = load_demonstrations(data, tokenizer) if wanted["demonstrations"] else None
        return Inputs(
            start=start,
            tokenizer=tokenizer,
            demonstrations=texts,
            rankings=_rankings(data, tokenizer) if wanted["preferences"] else None,
            prompts=prompts,
            pretraining=_pretraining(data, tokenizer) if wanted["pretraining"] else None,
            sources={kind: sha256_files(of) for kind, of in _sources(data, wanted).items()},
            reward_files=list(reward_files),
            warnings=warnings,
        )


def sources_of(experiment: Experiment, stages: list[StageRecord]) -> list[SourceConfig]:
    """Return every data source the stages read."""
    found = _sources(experiment.data, _wanted(experiment, stages))
    return [source for sources in found.values() for source in sources]


def _wanted(experiment: Experiment, stages: list[StageRecord]) -> dict[str, bool]:
    """Return for every kind of data whether the stages read it."""
    wanted = dict.fromkeys(get_args(Kind), False)
    for stage in stages:
        wanted[stage.reads] = True
        for kind, setting in stage.also_reads.items():
            wanted[kind] |= bool(value_of(experiment, setting))
    return wanted


def _prompts(data: DataConfig, tokenizer: TextTokenizer) -> Splits[PromptBatch]:
    splits = load_prompts(data, tokenizer)
    if data.test_prompts is None:
        return splits
    test = load_prompts(_whole(data, prompts=data.test_prompts), tokenizer)
    return replace(splits, test=test.train, dropped=splits.dropped + test.dropped)


def _pretraining(data: DataConfig, tokenizer: TextTokenizer) -> Demonstrations:
    return load_demonstrations(_whole(data, demonstrations=data.pretraining), tokenizer).train


def _rankings(data: DataConfig, tokenizer: TextTokenizer) -> Splits[Rankings]:
    splits = load_rankings(data, tokenizer)
    if data.test_preferences is None:
        return splits
    test = load_rankings(_whole(data, preferences=data.test_preferences), tokenizer)
    return replace(splits, test=test.train, dropped=splits.dropped + test.dropped)


def _whole(data: DataConfig, **source: Sources | None) -> DataConfig:
    """Return the configuration with another source, and without a split of its own."""
    unsplit = {"validation_fraction": 0.0, "test_fraction": 0.0}
    return data.model_copy(update={**unsplit, **source})


def _sources(data: DataConfig, wanted: dict[str, bool]) -> dict[str, list[SourceConfig]]:
    """Return the sources of every kind that is wanted, with those of its own test split."""
    tests = {"preferences": data.test_preferences, "prompts": data.test_prompts}
    found: dict[str, list[SourceConfig]] = {}
    for kind, is_read in wanted.items():
        if is_read:
            sources = data.sources(kind)  # type: ignore[arg-type]
            own_test = tests.get(kind)
            extra = [] if own_test is None else [SourceConfig(path=own_test)]
            found[kind] = [*sources, *extra]
    return found


def _new_tokenizer(experiment: Experiment) -> TextTokenizer:
    """Train a tokenizer on the strings of the demonstrations."""
    new = experiment.policy.new
    if new is None:
        raise ConfigError("policy.path is not set; give a model folder or hub name, or policy.new")
    rows = [
        row for source in experiment.data.sources("demonstrations") for row in read_rows(source)
    ]
    texts = [text for row in rows for value in row.values.values() for text in _strings(value)]
    return train_tokenizer(texts, new.vocab_size)


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for entry in value for text in _strings(entry)]
    if isinstance(value, dict):
        return _strings(value["content"] if "content" in value else list(value.values()))
    return []


def _check_context(experiment: Experiment, prompts: PromptBatch, start: str | None) -> None:
    """Refuse prompts after which the longest response does not fit the model's context."""
    new = experiment.policy.new
    if new is not None and start is None:
        context: int | None = new.context
    elif start is not None and not start.endswith(".gguf"):
        context = context_length(start)
    else:
        return
    longest = int(prompts.lengths_B.max()) if len(prompts) else 0
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

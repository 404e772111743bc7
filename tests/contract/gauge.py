"""A role that reports how many bytes of tensors its calls need, for the planner's tests.

Live tensors are counted by their storages; what a call takes on top, to the byte, by the events of
the allocator that torch's profiler records.
"""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch

from rlhf.config.experiment import Experiment
from rlhf.engine.world import World
from rlhf.flow.rollout import Experience, Rollout, joined
from rlhf.flow.tensors import length_mask
from rlhf.flow.text import PromptBatch
from tests.models import experience
from tests.specs import assigned, logprobs

FIRST_TOKEN = 30
"""Tokens below end a response in the models of the tests."""


def live_bytes() -> int:
    """Return the bytes of all tensors there are in this process."""
    gc.collect()
    storages: dict[int, int] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for thing in gc.get_objects():
            if not isinstance(thing, torch.Tensor) or thing.device.type == "meta":
                continue
            for tensor in (thing, thing.grad if thing.is_leaf else None):
                if tensor is not None:
                    storages[tensor.untyped_storage().data_ptr()] = (
                        tensor.untyped_storage().nbytes()
                    )
    return sum(storages.values())


def taken(call: Callable[[], object]) -> int:
    """Return the peak bytes of a call, beyond those that were there before."""
    kinds = [torch.profiler.ProfilerActivity.CPU]
    with torch.profiler.profile(activities=kinds, profile_memory=True) as profile:
        call()
    events = [
        (event.start_ns(), event.nbytes())
        for event in profile.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    held = most = 0
    for _, change in sorted(events, key=lambda event: event[0]):
        held += change
        most = max(most, held)
    return most


def rows(num_rows: int, prompt: int, response: int, vocabulary: int) -> Rollout:
    """Return rows that are all as long as a row can be."""
    draw = torch.Generator().manual_seed(0)
    length = prompt + response
    lengths_B = torch.full((num_rows,), response)
    assert length_mask(lengths_B + prompt, length).all()
    return Rollout(
        tokens_BT=torch.randint(FIRST_TOKEN, vocabulary, (num_rows, length), generator=draw),
        prompt_lengths_B=torch.full((num_rows,), prompt),
        response_lengths_B=lengths_B,
        finished_B=torch.zeros(num_rows, dtype=torch.bool),
        sampling_logprobs_BR=torch.zeros(num_rows, response),
        prompts=("",) * num_rows,
        columns=({},) * num_rows,
    )


def prompt_rows(num_rows: int, prompt: int, vocabulary: int) -> PromptBatch:
    """Return different prompts of one length."""
    written = rows(num_rows, prompt, 1, vocabulary)
    return PromptBatch(
        tokens_BP=written.tokens_BT[:, :prompt],
        lengths_B=written.prompt_lengths_B,
        sample_B=torch.arange(num_rows),
        prompts=written.prompts,
        columns=written.columns,
    )


@dataclass(frozen=True)
class Nobody:
    """An empty role, which drops the role built before."""

    def __call__(self, world: World) -> Nobody:
        """Build nothing."""
        return self


@dataclass(frozen=True)
class Gauge:
    """Builds a Gauged policy on a rank."""

    experiment: Experiment
    path: str
    vocabulary: int

    def __call__(self, world: World) -> Gauged:
        """Build."""
        torch.set_num_threads(1)
        before = live_bytes()
        policy = assigned("policy", self.path, self.experiment)(world)
        return Gauged(policy, self, before)


class Gauged:
    """A policy, and scales under it."""

    def __init__(self, policy, gauge: Gauge, before: int) -> None:
        """Take the policy, and the bytes that were there before it."""
        self._policy, self._gauge, self._before = policy, gauge, before

    def measure(self, num_rows: int, num_prompts: int) -> dict[str, float]:
        """Return bytes of phases: rest, learn, score, generate; rest is included in the others."""
        experiment, vocabulary = self._gauge.experiment, self._gauge.vocabulary
        prompt, response = experiment.data.max_prompt_length, experiment.generation.max_new_tokens
        written = rows(num_rows, prompt, response, vocabulary)
        logprobs_BR = logprobs(self._policy, written, 0)
        learned = experience(written, logprobs_BR, torch.zeros_like(logprobs_BR))
        self._improve(learned)  # moments and the libraries' own are there from now on
        rest = live_bytes() - self._before - _bytes(written, learned, logprobs_BR)
        # The less of two: where ranks wait for each other, more buckets may be there at one time.
        learn = min(taken(lambda: self._improve(learned)) for _ in range(2))
        score = taken(lambda: logprobs(self._policy, written, 0))
        prompts = prompt_rows(num_prompts, prompt, vocabulary)
        self._policy.chosen_backend(prompts)
        generate = taken(lambda: joined(self._policy.generate(prompts, 0)))
        return {
            "rest": rest,
            "learn": rest + learn,
            "score": rest + score,
            "generate": rest + generate,
        }

    def learn(self, num_rows: int) -> None:
        """Take two updates on rows that are all as long as a row can be."""
        experiment = self._gauge.experiment
        prompt, response = experiment.data.max_prompt_length, experiment.generation.max_new_tokens
        written = rows(num_rows, prompt, response, self._gauge.vocabulary)
        logprobs_BR = logprobs(self._policy, written, 0)
        self._improve(experience(written, logprobs_BR, torch.zeros_like(logprobs_BR)))

    def _improve(self, learned: Experience) -> None:
        """Take the updates of a step, the first of which finds the policy as it was."""
        config = self._policy.learner
        for _ in range(2):
            self._policy._improve_on(learned, None)
        assert config.num_updates


def _bytes(*records: object) -> int:
    """Return the bytes of the tensors of some records, which the caller holds."""
    storages: dict[int, int] = {}
    for record in records:
        fields = [record] if isinstance(record, torch.Tensor) else list(_tensors(record))
        for tensor in fields:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(storages.values())


def _tensors(record: object) -> list[torch.Tensor]:
    names = type(record).__dataclass_fields__
    values = [getattr(record, name) for name in names]
    return [value for value in values if isinstance(value, torch.Tensor)]

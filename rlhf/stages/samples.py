"""Answers to fixed prompts, scored, for a person to read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rlhf.data.chat import decode_response
from rlhf.flow.rollout import Rollout, joined
from rlhf.flow.text import PromptBatch
from rlhf.observe.samples import Sample
from rlhf.roles.ports import SamplerPort
from rlhf.roles.reward_sum import RewardSum

if TYPE_CHECKING:
    from rlhf.data.tokenizer import TextTokenizer

SAMPLE_STEP = -1
"""Seeds the draws of all fixed answers alike: two policies then differ by weights alone."""


def take_samples(
    sampler: SamplerPort,
    reward: RewardSum | None,
    prompts: PromptBatch,
    tokenizer: TextTokenizer,
) -> list[Sample]:
    """Return the sampler's answers to fixed prompts, scored by the reward if there is one."""
    if not len(prompts):
        return []
    rollout = joined(sampler.generate(prompts, SAMPLE_STEP))
    samples = as_samples(rollout, tokenizer)
    return samples if reward is None else _scored(samples, reward, rollout)


def _scored(samples: list[Sample], reward: RewardSum, rollout: Rollout) -> list[Sample]:
    """Return the samples with their score, and what each source of the reward said."""
    score_B, parts_BC = reward.score(rollout)
    rows = zip(samples, score_B.tolist(), parts_BC.tolist(), strict=True)
    return [
        replace(sample, score=score, parts=dict(zip(reward.mix.names, parts, strict=True)))
        for sample, score, parts in rows
    ]


def as_samples(rollout: Rollout, tokenizer: TextTokenizer) -> list[Sample]:
    """Return a rollout's rows as text, not scored."""
    finished, lengths = rollout.finished_B.tolist(), rollout.response_lengths_B.tolist()
    return [
        Sample(
            prompt=rollout.prompts[row],
            response=decode_response(tokenizer, ids).strip(),
            score=None,
            finished=finished[row],
            length=lengths[row],
        )
        for row, ids in enumerate(rollout.response_tokens())
    ]

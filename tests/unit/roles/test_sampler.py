"""Sampler: seeded by run, step and sample; it can score its own responses."""

from __future__ import annotations

import torch

from rlhf.flow.rollout import joined
from tests.models import prompts
from tests.specs import logprobs


def test_the_step_and_the_runs_seed_determine_what_is_generated(role):
    writer = role("sampler")
    first = joined(writer.generate(prompts(), 0)).response_tokens()
    assert joined(role("sampler").generate(prompts(), 0)).response_tokens() == first
    assert joined(writer.generate(prompts(), 1)).response_tokens() != first
    assert joined(role("policy").generate(prompts(), 0)).response_tokens() == first


def test_its_logprobs_are_those_it_sampled_with(role):
    # correctness 22, 27
    writer = role("sampler")
    written = joined(writer.generate(prompts(), 0))
    torch.testing.assert_close(
        logprobs(writer, written, 0), written.sampling_logprobs_BR, rtol=0, atol=1e-4
    )


def test_the_models_own_stop_tokens_end_a_response(role):
    written = joined(role("sampler").generate(prompts(20), 0))
    ends = {row[-1] for row, done in zip(written.response_tokens(), written.finished_B, strict=True)
            if done}  # fmt: skip
    assert ends
    assert ends <= set(range(2, 26))

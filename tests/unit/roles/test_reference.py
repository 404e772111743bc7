"""Reference: log-probabilities of responses at the sampling temperature, 0 at padding."""

from __future__ import annotations

import pytest
import torch

from rlhf.models.pretrained import load_causal_lm
from tests.models import rollout
from tests.specs import logprobs


@pytest.mark.parametrize("max_tokens", (1, 30, 10_000))
def test_logprobs_are_the_networks_at_the_temperature(role, folder, max_tokens):
    # correctness 22: the reference too.
    engine = {"backend": "torch", "max_tokens_per_microbatch": max_tokens}
    batch = rollout(7)
    got_BR = logprobs(role("reference", engine=engine, generation={"temperature": 0.6}), batch, 0)
    network = load_causal_lm(folder())
    assert got_BR.shape == batch.sampling_logprobs_BR.shape
    for row, response in enumerate(batch.response_tokens()):
        start, length = int(batch.prompt_lengths_B[row]), len(response)
        with torch.no_grad():
            logits = network(input_ids=batch.tokens_BT[row : row + 1, : start + length]).logits[0]
        wanted = (logits / 0.6).log_softmax(-1)[range(start - 1, start + length - 1), response]
        torch.testing.assert_close(got_BR[row, :length], wanted, rtol=0, atol=1e-5)
        assert not got_BR[row, length:].any()


def test_no_rows_are_no_trouble(role):
    batch = rollout(3).select([])
    assert logprobs(role("reference"), batch, 0).shape == (
        0,
        batch.sampling_logprobs_BR.shape[1],
    )


def test_at_the_start_reference_and_policy_agree_exactly(role):
    # correctness 30: bit for bit, so KL starts at exactly 0.
    batch = rollout(7)
    assert torch.equal(logprobs(role("reference"), batch, 0), logprobs(role("policy"), batch, 0))

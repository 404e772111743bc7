"""Rollout and Experience: where a response stands, by lengths alone."""

from __future__ import annotations

import torch

from rlhf.flow.rollout import Experience, Rollout, response_positions


def rollout() -> Rollout:
    return Rollout(
        tokens_BT=torch.tensor([[5, 6, 7, 8, 0], [5, 0, 2, 0, 0]]),
        prompt_lengths_B=torch.tensor([1, 2]),
        response_lengths_B=torch.tensor([3, 1]),
        finished_B=torch.tensor([False, True]),
        sampling_logprobs_BR=torch.zeros(2, 3),
        prompts=("a", "b"),
        columns=({}, {}),
    )


def test_a_response_starts_where_its_prompt_ends():
    written = rollout()
    assert written.response_tokens() == [[6, 7, 8], [2]]
    assert written.lengths_B.tolist() == [4, 3]


def test_the_mask_comes_from_lengths_not_from_ids():
    written = rollout()
    assert written.response_mask_BR.tolist() == [[True, True, True], [True, False, False]]
    zeros = Rollout(
        tokens_BT=written.tokens_BT * 0,
        prompt_lengths_B=written.prompt_lengths_B,
        response_lengths_B=written.response_lengths_B,
        finished_B=written.finished_B,
        sampling_logprobs_BR=written.sampling_logprobs_BR,
        prompts=written.prompts,
        columns=written.columns,
    )
    assert zeros.response_mask_BR.equal(written.response_mask_BR)


def test_positions_stand_one_before_the_token_they_choose():
    written = rollout()
    positions_BR = response_positions(written.prompt_lengths_B, 3)
    for row, tokens in enumerate(written.response_tokens()):
        chosen = written.tokens_BT[row, positions_BR[row, : len(tokens)] + 1]
        assert chosen.tolist() == tokens


def test_an_experience_has_the_same_lengths_and_mask():
    written, empty_BR = rollout(), torch.zeros(2, 3)
    experience = Experience(
        tokens_BT=written.tokens_BT,
        prompt_lengths_B=written.prompt_lengths_B,
        response_lengths_B=written.response_lengths_B,
        old_logprobs_BR=empty_BR,
        old_values_BR=empty_BR,
        advantages_BR=empty_BR,
        returns_BR=empty_BR,
    )
    assert experience.response_mask_BR.equal(written.response_mask_BR)
    assert experience.lengths_B.equal(written.lengths_B)

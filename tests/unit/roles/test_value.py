"""Value: read before each token is generated; fitted to the returns."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rlhf.algo.diagnostics import explained_variance
from tests.models import experience, optimizer, rankings, rollout


def experienced(value, written):
    return experience(written, torch.zeros(written.response_mask_BR.shape), value.values(written))


def test_a_value_does_not_know_its_token_but_the_next_one_does(role):
    # correctness 51: changing token t leaves v_t and changes v_t+1.
    value, written = role("value"), rollout(7)
    before_BR = value.values(written)
    row, slot = 2, 1
    tokens_BT = written.tokens_BT.clone()
    tokens_BT[row, int(written.prompt_lengths_B[row]) + slot] += 1
    after_BR = value.values(replace(written, tokens_BT=tokens_BT))
    changed_BR = (after_BR - before_BR).abs() > 1e-6
    assert not changed_BR[row, : slot + 1].any()
    assert changed_BR[row, slot + 1 : int(written.response_lengths_B[row])].all()
    assert not changed_BR[torch.arange(7) != row].any()
    assert int(written.response_lengths_B[row]) > slot + 1


def test_a_zero_head_expects_nothing(role):
    # correctness 52: V == 0 everywhere.
    value = role("value", model="causal", fields={"head": "zero"})
    assert not value.values(rollout(7)).any()


def test_padding_is_zero(role):
    written = rollout(7)
    assert not role("value").values(written)[~written.response_mask_BR].any()


def test_the_loss_starts_as_half_the_mean_square(role):
    # correctness 50: nothing is clipped while v == v_old.
    value, written = role("value", ppo={"minibatch_size": 8, "num_epochs": 1}), rollout(8)
    batch, mask_BR = experienced(value, written), written.response_mask_BR
    error_N = (batch.old_values_BR - batch.returns_BR)[mask_BR]
    wanted = float(0.5 * error_N.square().mean())
    assert value.improve(batch, 0)["loss/value_avg"] == pytest.approx(wanted, rel=1e-5)


def test_it_comes_nearer_to_the_returns(role):
    value = role("value", value={"optimizer": optimizer(lr=1e-2)}, ppo={"num_epochs": 8})
    written = rollout(8)
    batch, mask_BR = experienced(value, written), written.response_mask_BR

    def error():
        return float((value.values(written) - batch.returns_BR)[mask_BR].square().mean())

    before = error()
    value.improve(batch, 0)
    assert error() < 0.9 * before


def test_microbatches_change_no_update(role):
    # correctness 55
    weights = []
    for max_tokens in (26, 100_000):
        engine = {"backend": "torch", "max_tokens_per_microbatch": max_tokens}
        value = role("value", engine=engine)
        value.improve(experienced(value, rollout(8)), 0)
        weights.append(value.engine.weights())
    for name, weight in weights[1].items():
        torch.testing.assert_close(weights[0][name], weight, rtol=1e-5, atol=1e-6)


def test_made_from_the_reward_model_it_says_the_score_at_the_end(role, folder, tmp_path):
    # correctness 19, 52: head, trunk and normalisation are the reward model's.
    apprentice = role("reward_trainer")
    apprentice.rank(rankings(5))
    apprentice.normalize({"mean": 0.3, "std": 1.7})
    apprentice.save(tmp_path)
    value = role("value", path=str(tmp_path))
    judge = role("reward", path=str(tmp_path), fields={"policy": folder()})
    written = rollout(7)
    # The value before a token is read where the text without that token ends.
    cut_B = torch.zeros_like(written.finished_B)
    shorter = replace(written, response_lengths_B=written.response_lengths_B - 1, finished_B=cut_B)
    rows = (shorter.response_lengths_B > 0).nonzero().squeeze(1)
    last_B = shorter.response_lengths_B[rows]
    got_B = value.values(written)[rows, last_B]
    wanted_B = judge.score_rows(shorter.select(rows))[:, 0]
    torch.testing.assert_close(got_B, wanted_B, rtol=0, atol=1e-5)
    assert float(got_B.std()) > 1e-2


def test_warming_up_raises_the_explained_variance(role):
    # correctness 43, 53: on Monte-Carlo returns, while the policy waits.
    value, written = role("value", value={"optimizer": optimizer(lr=1e-2)}), rollout(8)
    batch, mask_BR = experienced(value, written), written.response_mask_BR
    explained = []
    for step in range(4):
        old_BR = value.values(written)
        explained.append(explained_variance(old_BR, batch.returns_BR, mask_BR))
        value.improve(replace(batch, old_values_BR=old_BR), step)
    assert explained == sorted(explained)
    assert explained[-1] > explained[0] + 0.2


def test_the_figures_are_those_of_independent_formulas(role):
    # correctness 50, 65: token by token, the worse of plain and clipped error.
    value, written = role("value", ppo={"minibatch_size": 8, "num_epochs": 1}), rollout(8)
    values_BR, clip = value.values(written), 0.2
    old_BR = values_BR + 0.4 * torch.randn(
        values_BR.shape, generator=torch.Generator().manual_seed(0)
    )
    batch = experience(written, torch.zeros(values_BR.shape), old_BR)
    losses, held = [], 0
    for row, length in enumerate(written.response_lengths_B.tolist()):
        for slot in range(length):
            now, old = float(values_BR[row, slot]), float(old_BR[row, slot])
            target = float(batch.returns_BR[row, slot])
            near = min(max(now, old - clip), old + clip)
            losses.append(0.5 * max((now - target) ** 2, (near - target) ** 2))
            held += (near - target) ** 2 > (now - target) ** 2
    metrics = value.improve(batch, 0)
    assert metrics["loss/value_avg"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)
    assert metrics["value/clipfrac_avg"] == pytest.approx(held / len(losses))
    assert 0 < held < len(losses)

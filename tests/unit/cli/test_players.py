"""Players: who answers for whom, and how often each optimizer will step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlhf.cli.players import Players
from rlhf.cluster.in_process import InProcessGroup
from rlhf.cluster.timeline import Timeline
from rlhf.engine.precision import multiplies_bf16
from rlhf.flow.promise import settle
from rlhf.flow.rollout import joined
from tests import models


def players(roles: tuple[str, ...], **sections: dict[str, object]) -> Players:
    timeline = Timeline()
    groups = {role: InProcessGroup(role, timeline) for role in roles}
    return Players(models.experiment(**sections), lambda: groups)


def test_with_adapters_the_policy_answers_for_the_reference(folder):
    cast = players(("policy",), peft={"method": "lora", "rank": 2})
    policy = cast.policy(Path(folder()))
    reference = cast.reference(Path(folder()))
    rollout = joined(policy.generate(models.prompts(), 0))
    before = settle(reference.step_logprobs(rollout, 0))
    assert torch.equal(before, settle(policy.step_logprobs(rollout, 0)))
    policy.imitate(models.demonstrations()).result()
    assert torch.equal(before, settle(reference.step_logprobs(rollout, 0)))
    assert not torch.equal(before, settle(policy.step_logprobs(rollout, 0)))


def test_model_and_function_are_added_by_their_weights(folder, tmp_path):
    file = tmp_path / "reward.py"
    file.write_text("def three(completions, **columns):\n    return [3.0] * len(completions)\n")
    weights = {"function": f"{file}:three", "function_weight": 2.0, "model_weight": 0.5}
    cast = players(("reward",), reward=weights)
    model, policy = Path(folder(kind="classifier")), Path(folder())
    both = settle(cast.judge(model, policy).score(models.rollout()))
    function = settle(cast.judge(None, policy).score(models.rollout()))
    plain = settle(players(("reward",)).judge(model, policy).score(models.rollout()))
    assert function.tolist() == [6.0] * len(models.rollout())
    assert torch.allclose(both, 6.0 + 0.5 * plain, atol=1e-5)


def test_a_value_without_a_trained_head_is_zero_everywhere(folder):
    value = players(("value",)).value(Path(folder()), trained=False)
    assert settle(value.values(models.rollout())).abs().sum() == 0
    trained = players(("value",)).value(Path(folder(kind="classifier")), trained=True)
    assert settle(trained.values(models.rollout())).abs().sum() > 0


def test_a_schedule_ends_with_the_last_update(folder):
    falling = {"optimizer": models.optimizer(schedule="linear")}
    ppo = {"num_steps": 1, "rollout_batch_size": 8, "minibatch_size": 4, "num_epochs": 1}
    cast = players(("policy",), policy=falling, ppo=ppo)
    policy = cast.policy(Path(folder()))
    written = joined(policy.generate(models.prompts(8), 0))
    logprobs_BR = settle(policy.step_logprobs(written, 0))
    learned = models.experience(written, logprobs_BR, torch.zeros_like(logprobs_BR))
    report = settle(policy.improve(learned, 0))
    assert report["lr"] == pytest.approx(3e-3 * (1 + 0.5) / 2)


@pytest.mark.skipif(not multiplies_bf16("cpu"), reason="bf16 never pays on this processor")
@pytest.mark.parametrize(("scale", "wanted"), [(1.0, "bf16"), (300.0, "fp32")])
def test_auto_is_what_the_policy_itself_allows_and_a_fall_back_is_for_all(tmp_path, scale, wanted):
    large = {"vocab_size": 80_000, "hidden_size": 64, "tie_word_embeddings": False}
    network = models.causal(**large)
    with torch.no_grad():
        network.lm_head.weight.mul_(scale)
    path = Path(models.write(network, tmp_path))
    cast = players(("policy", "reference"), engine={"precision": "auto", "backend": "torch"})
    assert cast.settle_precision(path, models.prompts(8)).startswith(f"{wanted} (engine.precision=")
    for role in (cast.policy(path).group, cast.reference(path)._group):
        assert role._role._settings.precision == wanted


def test_a_small_policy_decides_for_nobody_else(folder):
    cast = players(("policy",), engine={"precision": "auto", "backend": "torch"})
    assert "weights are few" in cast.settle_precision(Path(folder()), models.prompts(8))
    assert cast._experiment.engine.precision == "auto"

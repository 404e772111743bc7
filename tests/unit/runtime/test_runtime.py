"""Runtime: processes start once and take one role after another, each by its settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlhf.config.observe import TrackingConfig
from rlhf.engine.precision import multiplies_bf16
from rlhf.flow.rollout import joined
from rlhf.observe.log import RunLog
from rlhf.roles.reference import PolicyAsReference
from rlhf.roles.reward_sum import RewardSum
from rlhf.runtime.runtime import Processes, Runtime
from rlhf.runtime.specs import RewardSpec
from tests import models
from tests.specs import ROLES, reward_mix, runtime, spec


def made(roles: tuple[str, ...] = ROLES, **sections: dict[str, object]) -> Runtime:
    return runtime(models.experiment(**sections), roles)


def test_with_adapters_the_policy_answers_for_the_reference(folder):
    lora = made(("policy",), peft={"method": "lora", "rank": 2})
    policy = lora.assign(spec("policy", folder()))
    reference = PolicyAsReference(policy)
    rollout = joined(policy.generate(models.prompts(), 0))
    before = reference.step_logprobs(rollout, 0).result()
    assert torch.equal(before, policy.step_logprobs(rollout, 0).result())
    policy.imitate(models.demonstrations()).result()
    assert torch.equal(before, reference.step_logprobs(rollout, 0).result())
    assert not torch.equal(before, policy.step_logprobs(rollout, 0).result())


def test_model_and_function_are_added_by_their_weights(folder, tmp_path):
    file = tmp_path / "reward.py"
    file.write_text("def three(completions, **columns):\n    return [3.0] * len(completions)\n")
    weights = {"function_weight": 2.0, "model_weight": 0.5}
    model, batch = folder(kind="classifier"), models.rollout()
    function = f"{file}:three"
    plain = made().assign(spec("reward", model, policy=Path(folder())))
    plain_B = plain.score_rows(batch).result()[:, 0]
    sums = {}
    for asked in ((model, function), (model, None), (None, function)):
        mix = reward_mix(*asked, **weights)
        port = made().assign(RewardSpec(mix=mix, policy=Path(folder())))
        sums[asked], _ = RewardSum(port, mix).score(batch)
    assert sums[None, function].tolist() == [6.0] * len(batch)
    assert torch.allclose(sums[model, function], 6.0 + 0.5 * plain_B, atol=1e-5)
    assert torch.equal(sums[model, None], 0.5 * plain_B)


def test_a_value_without_a_trained_head_is_zero_everywhere(folder):
    value = made().assign(spec("value", folder(), head="zero"))
    assert value.values(models.rollout()).result().abs().sum() == 0
    trained = made().assign(spec("value", folder(kind="classifier")))
    assert trained.values(models.rollout()).result().abs().sum() > 0


def test_a_schedule_ends_with_the_last_update(folder):
    falling = {"optimizer": models.optimizer(schedule="linear")}
    ppo = {"num_steps": 1, "rollout_batch_size": 8, "minibatch_size": 4, "num_epochs": 1}
    policy = made(policy=falling, ppo=ppo).assign(spec("policy", folder()))
    written = joined(policy.generate(models.prompts(8), 0))
    logprobs_BR = policy.step_logprobs(written, 0).result()
    learned = models.experience(written, logprobs_BR, torch.zeros_like(logprobs_BR))
    report = policy.improve(learned, 0).result()
    assert report["lr"] == pytest.approx(3e-3 * (1 + 0.5) / 2)


@pytest.mark.skipif(not multiplies_bf16("cpu"), reason="bf16 never pays on this processor")
@pytest.mark.parametrize(("scale", "wanted"), [(1.0, "bf16"), (300.0, "fp32")])
def test_auto_is_what_the_policy_itself_allows_and_a_fall_back_is_for_all(tmp_path, scale, wanted):
    large = {"vocab_size": 80_000, "hidden_size": 64, "tie_word_embeddings": False}
    network = models.causal(**large)
    with torch.no_grad():
        network.lm_head.weight.mul_(scale)
    path = Path(models.write(network, tmp_path))
    auto = made(engine={"precision": "auto", "backend": "torch"})
    assert auto.settle_precision(path, models.prompts(8)).startswith(f"{wanted} (engine.precision=")
    for port in (auto.assign(spec("policy", path)), auto.assign(spec("reference", path))):
        assert port.group._role._settings.precision == wanted


def test_a_small_policy_decides_for_nobody_else(folder):
    auto = made(engine={"precision": "auto", "backend": "torch"})
    assert "weights are few" in auto.settle_precision(Path(folder()), models.prompts(8))
    assert auto.experiment.engine.precision == "auto"


def test_nothing_starts_until_a_stage_asks(tmp_path, folder):
    log = RunLog(tmp_path, TrackingConfig(console=False), config={})
    with log, Processes(models.experiment(), ["policy"], log) as processes:
        assert processes.timings() == []
        sampler = processes.runtime.assign(spec("sampler", folder()))
        assert len(joined(sampler.generate(models.prompts(2), 0))) == 2
        (span,) = processes.timings()
        assert (span.role, span.method, span.phase) == ("policy", "generate", "generate")
        assert span.end > span.start
        assert processes.timings() == []
        again = processes.runtime.assign(spec("sampler", folder()))
        assert again.group is sampler.group

"""How often each role learns in a step of PPO."""

from __future__ import annotations

from rlhf.config.stages import PPOConfig


def test_updates_a_step():
    ppo = PPOConfig(rollout_batch_size=6, samples_per_prompt=4, minibatch_size=8, num_epochs=5)
    assert ppo.updates_a_step == 15

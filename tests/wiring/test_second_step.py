"""Two PPO steps of the command line, and the same by a plain program: weights and every figure.

The first step starts from nothing; the second has moments, a learning rate of its own, other rows,
a KL that is not 0 and whatever else a run carries along.
"""

from __future__ import annotations

import pytest

from tests.wiring import kit
from tests.wiring.plain_ppo import Program

HERE = ("cluster.backend=in_process", "engine.backend=torch", "tracking.sample_prompts=2")
SMALL = (
    "data.prompts=prompts.jsonl",
    "ppo.num_steps=2",
    "ppo.rollout_batch_size=8",
    "ppo.minibatch_size=4",
    "ppo.num_epochs=2",
    "generation.max_new_tokens=6",
    "policy.optimizer.lr=3e-3",
    "policy.optimizer.eps=1e-3",
    "policy.optimizer.warmup_steps=2",
    "value.optimizer.lr=1e-2",
    "value.optimizer.eps=1e-3",
    "value.optimizer.warmup_steps=1",
)
BY_MODEL = "reward_model.path=models/reward"
CASES = {
    "llama": ("policy.path=models/policy", BY_MODEL),
    "gpt2": ("policy.path=models/gpt2", "reward.function=reward.py:wanted", "seed=5"),
    "qwen3": ("policy.path=models/qwen3", "reward_model.path=models/qwen3_reward"),
    "lora": ("policy.path=models/policy", BY_MODEL, "peft=lora", "peft.rank=3", "peft.alpha=5"),
    "lora-some": (
        "policy.path=models/policy",
        "reward.function=reward.py:letters",
        "peft=lora",
        "peft.rank=2",
        "peft.target_modules='q_proj,v_proj'",
        "seed=4",
    ),
    "unusual": (
        "policy.path=models/policy",
        BY_MODEL,
        "reference.path=models/reference",
        "value.path=models/value",
        "reward.function=reward.py:wanted",
        "reward.function_weight=0.7",
        "reward.model_weight=1.3",
        "data.pretraining=texts.jsonl",
        "ppo.ptx_coef=0.3",
        "ppo.ema_decay=0.6",
        "ppo.kl_coef=0.2",
        "ppo.kl_target=0.5",
        "ppo.kl_horizon=40",
        "ppo.clip_range=0.1",
        "ppo.clip_range_high=0.15",
        "ppo.dual_clip=1.2",
        "ppo.value_clip_range=0.05",
        "ppo.discount=0.9",
        "ppo.gae_lambda=0.8",
        "ppo.value_gae_lambda=0.7",
        "ppo.missing_eos_penalty=0.4",
        "ppo.overlong_penalty=0.3",
        "ppo.overlong_buffer=2",
        "ppo.scale_scores=true",
        "ppo.loss_aggregation=seq_mean_token_mean",
        "ppo.samples_per_prompt=2",
        "ppo.rollout_batch_size=4",
        "data.validation_fraction=0.2",
        "data.test_fraction=0.3",
        "generation.temperature=1.4",
        "policy.optimizer.lr=2e-2",
        "policy.optimizer.betas=[0.7,0.8]",
        "policy.optimizer.weight_decay=0.2",
        "policy.optimizer.warmup_steps=0",
        "policy.optimizer.schedule=cosine",
        "policy.optimizer.max_grad_norm=0.3",
        "value.optimizer.betas=[0.8,0.9]",
        "value.optimizer.weight_decay=0.1",
        "value.optimizer.warmup_steps=1",
        "value.optimizer.schedule=linear",
        "value.optimizer.max_grad_norm=0.5",
        "seed=3",
    ),
    "many": (
        "policy.path=models/policy",
        "reward.sources=["
        "{function: reward.py:letters, weight: 0.5},{model: models/second/reward, weight: 0.7},"
        "{function: reward.py:wanted, weight: -0.3, name: asked},{model: models/reward},"
        "{model: models/other_words, weight: .2}]",
        "data.test_fraction=0.2",
        "policy.optimizer.warmup_steps=0",
        "seed=6",
    ),
    "waits": (
        "policy.path=models/policy",
        BY_MODEL,
        "ppo.value_warmup_steps=1",
        "ppo.max_approx_kl=0.001",
        "policy.optimizer.warmup_steps=0",
        "ppo.whiten_advantages=false",
        "ppo.loss_aggregation=seq_mean_token_sum_norm",
    ),
    **{
        name: (
            "policy.path=models/policy",
            BY_MODEL,
            f"ppo.advantage_estimator={name}",
            "ppo.samples_per_prompt=4",
            "ppo.rollout_batch_size=2",
            "ppo.loss_aggregation=seq_mean_token_sum",
            "ppo.num_epochs=1",
        )
        for name in ("rloo", "grpo", "dr_grpo", "reinforce_pp")
    },
}
UNCOMPUTED = {"speed/padding_share"}
"""How rows are packed is no part of the algorithm; tests/unit/roles/test_learner.py has it."""
WITHOUT_VALUE = ("rloo", "grpo", "dr_grpo", "reinforce_pp")


@pytest.fixture(scope="module")
def replayed(home):
    """Run a case and replay it, once."""
    for family in ("gpt2", "qwen3"):
        kit.write_writer(home.folder / "models" / family, family, seed=3)
    kit.write_scorer(home.folder / "models" / "qwen3_reward", "qwen3", seed=4)
    kit.write_scorer(home.folder / "models" / "second" / "reward", seed=5)
    found = {}

    def replay(name):
        if name not in found:
            ran = home.run("ppo", *HERE, *SMALL, *CASES[name])
            assert ran.code == 0, ran.err
            found[name] = ran, Program(ran.folder, home.folder).run()
        return found[name]

    return replay


@pytest.mark.parametrize("name", CASES)
def test_the_weights_after_the_second_step_are_the_plain_programs(replayed, name):
    ran, plain = replayed(name)
    wanted = {"policy": plain.policy, "value": plain.value}
    for role in ("policy",) if name in WITHOUT_VALUE else ("policy", "value"):
        got = ran.weights(role)
        assert set(got) == set(wanted[role])
        apart = {k: float((got[k] - wanted[role][k]).abs().max()) for k in got}
        assert max(apart.values()) < 1e-5, (role, apart)
    assert (ran.folder / "value").exists() == (name not in WITHOUT_VALUE)


@pytest.mark.parametrize("name", CASES)
def test_every_figure_of_both_steps_is_the_plain_programs(replayed, name):
    # correctness 65
    ran, plain = replayed(name)
    steps = ran.steps("ppo")
    assert len(steps) == len(plain.figures) == 2
    for got, wanted in zip(steps, plain.figures, strict=True):
        assert set(got) - UNCOMPUTED == set(wanted)
        # Of the policy's updates: where it takes none, the value's are not told in their place.
        assert ("speed/padding_share" in got) == ("lr" in got)
        for figure, value in wanted.items():
            assert got[figure] == pytest.approx(value, rel=1e-3, abs=2e-5), figure


def test_a_reward_of_many_is_what_each_source_says_by_its_weight(replayed, home):
    """Two functions and three models, one with tokens of its own; the value starts at the first."""
    ran, plain = replayed("many")
    names = ["letters", "reward", "asked", "reward_2", "other_words"]
    first, weights = ran.steps("ppo")[0], (0.5, 0.7, -0.3, 1.0, 0.2)
    said = [[row["said"][name] for row in plain.rows[0]] for name in names]
    for name, scores in zip(names, said, strict=True):
        assert first[f"reward/{name}/score"] == pytest.approx(sum(scores) / len(scores), abs=1e-4)
        assert len(set(scores)) > 3, name
    total = sum(w * sum(s) / len(s) for w, s in zip(weights, said, strict=True))
    assert first["objective/scores"] == pytest.approx(total, abs=1e-4)
    for sample in (*ran.samples("sft"), *ran.samples("ppo")):
        parts = [sample[f"reward/{name}/score"] for name in names]
        mixed = sum(w * part for w, part in zip(weights, parts, strict=True))
        assert sample["score"] == pytest.approx(mixed, abs=1e-5)
    assert (
        "reward: 0.5 x letters (function reward.py:letters) + "
        "0.7 x reward (reward model models/second/reward) + "
        "-0.3 x asked (function reward.py:wanted) + 1 x reward_2 (reward model models/reward) + "
        "0.2 x other_words (reward model models/other_words)" in ran.out
    )


def test_the_cases_are_no_easy_ones(replayed):
    """What is replayed must happen: cut and ended responses, clips, a KL, a policy that moved."""
    _, plain = replayed("unusual")
    rows = [row for step in plain.rows for row in step]
    assert {row["finished"] for row in rows} == {True, False}
    second = plain.figures[1]
    for figure in ("policy/clipfrac_avg", "policy/dual_clipfrac_avg", "value/clipfrac_avg"):
        assert any(0 < figures[figure] < 1 for figures in plain.figures), figure
    assert abs(second["objective/kl"]) > 0.05
    assert plain.figures[0]["objective/kl_coef"] != second["objective/kl_coef"]
    _, cut = replayed("waits")
    assert "lr" not in cut.figures[0]
    assert cut.figures[1]["policy/num_updates"] < 4

"""Which figures, models and answers of a run each setting changes; nothing else may.

A row is a setting's own command line against the base of its stage. `must` has to change, what
matches `may` can (a share of clipped tokens need not move), and all else has to stay as it was: so
a setting that reaches the wrong role, both roles, or none, is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

HERE = (
    "cluster.backend=in_process",
    "engine.backend=torch",
    "tracking.sample_prompts=2",
    "data.validation_fraction=0.2",
    "data.test_fraction=0.2",
)


def optimizer(role: str) -> tuple[str, ...]:
    """Return AdamW settings under which each of them counts."""
    chosen = (
        "lr=3e-3",
        "eps=1e-3",
        "warmup_steps=2",
        "weight_decay=0.1",
        "schedule=linear",
        "max_grad_norm=0.5",
    )
    return tuple(f"{role}.optimizer.{setting}" for setting in chosen)


def epochs(stage: str) -> tuple[str, ...]:
    """Return a few steps, some of them validated."""
    return (
        "policy.path=models/policy",
        f"{stage}.batch_size=8",
        f"{stage}.validate_every=2",
        *optimizer(stage),
    )


BASES: dict[str, tuple[str, ...]] = {
    "sft": (*epochs("sft"), "data.demonstrations=demonstrations.jsonl"),
    "reward_model": (*epochs("reward_model"), "data.preferences=preferences.jsonl"),
    "ppo": (
        "policy.path=models/policy",
        "reference.path=models/reference",
        "reward_model.path=models/reward",
        "reward.function=reward.py:wanted",
        "data.prompts=prompts.jsonl",
        "data.pretraining=texts.jsonl",
        "ppo.num_steps=1",
        "ppo.rollout_batch_size=8",
        "ppo.minibatch_size=4",
        "ppo.num_epochs=2",
        "generation.max_new_tokens=6",
        *optimizer("policy"),
        *optimizer("value"),
    ),
}

# Groups of what a PPO step shows, in the order in which one follows from the other.
SAMPLED = (
    *("samples sft", "samples ppo"),
    *(f"samples {stage} {what}" for stage in ("sft", "ppo") for what in ("scores", "parts")),
)
WRITTEN = (
    "completions/*",
    "num_tokens",
    "objective/kl",
    "objective/kl_per_token",
    "objective/non_score_reward",
    "sampling/*",
    "speed/padding_share",
    "policy/ratio_first_max_error",
)
SAID = ("reward/*", "samples sft parts")
"""What each source of the reward says; its weight is no part of it."""
SCORED = ("objective/scores", "objective/scores_std")
CORRELATED = "objective/score_length_correlation"
SHAPED = ("objective/rlhf_reward", "objective/rlhf_reward_std")
VALUED = ("value/[mfq]*",)
ADVANTAGES = ("advantages/*",)
RETURNS = ("returns/mean", "value/explained_variance")
VALUE_LEARNED = ("loss/value_avg", "value/grad_norm", "value")
VALUE_CLIPPED = "value/clipfrac_avg"
POLICY_LEARNED = (
    "loss/policy_avg",
    "policy/approxkl_avg",
    "policy/entropy_avg",
    "policy/grad_norm",
    "policy/ratio",
    "policy/ratio_max",
    "policy/ratio_var",
    "policy",
)
POLICY_CLIPPED = ("policy/clipfrac_avg", "policy/dual_clipfrac_avg", "samples ppo*")
LEARNED = (*VALUE_LEARNED, *POLICY_LEARNED)
CLIPPED = (VALUE_CLIPPED, *POLICY_CLIPPED)
JUDGED = (*ADVANTAGES, *RETURNS, *LEARNED)
ALL_BUT_SAMPLES = (
    *("reward/*", CORRELATED),
    *(*WRITTEN, *SCORED, *SHAPED, *VALUED, *JUDGED, *CLIPPED),
)
ALL_OF_IT = (*ALL_BUT_SAMPLES, *SAMPLED)


@dataclass(frozen=True)
class Effect:
    """What one setting does to a run of a stage."""

    value: str
    """What it is set to."""
    must: tuple[str, ...]
    """Names that change, or patterns of which one at least does."""
    may: tuple[str, ...] = ()
    """Patterns that may change beside them."""
    stage: Literal["sft", "reward_model", "ppo"] = "ppo"
    beside: tuple[str, ...] = ()
    """Overrides of both runs, where the base hides the setting."""
    also: tuple[str, ...] = ()
    """Overrides of the changed run alone, which the setting cannot do without."""


def epoch_effects(stage: Literal["sft", "reward_model"]) -> dict[str, Effect]:
    """Return the effects of the settings that SFT and the reward model share."""
    model = (stage, "reward_model.json") if stage == "reward_model" else (stage,)
    after = tuple(f"{stage} {step} *" for step in (1, 2))
    more = tuple(f"{stage} {step} *" for step in (3, 4, 5))

    def effect(value: str, *must: str, may: tuple[str, ...] = (), **changes) -> Effect:
        return Effect(value, must, may, stage, **changes)

    longer = (f"{stage}.num_epochs=2",)
    optimizer = {
        "lr": effect("1e-3", f"{stage} 0 lr", *model, may=after),
        "betas": effect("[0.5,0.9]", f"{stage} 1 grad_norm", *model, may=after),
        "eps": effect("1e-2", f"{stage} 1 grad_norm", *model, may=after),
        "weight_decay": effect("0.5", f"{stage} 1 grad_norm", *model, may=after),
        "warmup_steps": effect("1", f"{stage} 0 lr", *model, may=after),
        "schedule": effect(
            "cosine", f"{stage} 3 lr", *model, may=(f"{stage} [345] *",), beside=longer
        ),
        "max_grad_norm": effect("5", f"{stage} 1 grad_norm", *model, may=after),
    }
    early = (f"{stage}.optimizer.lr=3", f"{stage}.num_epochs=4", f"{stage}.patience=9")
    return {
        **{f"{stage}.optimizer.{name}": row for name, row in optimizer.items()},
        f"{stage}.num_epochs": effect("2", f"{stage} 5 lr", *model, may=(*after, *more), beside=()),
        f"{stage}.batch_size": effect(
            "4", f"{stage} 0 num_tokens", *model, may=(f"{stage} 0 *", *after, *more)
        ),
        f"{stage}.validate_every": effect("1", f"{stage} 0 loss/validation", may=(f"{stage} 0 *",)),
        f"{stage}.patience": effect(
            "1", f"{stage} 11 lr", may=(*model, f"{stage} *"), beside=early
        ),
    }


EFFECTS: dict[str, Effect] = {
    **epoch_effects("sft"),
    **epoch_effects("reward_model"),
    "sft.keep": Effect(
        "last",
        ("sft",),
        (),
        "sft",
        ("sft.optimizer.lr=1", "sft.optimizer.schedule=constant"),
    ),
    "reward_model.margin_coef": Effect(
        "0",
        ("reward_model 0 loss/train", "reward_model 2 loss/validation", "reward_model"),
        ("reward_model 0 grad_norm", "reward_model [12] *", "reward_model.json"),
        "reward_model",
    ),
    "reward_model.center_coef": Effect(
        "0.5",
        ("reward_model 0 loss/train", "reward_model"),
        ("reward_model 0 grad_norm", "reward_model [12] *", "reward_model.json"),
        "reward_model",
    ),
    "data.demonstrations": Effect(
        "[other_demonstrations.jsonl]",
        ("sft 0 loss/train", "sft"),
        ("sft *",),
        "sft",
    ),
    "data.columns": Effect(
        "{prompt: completion, completion: prompt}",
        ("sft 0 loss/train", "sft"),
        ("sft *",),
        "sft",
    ),
    "data.prompt_template": Effect(
        "Say what {prompt} is:",
        ("sft 0 loss/train", "sft 0 num_tokens", "sft"),
        ("sft *",),
        "sft",
    ),
    "data.few_shot": Effect(
        "1",
        ("sft 0 loss/train", "sft 0 num_tokens", "sft"),
        ("sft *",),
        "sft",
    ),
    "data.invalid": Effect(
        "drop",
        ("sft 0 loss/train", "sft"),
        ("sft *",),
        "sft",
        ("data.demonstrations=copies.jsonl",),
    ),
    "data.preferences": Effect(
        "other_preferences.jsonl",
        ("reward_model 0 loss/train", "reward_model", "reward_model.json"),
        ("reward_model *",),
        "reward_model",
    ),
    "data.test_preferences": Effect(
        "other_preferences.jsonl", ("reward_model.json",), (), "reward_model"
    ),
    "data.split_by": Effect(
        "row", ("sft 0 num_tokens", "sft 1 loss/validation", "sft"), ("sft *",), "sft"
    ),
    "data.max_length": Effect(
        "19", ("sft 0 num_tokens", "sft"), ("sft *",), "sft", ("data.overlong=drop",)
    ),
    "seed": Effect("1", (*SCORED, "objective/kl", *JUDGED, *SAMPLED), ALL_OF_IT),
    "policy.path": Effect(
        "models/other",
        ("objective/kl", *SCORED, *JUDGED, *SAMPLED),
        ALL_OF_IT,
    ),
    "reference.path": Effect(
        "models/other",
        ("objective/kl", "objective/kl_per_token", "objective/non_score_reward", *SHAPED, *JUDGED),
        CLIPPED,
    ),
    "reward_model.path": Effect(
        "models/value",
        (*SAID, *SCORED, *SHAPED, *VALUED, *JUDGED, "samples sft scores", "samples ppo scores"),
        (CORRELATED, *CLIPPED),
    ),
    "value.path": Effect("models/value", (*VALUED, *JUDGED), CLIPPED),
    "reward.function": Effect(
        "reward.py:letters",
        (*SAID, *SCORED, *SHAPED, *JUDGED, "samples sft scores"),
        (CORRELATED, *CLIPPED),
    ),
    "reward.function_weight": Effect(
        "2", (*SCORED, *SHAPED, *JUDGED, "samples sft scores"), (CORRELATED, *CLIPPED)
    ),
    "reward.model_weight": Effect(
        "2", (*SCORED, *SHAPED, *JUDGED, "samples sft scores"), (CORRELATED, *CLIPPED)
    ),
    "reward.sources": Effect(
        "[{function: reward.py:wanted, weight: 2},{model: models/reward}]",
        (*SCORED, *SHAPED, *JUDGED, "samples sft scores"),
        (CORRELATED, *CLIPPED),
        beside=(
            *("reward.function=null", "reward_model.path=null"),
            "reward.sources=[{function: reward.py:wanted},{model: models/reward}]",
        ),
    ),
    "data.prompts": Effect(
        "other_prompts.jsonl", ("num_tokens", *SCORED, *JUDGED, *SAMPLED), ALL_OF_IT
    ),
    "data.test_prompts": Effect("other_prompts.jsonl", SAMPLED),
    "data.validation_fraction": Effect("0.1", (*SCORED, *JUDGED), ALL_OF_IT),
    "data.test_fraction": Effect("0.3", (*SCORED, *JUDGED), ALL_OF_IT),
    "data.max_prompt_length": Effect(
        "13", ("num_tokens", *SCORED, *JUDGED), ALL_OF_IT, beside=("data.overlong=drop",)
    ),
    "data.pretraining": Effect(
        "demonstrations.jsonl",
        ("loss/ptx_avg", *POLICY_LEARNED),
        POLICY_CLIPPED,
        beside=("ppo.ptx_coef=0.5",),
    ),
    "ppo.ptx_coef": Effect("0.5", ("loss/ptx_avg", *POLICY_LEARNED), POLICY_CLIPPED),
    "ppo.num_steps": Effect(
        "2",
        ("ppo 1 objective/scores", "lr", "policy", "value"),
        ("value/lr", "ppo 1 *", *ALL_OF_IT),
        beside=("policy.optimizer.warmup_steps=0",),
    ),
    "ppo.rollout_batch_size": Effect(
        "4",
        ("num_tokens", *SCORED, *JUDGED, "policy/num_updates"),
        (*ALL_BUT_SAMPLES, "*lr"),
    ),
    "ppo.samples_per_prompt": Effect(
        "2",
        ("num_tokens", *SCORED, *JUDGED, "policy/num_updates"),
        (*ALL_BUT_SAMPLES, "*lr"),
    ),
    "ppo.minibatch_size": Effect(
        "8",
        (*LEARNED, "policy/num_updates"),
        (*CLIPPED, "*lr", "speed/padding_share", "policy/ratio_first_max_error"),
    ),
    "ppo.num_epochs": Effect(
        "1", (*LEARNED, "policy/num_updates"), (*CLIPPED, "*lr", "speed/padding_share")
    ),
    "ppo.kl_coef": Effect(
        "0.3",
        ("objective/kl_coef", "objective/non_score_reward", *SHAPED, *JUDGED),
        CLIPPED,
    ),
    "ppo.kl_target": Effect(
        "0.1",
        ("ppo 1 objective/kl_coef", "ppo 1 objective/non_score_reward", "policy", "value"),
        ("ppo 1 *", *SAMPLED),
        beside=("ppo.num_steps=2",),
    ),
    "ppo.kl_horizon": Effect(
        "50",
        ("ppo 1 objective/kl_coef", "ppo 1 objective/non_score_reward", "policy", "value"),
        ("ppo 1 *", *SAMPLED),
        beside=("ppo.num_steps=2", "ppo.kl_target=0.1"),
    ),
    "ppo.advantage_estimator": Effect(
        "reinforce_pp", (*ADVANTAGES, *POLICY_LEARNED, "value"), (*ALL_OF_IT, "value/lr")
    ),
    "ppo.loss_aggregation": Effect("seq_mean_token_mean", POLICY_LEARNED, POLICY_CLIPPED),
    "ppo.clip_range": Effect("0.02", POLICY_LEARNED, POLICY_CLIPPED),
    "ppo.clip_range_high": Effect("0.02", POLICY_LEARNED, POLICY_CLIPPED),
    "ppo.dual_clip": Effect("1.05", (*POLICY_LEARNED, "policy/dual_clipfrac_avg"), POLICY_CLIPPED),
    "ppo.max_approx_kl": Effect(
        "1e-6",
        (*POLICY_LEARNED, "policy/num_updates"),
        (*POLICY_CLIPPED, "lr", "speed/padding_share"),
    ),
    "ppo.value_clip_range": Effect("0.02", (*VALUE_LEARNED, VALUE_CLIPPED)),
    "ppo.discount": Effect("0.9", JUDGED, CLIPPED),
    "ppo.gae_lambda": Effect("0.5", JUDGED, CLIPPED),
    "ppo.value_gae_lambda": Effect("0.5", (*RETURNS, *VALUE_LEARNED), (VALUE_CLIPPED,)),
    "ppo.missing_eos_penalty": Effect("0.3", (*SHAPED, *JUDGED), CLIPPED),
    "ppo.overlong_penalty": Effect(
        "0.5", (*SHAPED, *JUDGED), CLIPPED, also=("ppo.overlong_buffer=3",)
    ),
    "ppo.overlong_buffer": Effect(
        "8",
        (*SHAPED, *JUDGED),
        CLIPPED,
        beside=(
            "generation.max_new_tokens=8",
            "ppo.overlong_penalty=0.5",
            "ppo.overlong_buffer=2",
        ),
    ),
    "ppo.scale_scores": Effect("true", (*SHAPED, *JUDGED), CLIPPED),
    "ppo.importance_cap": Effect(
        "1", POLICY_LEARNED, POLICY_CLIPPED, beside=("engine.precision=bf16",)
    ),
    "ppo.ema_decay": Effect("0.5", ("policy",), ("samples ppo*",)),
    "ppo.whiten_advantages": Effect("false", POLICY_LEARNED, POLICY_CLIPPED),
    "ppo.value_warmup_steps": Effect(
        "1",
        (*POLICY_LEARNED, "lr", "policy/num_updates"),
        (*POLICY_CLIPPED, "policy/*", "speed/padding_share"),
    ),
    "generation.max_new_tokens": Effect("4", ("num_tokens", *SCORED, *JUDGED), ALL_OF_IT),
    "generation.temperature": Effect("0.7", ("objective/kl", *JUDGED), ALL_OF_IT),
    "tracking.sample_prompts": Effect("1", SAMPLED),
    "peft.method": Effect(
        "lora",
        LEARNED,
        CLIPPED,
        beside=("reference.path=null",),
    ),
    "peft.rank": Effect("2", LEARNED, CLIPPED, beside=("reference.path=null", "peft=lora")),
    "peft.alpha": Effect("4", LEARNED, CLIPPED, beside=("reference.path=null", "peft=lora")),
    "peft.target_modules": Effect(
        "q_proj", LEARNED, CLIPPED, beside=("reference.path=null", "peft=lora")
    ),
    **{
        f"policy.optimizer.{name}": Effect(
            value, (*more, *POLICY_LEARNED), POLICY_CLIPPED, beside=beside
        )
        for name, value, more, beside in (
            ("lr", "1e-3", ("lr",), ()),
            ("betas", "[0.5,0.9]", (), ()),
            ("eps", "1e-2", (), ()),
            ("weight_decay", "0.9", (), ()),
            ("warmup_steps", "4", ("lr",), ()),
            ("schedule", "cosine", ("lr",), ("policy.optimizer.warmup_steps=0",)),
            ("max_grad_norm", "5", (), ()),
        )
    },
    **{
        f"value.optimizer.{name}": Effect(
            value, (*more, *VALUE_LEARNED), (VALUE_CLIPPED,), beside=beside
        )
        for name, value, more, beside in (
            ("lr", "1e-3", ("value/lr",), ()),
            ("betas", "[0.5,0.9]", (), ()),
            ("eps", "1e-2", (), ()),
            ("weight_decay", "0.9", (), ()),
            ("warmup_steps", "4", ("value/lr",), ()),
            ("schedule", "cosine", ("value/lr",), ("value.optimizer.warmup_steps=0",)),
            ("max_grad_norm", "5", (), ()),
        )
    },
}

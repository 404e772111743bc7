"""Which curves are drawn for each stage, and in what unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rlhf.catalog.stages import PPO, REWARD_MODEL, SFT


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture of a stage: its metrics with the names they carry at the end of their line."""

    title: str
    unit: str
    metrics: tuple[tuple[str, str], ...]
    percent: bool = False
    zero: bool = False


_SPEED: Final = (("speed/tokens_per_s", ""),)

MAIN: Final[dict[str, tuple[Plot, ...]]] = {
    SFT.name: (
        Plot(
            "Loss", "nats a token", (("loss/train", "training"), ("loss/validation", "validation"))
        ),
        Plot("Learning rate", "", (("lr", ""),), zero=True),
        Plot("Gradient norm", "before clipping", (("grad_norm", ""),), zero=True),
    ),
    REWARD_MODEL.name: (
        Plot(
            "Accuracy",
            "pairs ranked as people did",
            (("accuracy/train", "training"), ("accuracy/validation", "validation")),
            percent=True,
        ),
        Plot(
            "Loss", "nats a pair", (("loss/train", "training"), ("loss/validation", "validation"))
        ),
        Plot("Margin", "score of chosen \u2212 rejected", (("margin", ""),)),
    ),
    PPO.name: (
        Plot(
            "Score",
            "mean of a batch",
            (("objective/scores", "score"), ("objective/rlhf_reward", "after KL")),
        ),
        Plot("KL to the reference", "nats a response", (("objective/kl", ""),), zero=True),
        Plot("Response length", "tokens", (("completions/mean_length", ""),)),
        Plot("Entropy of the policy", "nats a token", (("policy/entropy_avg", ""),), zero=True),
        Plot("Explained variance", "of the value role", (("value/explained_variance", ""),)),
        Plot(
            "Clipped updates",
            "share of tokens",
            (("policy/clipfrac_avg", "policy"), ("value/clipfrac_avg", "value")),
            percent=True,
            zero=True,
        ),
        Plot(
            "Size of the update",
            "approximate KL, nats a token",
            (("policy/approxkl_avg", ""),),
            zero=True,
        ),
        Plot("Answers that end by themselves", "", (("completions/eos_rate", ""),), percent=True),
    ),
}
"""Pictures always shown, by stage."""

MORE: Final[dict[str, tuple[Plot, ...]]] = {
    SFT.name: (Plot("Speed", "tokens a second", _SPEED, zero=True),),
    REWARD_MODEL.name: (
        Plot("Learning rate", "", (("lr", ""),), zero=True),
        Plot("Speed", "tokens a second", _SPEED, zero=True),
    ),
    PPO.name: (
        Plot("Value loss", "score units squared", (("loss/value_avg", ""),), zero=True),
        Plot("Policy loss", "", (("loss/policy_avg", ""),)),
        Plot("KL coefficient", "score units a nat", (("objective/kl_coef", ""),), zero=True),
        Plot("Speed", "tokens a second", _SPEED, zero=True),
        Plot("Returns and values", "mean", (("returns/mean", "returns"), ("value/mean", "values"))),
        Plot(
            "Gradient norm",
            "before clipping",
            (("policy/grad_norm", "policy"), ("value/grad_norm", "value")),
            zero=True,
        ),
        Plot(
            "Sampler against trainer",
            "largest logprob gap",
            (("sampling/logprob_difference_max", ""),),
            zero=True,
        ),
        Plot(
            "First ratio",
            "largest distance from 1",
            (("policy/ratio_first_max_error", ""),),
            zero=True,
        ),
        Plot("Largest ratio", "new to old probability", (("policy/ratio_max", ""),)),
        Plot("Learning rate", "", (("lr", ""),), zero=True),
    ),
}
"""Pictures for a second look, folded away."""

"""PPO: how far each step moves the policy."""

from __future__ import annotations

from functools import partial
from typing import Final

from rlhf.catalog.metric import Alarm, Live, Metric, Plot
from rlhf.catalog.signs import WINDOW, Fell, Still
from rlhf.catalog.stages import PPO

STILL_STEPS: Final = 10
STILL_KL: Final = 1e-6
"""Nats a token; a policy that learns has 1e-5 to 1e-2 a step."""
ENTROPY_DROP: Final = 0.5

STAGES: Final = (PPO.name,)

METRICS: Final = (
    Metric(
        name="loss/policy_avg",
        stages=STAGES,
        meaning="clipped surrogate a token",
        normal="near 0, either sign; not a measure of progress",
        trl="`loss/policy_avg`",
        verl="`actor/pg_loss`",
        plot=Plot(title="Policy loss", order=120, is_folded=True),
    ),
    Metric(
        name="policy/approxkl_avg",
        stages=STAGES,
        unit="nats a token",
        meaning="mean of half the squared log-ratio: how far the step's updates went",
        normal="small, above 0",
        otherwise="grows: lower `policy.optimizer.lr` or `ppo.num_epochs`",
        trl="`policy/approxkl_avg`",
        verl="`actor/ppo_kl` (~, another estimate)",
        plot=Plot(
            title="Size of the update", unit="approximate KL, nats a token", order=70, zero=True
        ),
        alarms=(
            Alarm(
                name="still",
                order=20,
                sign=partial(Still, limit=STILL_KL, steps=STILL_STEPS, rate="lr"),
                when=(
                    f"below {STILL_KL:g}, median of {STILL_STEPS} steps, at half the peak learning"
                    " rate or more: the policy does not move"
                ),
                says=(
                    "the policy does not move: for {steps} steps approximate KL was about "
                    "{now:.1g} nats a token a step (below {limit:g}); raise "
                    "policy.optimizer.lr{at}, or look for scores that are all alike"
                ),
            ),
        ),
    ),
    Metric(
        name="policy/clipfrac_avg",
        stages=STAGES,
        unit="share",
        meaning="share of tokens where the policy's clip binds",
        normal="small, above 0",
        otherwise="large: as above; always 0: the policy hardly moves, raise the rate",
        trl="`policy/clipfrac_avg`",
        verl="`actor/pg_clipfrac`",
        plot=Plot(
            title="Clipped updates",
            unit="share of tokens",
            order=60,
            label="policy",
            others=(("value/clipfrac_avg", "value"),),
            percent=True,
            zero=True,
        ),
    ),
    Metric(
        name="policy/dual_clipfrac_avg",
        stages=STAGES,
        unit="share",
        meaning=("share of tokens where `ppo.dual_clip` bounds the loss of a negative advantage"),
        normal="0, or nearly",
        otherwise="large: the policy runs from tokens it has just drawn; lower the rate",
        verl="`actor/pg_clipfrac_lower`",
    ),
    Metric(
        name="policy/num_updates",
        stages=STAGES,
        unit="steps",
        meaning="optimizer steps the policy took",
        normal="epochs x minibatches",
        otherwise=(
            "fewer: `ppo.max_approx_kl` stopped the step's epochs; often: lower the rate or "
            "`ppo.num_epochs`"
        ),
    ),
    Metric(
        name="loss/ptx_avg",
        stages=STAGES,
        unit="nats a token",
        meaning="language-model loss on `data.pretraining`, before `ppo.ptx_coef`",
        normal="stays where it started",
        otherwise="rises: the policy forgets; raise `ppo.ptx_coef`",
    ),
    Metric(
        name="policy/entropy_avg",
        stages=STAGES,
        unit="nats a token",
        meaning="entropy of the next-token distribution at the sampling temperature",
        normal="falls slowly",
        otherwise=(
            "less than half of its start: answers become alike; raise `ppo.kl_coef` or lower "
            "the rate"
        ),
        trl="`policy/entropy_avg` (~)",
        verl="`actor/entropy`",
        live=Live(label="entropy", order=30),
        plot=Plot(title="Entropy of the policy", unit="nats a token", order=40, zero=True),
        alarms=(
            Alarm(
                name="entropy",
                order=40,
                sign=partial(Fell, by=ENTROPY_DROP),
                when=f"{100 * ENTROPY_DROP:.0f} % below its first {WINDOW} steps, mean of {WINDOW}",
                says=(
                    "entropy fell from {first:short} to {last:short} nats a token (over half): "
                    "answers become alike; raise ppo.kl_coef or lower policy.optimizer.lr"
                ),
            ),
        ),
    ),
    Metric(
        name="policy/log_ratio_clamped",
        stages=STAGES,
        unit="share",
        meaning="share of tokens whose log-ratio was beyond 20 and clamped",
        normal="0",
        otherwise="not 0: the policy changed far too much; lower `policy.optimizer.lr`",
    ),
    Metric(
        name="policy/grad_norm",
        stages=STAGES,
        meaning="gradient norm before clipping",
        normal="steady",
        otherwise="spikes: lower `policy.optimizer.lr`",
        verl="`actor/grad_norm`",
        plot=Plot(
            title="Gradient norm",
            unit="before clipping",
            order=160,
            label="policy",
            others=(("value/grad_norm", "value"),),
            is_folded=True,
            zero=True,
        ),
    ),
    Metric(
        name="policy/ratio_first_k3",
        stages=STAGES,
        unit="nats a token",
        meaning=("mean of ratio - 1 - log ratio over the tokens of the step's first minibatch"),
        normal="0",
        otherwise=(
            "above 1e-6 in fp32 or 5e-3 in bf16 the run stops: scoring and update see different"
            " models"
        ),
    ),
    Metric(
        name="policy/ratio_first_max_error",
        stages=STAGES,
        unit="nats",
        meaning="largest absolute log-ratio at the step's first minibatch",
        normal="0: scoring computes the microbatches of the update",
        otherwise=(
            "above 0 some kernel does not repeat itself, or the models differ "
            "(`policy/ratio_first_k3` decides)"
        ),
        plot=Plot(
            title="First ratio",
            unit="largest distance from 1",
            order=180,
            is_folded=True,
            zero=True,
        ),
    ),
    Metric(
        name="policy/ratio",
        stages=STAGES,
        meaning="mean ratio of new to old probability",
        normal="near 1",
        otherwise="away from 1: as `policy/approxkl_avg`",
        trl="`val/ratio`",
        was=("val/ratio",),
    ),
    Metric(
        name="policy/ratio_var",
        stages=STAGES,
        meaning="its variance over tokens",
        normal="near 0",
        otherwise="grows: as above",
        trl="`val/ratio_var` (~, there over minibatches)",
        was=("val/ratio_var",),
    ),
    Metric(
        name="policy/ratio_max",
        stages=STAGES,
        meaning="the largest ratio of the step",
        normal="a little above 1",
        otherwise="very large: single tokens run away; lower the rate",
        was=("val/ratio_max",),
        plot=Plot(title="Largest ratio", unit="new to old probability", order=190, is_folded=True),
    ),
    Metric(
        name="lr",
        stages=STAGES,
        meaning="learning rate of the policy, mean over the step's updates",
        normal="its schedule",
        trl="`lr`",
        verl="`actor/lr`",
        plot=Plot(title="Learning rate", order=200, is_folded=True, zero=True),
        smooth=False,
    ),
)

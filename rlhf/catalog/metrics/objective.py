"""PPO: what it raises, and what it pays for that."""

from __future__ import annotations

from functools import partial
from typing import Final

from rlhf.catalog.metric import Alarm, Headline, Live, Metric, Plot
from rlhf.catalog.signs import WINDOW, Jumped, Negative, Recent
from rlhf.catalog.stages import PPO

KL_LIMIT: Final = 10.0
"""Nats a response."""
NEGATIVE_KL_STEPS: Final = 10
NEGATIVE_KL: Final = -0.05
"""Nats a response; above this it is the noise of an estimate around 0."""
JUMP_STEPS: Final = 10
JUMP_SPREADS: Final = 3.0
"""Standard deviations of the score within a batch."""

STAGES: Final = (PPO.name,)

METRICS: Final = (
    Metric(
        name="objective/scores",
        stages=STAGES,
        unit="score",
        meaning="mean score a response, as the reward gave it: the weighted sum of its sources",
        normal="rises",
        otherwise=(
            "flat: raise `policy.optimizer.lr` or lower `ppo.kl_coef`; a sudden jump: a "
            "loophole, read the samples"
        ),
        trl="`objective/scores` (~, after its EOS penalty)",
        verl="`critic/score/mean`",
        live=Live(label="score", order=10),
        headline=Headline(
            says="score {first:short} \u2192 {last:short} at KL {objective/kl:nats}", order=10
        ),
        plot=Plot(
            title="Score",
            unit="mean of a batch",
            order=10,
            label="score",
            others=(("objective/rlhf_reward", "after KL"),),
        ),
        alarms=(
            Alarm(
                name="score_jump",
                order=110,
                sign=partial(
                    Jumped, spread="objective/scores_std", spreads=JUMP_SPREADS, steps=JUMP_STEPS
                ),
                when=(
                    f"up by {JUMP_SPREADS:.0f} standard deviations of a batch within {JUMP_STEPS} "
                    "steps"
                ),
                says=(
                    "score rose by {gain:short} in under {steps} steps, to {last:short} (one batch"
                    " spreads {spread:short}): often a loophole found; read the samples, then fix "
                    "the reward or raise ppo.kl_coef"
                ),
            ),
        ),
    ),
    Metric(
        name="objective/scores_std",
        stages=STAGES,
        unit="score",
        meaning="its standard deviation within the step",
        normal="shrinks slowly",
        otherwise="near 0: all answers score alike, nothing to learn from",
    ),
    Metric(
        name="reward/NAME/score",
        stages=STAGES,
        unit="score",
        meaning=(
            "mean score of one source of the reward, NAME, before its weight "
            "([rewards.md](rewards.md))"
        ),
        normal="rises with `objective/scores`",
        otherwise=(
            "rises alone while the others fall: the policy games this source; lower its weight"
        ),
        trl="`rewards/NAME/mean` (of GRPO)",
    ),
    Metric(
        name="reward/NAME/score_std",
        stages=STAGES,
        unit="score",
        meaning=(
            "its standard deviation within the step: with the weight, how much the source counts"
        ),
        normal="steady",
        otherwise="far above the others': it alone decides; choose weights by this",
        trl="`rewards/NAME/std` (of GRPO)",
    ),
    Metric(
        name="objective/rlhf_reward",
        stages=STAGES,
        unit="score",
        meaning=(
            "mean reward a response after shaping: score, less the missing-EOS penalty, less "
            "the price of KL"
        ),
        normal="rises",
        otherwise=(
            "falls while scores rise: KL grows faster than it pays; raise `ppo.kl_coef` or stop"
        ),
        trl="`objective/rlhf_reward`",
        verl="`critic/rewards/mean`",
    ),
    Metric(
        name="objective/rlhf_reward_std",
        stages=STAGES,
        unit="score",
        meaning="its standard deviation within the step",
        normal="steady",
    ),
    Metric(
        name="objective/non_score_reward",
        stages=STAGES,
        unit="score",
        meaning="mean of -kl_coef x KL a response",
        normal="a little below 0",
        otherwise="large beside the score's gain: lower `ppo.kl_coef`",
        trl="`objective/non_score_reward`",
    ),
    Metric(
        name="objective/kl",
        stages=STAGES,
        unit="nats a response",
        meaning=(
            "KL(policy to reference) of a response: k1 summed over its tokens, mean over responses"
        ),
        normal="0 at the first step, then grows",
        otherwise=(
            "above 10: gaming is likely; raise `ppo.kl_coef` or set `ppo.kl_target`. Below 0 "
            "for many steps: sampler and trainer disagree"
        ),
        trl="`objective/kl`",
        live=Live(label="KL", order=20),
        plot=Plot(title="KL to the reference", unit="nats a response", order=20, zero=True),
        alarms=(
            Alarm(
                name="kl",
                order=10,
                sign=partial(Recent, above=KL_LIMIT),
                when=f"above {KL_LIMIT:.0f}, mean of {WINDOW} steps",
                says=(
                    "KL to the reference is {now:short} nats a response (above {limit:.0f}): the "
                    "policy may be gaming the reward; raise ppo.kl_coef, set ppo.kl_target, or "
                    "stop earlier"
                ),
            ),
            Alarm(
                name="negative_kl",
                order=100,
                sign=partial(Negative, limit=NEGATIVE_KL, steps=NEGATIVE_KL_STEPS),
                when=f"below 0 for {NEGATIVE_KL_STEPS} steps, and below {NEGATIVE_KL:g} on average",
                says=(
                    "KL has been negative for {steps} steps (mean {now:short} nats): sampler and "
                    "training forward disagree; check sampling/logprob_difference_max, "
                    "engine.precision and dropout"
                ),
            ),
        ),
    ),
    Metric(
        name="objective/kl_per_token",
        stages=STAGES,
        unit="nats a token",
        meaning="the same a token",
        normal="as above",
        otherwise="as above; tells a longer answer from a farther one",
        verl="`actor/reward_kl_penalty` (~)",
    ),
    Metric(
        name="objective/kl_coef",
        stages=STAGES,
        unit="score a nat",
        meaning="the coefficient of this step",
        normal="constant, or steered by `ppo.kl_target`",
        otherwise="runs away: the target cannot be met",
        verl="`actor/reward_kl_penalty_coeff`",
        plot=Plot(
            title="KL coefficient", unit="score units a nat", order=130, is_folded=True, zero=True
        ),
    ),
    Metric(
        name="objective/score_length_correlation",
        stages=STAGES,
        meaning="Pearson correlation of score and length within the step",
        normal="near 0",
        otherwise="strongly positive: the reward pays for length; balance the rankings",
    ),
)

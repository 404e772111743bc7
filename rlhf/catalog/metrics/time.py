"""Time and speed of a step, and who works or waits in it."""

from __future__ import annotations

from typing import Final

from rlhf.catalog.metric import Live, Metric, Plot
from rlhf.catalog.stages import PPO, STAGES

EVERY: Final = tuple(stage.name for stage in STAGES)
"""Any role may work in any stage; a stage has the phases of those that do."""

METRICS: Final = (
    Metric(
        name="time/step_s",
        stages=EVERY,
        unit="seconds",
        meaning="the whole step",
        otherwise="see which phase is long",
        trl="`step_time`",
        verl="`timing_s/step`",
    ),
    Metric(
        name="speed/tokens_per_s",
        stages=EVERY,
        unit="tokens a second",
        meaning="`num_tokens` over `time/step_s`",
        derived=lambda step: step["num_tokens"] / step["time/step_s"],
        normal="steady",
        otherwise="falls: longer responses, or a busy machine",
        verl="`perf/throughput` (~)",
        live=Live(label="tokens/s", order=90),
        plot=Plot(title="Speed", unit="tokens a second", order=140, is_folded=True, zero=True),
    ),
    Metric(
        name="speed/padding_share",
        stages=(PPO.name,),
        unit="share",
        meaning=(
            "share of the tokens that the policy's updates computed which were padding, mean "
            "over updates; rows of a microbatch share bins"
        ),
        normal="up to 0.05",
        otherwise=(
            "near a half: few rows a microbatch, or a network that cannot keep rows in a bin "
            "apart; more `ppo.minibatch_size` or `engine.max_tokens_per_microbatch`"
        ),
    ),
    Metric(
        name="num_tokens",
        stages=EVERY,
        unit="tokens",
        meaning="real tokens the step read or wrote, each counted once",
        trl="`num_tokens` (~, a running sum)",
        verl="`perf/total_num_tokens`",
    ),
    Metric(
        name="time/generate_s",
        stages=EVERY,
        unit="seconds",
        meaning="writing the responses",
        normal="a large part of a step",
        otherwise="raise `generation.batch_size` or `cluster.policy.ranks`",
        verl="`timing_s/gen`",
    ),
    Metric(
        name="time/score_s",
        stages=EVERY,
        unit="seconds",
        meaning=(
            "score, two log-probabilities and values, as far as it goes on when all responses "
            "are written"
        ),
        otherwise="raise `engine.max_tokens_per_microbatch`",
    ),
    Metric(
        name="time/learn_s",
        stages=EVERY,
        unit="seconds",
        meaning="all updates of policy and value",
        normal="the rest",
        otherwise="as above, or more ranks",
        verl="`timing_s/update_actor` (~, the policy alone)",
    ),
    Metric(
        name="time/turn_s",
        stages=EVERY,
        unit="seconds",
        meaning=(
            "roles leaving the device they share and coming back (`offload` and `onload` in the"
            " timeline); none where they do not take turns"
        ),
        normal="each role out and in once a step, so steady",
        otherwise=(
            "a large part of the step: longer rollouts, or `cluster.residency=all` if all roles fit"
        ),
    ),
    Metric(
        name="busy/policy_s",
        stages=EVERY,
        unit="seconds",
        meaning="seconds of the policy's ranks, summed over ranks",
        otherwise="a rank that waits for others is busy too",
    ),
    Metric(
        name="busy/reference_s",
        stages=EVERY,
        unit="seconds",
        meaning="of the reference's ranks",
    ),
    Metric(
        name="busy/reward_s",
        stages=EVERY,
        unit="seconds",
        meaning="of the reward's ranks",
        otherwise="a slow function shows here",
    ),
    Metric(
        name="busy/value_s",
        stages=EVERY,
        unit="seconds",
        meaning="of the value's ranks",
    ),
    Metric(
        name="idle/policy",
        stages=EVERY,
        unit="share",
        meaning="share of the step in which the policy's ranks had nothing to do",
        normal="low: it writes, scores and learns",
        otherwise=(
            "high: a role with a lower share, or the driver, holds it up; see the report's picture"
        ),
    ),
    Metric(
        name="idle/reference",
        stages=EVERY,
        unit="share",
        meaning="the reference's ranks",
        normal="high: it only scores",
        otherwise=(
            "lower than the policy's: raise `cluster.reference.ranks`; high with several ranks:"
            " lower it"
        ),
    ),
    Metric(
        name="idle/reward",
        stages=EVERY,
        unit="share",
        meaning="the reward's ranks",
        normal="high, as above",
        otherwise=("lower than the policy's: a slow function, or raise `cluster.reward.ranks`"),
    ),
    Metric(
        name="idle/value",
        stages=EVERY,
        unit="share",
        meaning="the value's ranks",
        normal="above the policy's: it writes nothing",
        otherwise=("lower than the policy's: raise `cluster.value.ranks`; much higher: lower it"),
    ),
)

"""PPO: how the responses are, and whether sampler and trainer agree on them."""

from __future__ import annotations

from functools import partial
from typing import Final

from rlhf.catalog.metric import Alarm, Live, Metric, Plot
from rlhf.catalog.signs import WINDOW, Drifted, Fell, Recent
from rlhf.catalog.stages import PPO

LENGTH_DRIFT: Final = 0.25
EOS_FLOOR: Final = 0.9
VARIETY_DROP: Final = 0.3
SAMPLER_LIMIT: Final = 1e-3
"""Mean k3 a token between sampler and trainer; rounding in bf16 stays below."""

STAGES: Final = (PPO.name,)

METRICS: Final = (
    Metric(
        name="completions/mean_length",
        stages=STAGES,
        unit="tokens",
        meaning="mean response length, EOS included",
        normal="moves little",
        otherwise="more than a quarter away from the start: see the correlation above",
        verl="`response_length/mean`",
        live=Live(label="length", order=40),
        plot=Plot(title="Response length", unit="tokens", order=30),
        alarms=(
            Alarm(
                name="length",
                order=30,
                sign=partial(Drifted, by=LENGTH_DRIFT),
                when=f"{100 * LENGTH_DRIFT:.0f} % off its first {WINDOW} steps, mean of {WINDOW}",
                says=(
                    "response length moved from {first:short} to {last:short} tokens "
                    "({change:signed} %): the reward may pay for length; compare win rates at "
                    "equal length, or balance the lengths in data.preferences"
                ),
            ),
        ),
    ),
    Metric(
        name="completions/eos_rate",
        stages=STAGES,
        unit="share",
        meaning="share of responses that end by themselves",
        normal="near 1",
        otherwise=("below 0.9: raise `generation.max_new_tokens` or `ppo.missing_eos_penalty`"),
        trl="`val/num_eos_tokens` (~, a count)",
        verl="1 - `response_length/clip_ratio` (~)",
        plot=Plot(title="Answers that end by themselves", order=80, percent=True),
        alarms=(
            Alarm(
                name="eos",
                order=50,
                sign=partial(Recent, below=EOS_FLOOR),
                when=f"below {EOS_FLOOR:g}, mean of {WINDOW} steps",
                says=(
                    "only {now:percent} of responses end by themselves (below {limit:percent}); "
                    "the rest are cut and scored unfinished; raise generation.max_new_tokens or "
                    "ppo.missing_eos_penalty"
                ),
            ),
        ),
    ),
    Metric(
        name="completions/distinct_2",
        stages=STAGES,
        unit="share",
        meaning=(
            "distinct pairs of neighbouring tokens over all pairs, in the step's first 64 responses"
        ),
        normal="falls slowly",
        otherwise=("30 % below its start: answers repeat; read the samples, raise `ppo.kl_coef`"),
        alarms=(
            Alarm(
                name="variety",
                order=60,
                sign=partial(Fell, by=VARIETY_DROP),
                when=f"{100 * VARIETY_DROP:.0f} % below its first {WINDOW} steps, mean of {WINDOW}",
                says=(
                    "distinct word pairs fell from {first:percent} to {last:percent}: answers "
                    "repeat themselves or each other; read the samples, then raise ppo.kl_coef"
                ),
            ),
        ),
    ),
    Metric(
        name="sampling/logprob_difference_max",
        stages=STAGES,
        unit="nats",
        meaning=(
            "largest difference between a token's log-probability when drawn and by the "
            "training forward"
        ),
        normal="rounding",
        otherwise=(
            "larger: sampler and trainer run different models; check `engine.precision` and the"
            " model's own tricks"
        ),
        plot=Plot(
            title="Sampler against trainer",
            unit="largest logprob gap",
            order=170,
            is_folded=True,
            zero=True,
        ),
    ),
    Metric(
        name="sampling/k3_mean",
        stages=STAGES,
        unit="nats a token",
        meaning="mean k3 estimate of the KL between the two, a token",
        normal="rounding (in bf16 about 5e-4), never below 0",
        otherwise=(
            "as above; above 0.02 at the first step of a run it ends there, before anything is "
            "learned, unless `ppo.importance_cap` is set"
        ),
        alarms=(
            Alarm(
                name="sampler",
                order=90,
                sign=partial(Recent, above=SAMPLER_LIMIT),
                when=f"above {SAMPLER_LIMIT:g}, mean of {WINDOW} steps",
                says=(
                    "sampler and trainer differ by {now:short} nats a token (above {limit:g}): the"
                    " policy learns from tokens another one drew; set ppo.importance_cap=2, or "
                    "engine.precision=fp32"
                ),
            ),
        ),
    ),
)

"""PPO: advantages, and how well the value role predicts."""

from __future__ import annotations

from functools import partial
from typing import Final

from rlhf.catalog.metric import Alarm, Metric, Plot
from rlhf.catalog.signs import WINDOW, Recent
from rlhf.catalog.stages import PPO

USELESS_STEPS: Final = 20
VALUE_CLIP_LIMIT: Final = 0.5

STAGES: Final = (PPO.name,)

METRICS: Final = (
    Metric(
        name="advantages/mean",
        stages=STAGES,
        unit="score",
        meaning="mean advantage a token, before whitening",
        normal="around 0 once the value has learned",
        otherwise="stays far from 0: the value lags behind",
        verl="`critic/advantages/mean` (~, there after whitening)",
    ),
    Metric(
        name="advantages/std",
        stages=STAGES,
        unit="score",
        meaning="its standard deviation, before whitening",
        normal="shrinks as the value learns",
        otherwise="near 0: nothing to learn from",
    ),
    Metric(
        name="returns/mean",
        stages=STAGES,
        unit="score",
        meaning="mean target of the value a token",
        normal="follows the score",
        verl="`critic/returns/mean`",
        plot=Plot(
            title="Returns and values",
            unit="mean",
            order=150,
            label="returns",
            others=(("value/mean", "values"),),
            is_folded=True,
        ),
    ),
    Metric(
        name="value/mean",
        stages=STAGES,
        unit="score",
        meaning="mean value a token",
        normal="follows `returns/mean`",
        otherwise="apart from it for long: raise `value.optimizer.lr`",
        verl="`critic/values/mean`",
        was=("values/mean",),
    ),
    Metric(
        name="value/first",
        stages=STAGES,
        unit="score",
        meaning="mean value before the first token: what a prompt alone is worth",
        normal="follows the score",
        was=("values/first",),
    ),
    Metric(
        name="value/quarter_1",
        stages=STAGES,
        unit="score",
        meaning="mean value in the first quarter of each response",
        normal="near the last ones",
        otherwise=(
            "far below them: a value role that knows only finished answers, which shortens "
            "responses; raise `ppo.value_warmup_steps`, or set `ppo.value_gae_lambda=1`"
        ),
        was=("values/quarter_1",),
    ),
    Metric(
        name="value/quarter_2",
        stages=STAGES,
        unit="score",
        meaning="in the second",
        normal="as above",
        otherwise="as above",
        was=("values/quarter_2",),
    ),
    Metric(
        name="value/quarter_3",
        stages=STAGES,
        unit="score",
        meaning="in the third",
        normal="as above",
        otherwise="as above",
        was=("values/quarter_3",),
    ),
    Metric(
        name="value/quarter_4",
        stages=STAGES,
        unit="score",
        meaning="in the last",
        normal="follows the score",
        otherwise="as above",
        was=("values/quarter_4",),
    ),
    Metric(
        name="value/explained_variance",
        stages=STAGES,
        meaning="1 - Var(returns - values) / Var(returns)",
        normal="rises from about 0 towards 1",
        otherwise=("stays at 0 or below: raise `value.optimizer.lr` or `ppo.value_warmup_steps`"),
        verl="`critic/vf_explained_var`",
        was=("val/explained_variance",),
        plot=Plot(title="Explained variance", unit="of the value role", order=50),
        alarms=(
            Alarm(
                name="value_useless",
                order=80,
                sign=partial(Recent, below=0.0, after_steps=USELESS_STEPS),
                when=f"below 0 after {USELESS_STEPS} steps, mean of {WINDOW} steps",
                says=(
                    "explained variance is {now:short} after {after} steps or more: the value role"
                    " predicts worse than a constant would; raise value.optimizer.lr or "
                    "ppo.value_warmup_steps"
                ),
            ),
        ),
    ),
    Metric(
        name="loss/value_avg",
        stages=STAGES,
        unit="score squared",
        meaning="half the squared error, the worse of plain and clipped, a token",
        normal="falls",
        otherwise="rises: the reward moves faster than the value follows",
        trl="`loss/value_avg`",
        verl="`critic/vf_loss`",
        plot=Plot(
            title="Value loss", unit="score units squared", order=110, is_folded=True, zero=True
        ),
    ),
    Metric(
        name="value/clipfrac_avg",
        stages=STAGES,
        unit="share",
        meaning="share of tokens where the value's clip binds",
        normal="small after the first steps",
        otherwise="above a half: raise `ppo.value_clip_range` or `ppo.value_warmup_steps`",
        trl="`val/clipfrac_avg`",
        verl="`critic/vf_clipfrac`",
        was=("val/clipfrac_avg",),
        alarms=(
            Alarm(
                name="value_clip",
                order=70,
                sign=partial(Recent, above=VALUE_CLIP_LIMIT),
                when=f"above {VALUE_CLIP_LIMIT:g}, mean of {WINDOW} steps",
                says=(
                    "{now:percent} of value updates clipped (over {limit:percent}): the value role"
                    " cannot follow the scores; raise ppo.value_clip_range or "
                    "ppo.value_warmup_steps"
                ),
            ),
        ),
    ),
    Metric(
        name="value/grad_norm",
        stages=STAGES,
        meaning="gradient norm of the value before clipping, mean over updates",
        normal="steady",
        otherwise="spikes: lower `value.optimizer.lr`",
        verl="`critic/grad_norm`",
    ),
    Metric(
        name="value/lr",
        stages=STAGES,
        meaning="learning rate of the value, mean over the step's updates",
        normal="its schedule",
        verl="`critic/lr`",
        smooth=False,
    ),
)

"""Supervised fine-tuning: losses, gradient and rate."""

from __future__ import annotations

from typing import Final

from rlhf.catalog.metric import Headline, Live, Metric, Plot
from rlhf.catalog.stages import SFT

STAGES: Final = (SFT.name,)

METRICS: Final = (
    Metric(
        name="loss/train",
        stages=STAGES,
        unit="nats a token",
        meaning="mean negative log-likelihood of the minibatch's answer tokens",
        normal="falls, then flattens",
        otherwise=(
            "flat: raise `sft.optimizer.lr`; jumps: lower it or lengthen "
            "`sft.optimizer.warmup_steps`"
        ),
        trl="`loss`",
        verl="`train/loss`",
        live=Live(label="loss", order=10),
        headline=Headline(says="loss {last:short}", order=30),
        plot=Plot(
            title="Loss",
            unit="nats a token",
            order=10,
            label="training",
            others=(("loss/validation", "validation"),),
        ),
    ),
    Metric(
        name="loss/validation",
        stages=STAGES,
        unit="nats a token",
        meaning="the same over rows held out, every `sft.validate_every` steps",
        normal="falls, then rises once texts are memorized",
        otherwise=(
            "rises early: fewer `sft.num_epochs`, more data; `sft.keep=best` keeps the lowest"
        ),
        trl="`eval_loss`",
        verl="`val/loss`",
        live=Live(label="validation", order=20),
        headline=Headline(says="validation loss {last:short}", order=20),
        smooth=False,
    ),
    Metric(
        name="grad_norm",
        stages=STAGES,
        meaning="global gradient norm before clipping",
        normal="steady, with spikes at the start",
        otherwise="always above `sft.optimizer.max_grad_norm`: a lower rate, or a bad row",
        trl="`grad_norm`",
        plot=Plot(title="Gradient norm", unit="before clipping", order=30, zero=True),
    ),
    Metric(
        name="lr",
        stages=STAGES,
        meaning="learning rate of the step",
        normal="warm-up, then `sft.optimizer.schedule`",
        trl="`learning_rate`",
        plot=Plot(title="Learning rate", order=20, zero=True),
        smooth=False,
    ),
)

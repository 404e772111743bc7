"""The reward model: losses, accuracy, margin, gradient and rate."""

from __future__ import annotations

from typing import Final

from rlhf.catalog.metric import Headline, Live, Metric, Plot
from rlhf.catalog.stages import REWARD_MODEL

STAGES: Final = (REWARD_MODEL.name,)

METRICS: Final = (
    Metric(
        name="loss/train",
        stages=STAGES,
        unit="nats a prompt",
        meaning=(
            "Bradley-Terry loss a prompt, mean over its pairs; with `reward_model.center_coef` "
            "its term too"
        ),
        normal="starts near log 2 (0.693) without margins",
        otherwise="stays there: no signal; check which answer is better in the data",
        trl="`loss`",
        live=Live(label="loss", order=10),
        headline=Headline(says="loss {last:short}", order=30),
        plot=Plot(
            title="Loss",
            unit="nats a pair",
            order=20,
            label="training",
            others=(("loss/validation", "validation"),),
        ),
    ),
    Metric(
        name="loss/validation",
        stages=STAGES,
        unit="nats a prompt",
        meaning="the loss over rankings held out",
        normal="falls",
        otherwise="rises: early stopping keeps the best (`reward_model.patience`)",
        trl="`eval_loss`",
        headline=Headline(says="validation loss {last:short}", order=20),
        smooth=False,
    ),
    Metric(
        name="accuracy/train",
        stages=STAGES,
        unit="share",
        meaning=(
            "share of the minibatch's pairs in which the better answer scores higher; ties "
            "count half"
        ),
        normal="from a half upwards",
        otherwise=(
            "near 1 while validation stands still: overfitting; fewer `reward_model.num_epochs`"
        ),
        trl="`accuracy`",
        live=Live(label="accuracy", order=20),
        plot=Plot(
            title="Accuracy",
            unit="pairs ranked as people did",
            order=10,
            label="training",
            others=(("accuracy/validation", "validation"),),
            percent=True,
        ),
    ),
    Metric(
        name="accuracy/validation",
        stages=STAGES,
        unit="share",
        meaning="accuracy over rankings held out",
        normal="above a half, below 1: people disagree too",
        otherwise="near a half: more data, a larger model, or cleaner rankings",
        trl="`eval_accuracy`",
        live=Live(label="validation", order=30),
        headline=Headline(says="validation accuracy {last:percent}", order=10),
        smooth=False,
    ),
    Metric(
        name="margin",
        stages=STAGES,
        unit="score",
        meaning="mean score of the better answer less that of the worse",
        normal="grows slowly",
        otherwise=(
            "grows without an end: overconfident; stop earlier, or `reward_model.center_coef`"
        ),
        trl="`margin`",
        plot=Plot(title="Margin", unit="score of chosen \u2212 rejected", order=30),
    ),
    Metric(
        name="grad_norm",
        stages=STAGES,
        meaning="global gradient norm before clipping",
        normal="steady, with spikes at the start",
        otherwise=(
            "always above `reward_model.optimizer.max_grad_norm`: a lower rate, or a bad row"
        ),
        trl="`grad_norm`",
    ),
    Metric(
        name="lr",
        stages=STAGES,
        meaning="learning rate of the step",
        normal="warm-up, then `reward_model.optimizer.schedule`",
        trl="`learning_rate`",
        plot=Plot(title="Learning rate", order=110, is_folded=True, zero=True),
        smooth=False,
    ),
)

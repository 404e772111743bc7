"""The pictures of a stage are those that its metrics declare, in their order."""

from __future__ import annotations

from rlhf.report.plots import MAIN, MORE, Plot

# What was drawn before metrics declared their plots.
TITLES = {
    "sft": (["Loss", "Learning rate", "Gradient norm"], ["Speed"]),
    "reward_model": (["Accuracy", "Loss", "Margin"], ["Learning rate", "Speed"]),
    "ppo": (
        [
            "Score",
            "KL to the reference",
            "Response length",
            "Entropy of the policy",
            "Explained variance",
            "Clipped updates",
            "Size of the update",
            "Answers that end by themselves",
        ],
        [
            "Value loss",
            "Policy loss",
            "KL coefficient",
            "Speed",
            "Returns and values",
            "Gradient norm",
            "Sampler against trainer",
            "First ratio",
            "Largest ratio",
            "Learning rate",
        ],
    ),
}


def test_every_stage_has_its_pictures_in_order():
    assert list(MAIN) == list(MORE) == list(TITLES)
    for stage, (main, more) in TITLES.items():
        assert [plot.title for plot in MAIN[stage]] == main
        assert [plot.title for plot in MORE[stage]] == more


def test_the_declaring_metric_is_the_first_line_of_its_picture():
    assert MAIN["reward_model"][0] == Plot(
        "Accuracy",
        "pairs ranked as people did",
        (("accuracy/train", "training"), ("accuracy/validation", "validation")),
        percent=True,
    )
    assert MAIN["ppo"][1] == Plot(
        "KL to the reference", "nats a response", (("objective/kl", ""),), zero=True
    )

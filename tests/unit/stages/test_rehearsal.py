"""What is tried before training: once, on texts of all lengths; what fails then stops the run."""

from __future__ import annotations

from pathlib import Path

from rlhf.data.split import Splits
from rlhf.stages.inputs import Inputs
from rlhf.stages.rehearsal import NUM_TEXTS, Rehearsal
from tests import models


class Players:
    """Notes what it is asked."""

    def __init__(self):
        self.asked, self.texts = [], []

    def settle_precision(self, path, texts):
        self.asked.append(("precision", str(path), len(texts)))
        self.texts.append(texts)
        return "fp32 (told)"

    def policy(self, path):
        self.asked.append(("policy", str(path)))
        return self

    def rehearse(self, prompts):
        self.asked.append(("rehearse", len(prompts)))
        return "continuous; first ratio 1"


def inputs(*, prompts=None, demonstrations=None, rankings=None):
    def whole(rows):
        return None if rows is None else Splits(rows, rows.select([]), rows.select([]), dropped=0)

    return Inputs(
        start=None,
        tokenizer=models.tokenizer(),
        demonstrations=whole(demonstrations),
        rankings=whole(rankings),
        prompts=whole(prompts),
        pretraining=None,
        sources={},
    )


def test_with_prompts_precision_comes_first_then_sampler_and_ratio_and_all_of_it_once():
    players, notes = Players(), []
    rehearsal = Rehearsal(inputs(prompts=models.prompts(20)), players, notes.append)
    rehearsal.before_training(Path("start"))
    rehearsal.before_training(Path("sft"))
    rehearsal.settle_precision(Path("sft"))
    assert players.asked == [
        ("precision", "start", NUM_TEXTS),
        ("policy", "start"),
        ("rehearse", NUM_TEXTS),
    ]
    assert notes == ["precision: fp32 (told)", "generation: continuous; first ratio 1"]


def test_its_prompts_are_short_and_long():
    prompts, seen = models.prompts(50), []

    class Policy:
        def rehearse(self, some):
            seen.append(some)
            return "continuous"

    Rehearsal(inputs(prompts=prompts), Players(), print).rehearse(Policy())
    assert int(seen[0].lengths_B.max()) == int(prompts.lengths_B.max())
    assert int(seen[0].lengths_B.min()) == int(prompts.lengths_B.min())


def test_sft_alone_measures_on_demonstrations_and_rehearses_no_ppo():
    players, rows = Players(), models.demonstrations(3)
    rehearsal = Rehearsal(inputs(demonstrations=rows), players, print)
    rehearsal.before_training(Path("start"))
    assert players.asked == [("precision", "start", 3)]


def test_precision_is_measured_on_whole_demonstrations_where_there_are_some():
    players = Players()
    given = inputs(prompts=models.prompts(20), demonstrations=models.demonstrations(5))
    Rehearsal(given, players, print).before_training(Path("start"))
    assert players.asked[0] == ("precision", "start", 5)
    assert players.asked[2] == ("rehearse", NUM_TEXTS)


def test_a_reward_model_alone_measures_on_the_best_answers_whole():
    players, rows = Players(), models.rankings(5)
    given = inputs(rankings=rows)
    Rehearsal(given, players, print).before_training(Path("start"))
    assert players.asked == [("precision", "start", 5)]
    (texts,) = players.texts
    assert texts.lengths_B.tolist() == rows.lengths_BK[:, 0].tolist()
    assert texts.tokens_BP.tolist() == rows.tokens_BKT[:, 0].tolist()


def test_without_any_text_nothing_is_measured():
    players = Players()
    Rehearsal(inputs(), players, print).before_training(Path("start"))
    assert players.asked == []

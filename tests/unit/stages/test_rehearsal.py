"""What is tried before training: once, on texts of all lengths; what fails then stops the run."""

from __future__ import annotations

from pathlib import Path

from rlhf.data.split import Splits
from rlhf.flow.future import Ready
from rlhf.stages.inputs import Inputs
from rlhf.stages.rehearsal import NUM_TEXTS, Rehearsal
from tests import models


class Runtime:
    """Notes what it is asked."""

    def __init__(self):
        self.asked, self.texts = [], []

    def settle_precision(self, path, texts):
        self.asked.append(("precision", str(path), len(texts)))
        self.texts.append(texts)
        return "fp32 (told)"

    def assign(self, spec):
        self.asked.append((type(spec).__name__, str(spec.path)))
        return self

    def rehearse(self, prompts):
        self.asked.append(("rehearse", len(prompts)))
        return Ready("continuous; first ratio 1")


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
    runtime, notes = Runtime(), []
    rehearsal = Rehearsal(inputs(prompts=models.prompts(20)), runtime, notes.append)
    rehearsal.before_training(Path("start"))
    rehearsal.before_training(Path("sft"))
    rehearsal.settle_precision(Path("sft"))
    assert runtime.asked == [
        ("precision", "start", NUM_TEXTS),
        ("PolicySpec", "start"),
        ("rehearse", NUM_TEXTS),
    ]
    assert notes == ["precision: fp32 (told)", "generation: continuous; first ratio 1"]


def test_its_prompts_are_short_and_long():
    prompts, seen = models.prompts(50), []

    class Policy:
        def rehearse(self, some):
            seen.append(some)
            return Ready("continuous")

    Rehearsal(inputs(prompts=prompts), Runtime(), print).rehearse(Policy())
    assert int(seen[0].lengths_B.max()) == int(prompts.lengths_B.max())
    assert int(seen[0].lengths_B.min()) == int(prompts.lengths_B.min())


def test_sft_alone_measures_on_demonstrations_and_rehearses_no_ppo():
    runtime, rows = Runtime(), models.demonstrations(3)
    rehearsal = Rehearsal(inputs(demonstrations=rows), runtime, print)
    rehearsal.before_training(Path("start"))
    assert runtime.asked == [("precision", "start", 3)]


def test_precision_is_measured_on_whole_demonstrations_where_there_are_some():
    runtime = Runtime()
    given = inputs(prompts=models.prompts(20), demonstrations=models.demonstrations(5))
    Rehearsal(given, runtime, print).before_training(Path("start"))
    assert runtime.asked[0] == ("precision", "start", 5)
    assert runtime.asked[2] == ("rehearse", NUM_TEXTS)


def test_a_reward_model_alone_measures_on_the_best_answers_whole():
    runtime, rows = Runtime(), models.rankings(5)
    given = inputs(rankings=rows)
    Rehearsal(given, runtime, print).before_training(Path("start"))
    assert runtime.asked == [("precision", "start", 5)]
    (texts,) = runtime.texts
    assert texts.lengths_B.tolist() == rows.lengths_BK[:, 0].tolist()
    assert texts.tokens_BP.tolist() == rows.tokens_BKT[:, 0].tolist()


def test_without_any_text_nothing_is_measured():
    runtime = Runtime()
    Rehearsal(inputs(), runtime, print).before_training(Path("start"))
    assert runtime.asked == []

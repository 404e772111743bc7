"""TensorBoard event files hold what was recorded, one run a stage."""

from __future__ import annotations

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rlhf.observe.samples import Sample
from rlhf.observe.sinks import TensorBoardSink, repeats


def test_tensorboard_holds_each_stage_and_hides_repeated_steps(tmp_path):
    for first, value in ((0, 1.0), (2, 9.0)):
        sink = TensorBoardSink(tmp_path)
        sink.begin("ppo", first)
        for step in range(first, 4):
            sink.record("ppo", step, {"objective/kl": value})
        sink.samples(
            "ppo", 3, [Sample(prompt="p", response="r", score=1.0, finished=True, length=1)]
        )
        sink.close(failed=False)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "ppo"))
    events.Reload()
    scalars = events.Scalars("objective/kl")
    assert [(event.step, event.value) for event in scalars] == [(0, 1), (1, 1), (2, 9), (3, 9)]


def test_repeats_names_only_this_stage_from_this_step_on():
    rows = [{"stage": "ppo", "step": 3}, {"stage": "ppo", "step": 4}, {"stage": "sft", "step": 9}]
    assert [repeats(row, "ppo", 4) for row in rows] == [False, True, False]

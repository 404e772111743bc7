"""The pipeline shows a card for each stage that ran, with the figure it reached."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

from rlhf.observe import files
from rlhf.report.pipeline import pipeline_section
from rlhf.report.read import read_run


def record(run, stage, **curves):
    rows = [
        {"stage": stage, "step": step, "metrics": {n: v[step] for n, v in curves.items()}}
        for step in range(len(next(iter(curves.values()))))
    ]
    files.append_rows(run / files.METRICS, rows)


def cards(run):
    """The texts of each card."""
    root = ElementTree.fromstring(str(pipeline_section(read_run(run))))
    return [[text for text in card.itertext() if text] for card in root.iter("li")]


def test_a_run_without_stages_has_no_pipeline(tmp_path):
    assert pipeline_section(read_run(tmp_path)) is None


def test_each_stage_has_its_figure_in_order(tmp_path):
    record(tmp_path, "ppo", **{"objective/scores": [0.0, 1.0, 2.0]})
    record(tmp_path, "reward_model", **{"accuracy/validation": [0.5, 0.7]})
    record(tmp_path, "sft", **{"loss/train": [3.0, 2.0], "loss/validation": [3.1, 2.1]})
    stages = {"ppo": {"seconds": 61, "steps": 40}}
    (tmp_path / files.MANIFEST).write_text(json.dumps({"stages": stages}))
    sft, reward_model, ppo = cards(tmp_path)
    assert (sft[0], sft[2:]) == ("SFT", ["3.10 \u2192 2.10", "validation loss", "2 steps"])
    assert reward_model[2:4] == ["70\u00a0%", "of held-out pairs right"]
    assert ppo[2:] == ["0 \u2192 2.00", "score", "40 steps \u00b7 1 min 01 s"]


def test_the_held_out_accuracy_is_preferred_to_the_curve(tmp_path):
    record(tmp_path, "reward_model", **{"accuracy/validation": [0.5, 0.7]})
    (tmp_path / files.REWARD_MODEL).write_text('{"accuracy": 0.66}')
    assert cards(tmp_path)[0][2] == "66\u00a0%"


@pytest.mark.parametrize("stage", ["sft", "reward_model", "ppo"])
def test_a_stage_without_its_figure_still_has_a_card(tmp_path, stage):
    record(tmp_path, stage, lr=[0.1])
    ((_, _, effort),) = cards(tmp_path)
    assert effort == "1 step"

"""What differs between two runs is seen, however small, and nothing else is."""

from __future__ import annotations

import json
import math
import shutil

import pytest
import torch
from safetensors.torch import save_file

from rlhf.cli.diff import Difference, compare_runs, difference_of, weights_difference
from rlhf.observe.files import append_rows

STEP = {"stage": "ppo", "step": 0, "metrics": {"objective/kl": 0.25, "time/step_s": 1.0}}


@pytest.fixture
def runs(tmp_path):
    """Two equal run folders."""
    one = tmp_path / "one"
    (one / "policy").mkdir(parents=True)
    append_rows(one / "metrics.jsonl", [STEP, {**STEP, "step": 1}])
    append_rows(one / "samples.jsonl", [{"response": "good", "score": 1.5}])
    (one / "evaluation.json").write_text(json.dumps({"win_rate": 0.5, "inputs_sha256": "a"}))
    save_file({"w": torch.tensor([1.0, 2.0])}, one / "policy" / "model.safetensors")
    return one, shutil.copytree(one, tmp_path / "other")


def unlike(runs) -> dict[str, float]:
    return {line.what: line.difference for line in compare_runs(*runs) if line.difference}


def test_equal_runs_are_identical_in_everything(runs):
    found = compare_runs(*runs)
    assert [line.what for line in found] == [
        "ppo objective/kl",
        "policy/model.safetensors",
        "samples.jsonl",
        "evaluation.json",
    ]
    assert {line.verdict for line in found} == {"identical"}


def test_the_clock_and_the_folders_name_do_not_count(runs):
    other = runs[1]
    (other / "metrics.jsonl").unlink()
    slower = {**STEP, "metrics": {**STEP["metrics"], "time/step_s": 9.0}}
    append_rows(other / "metrics.jsonl", [slower, {**slower, "step": 1}])
    (other / "evaluation.json").write_text(json.dumps({"win_rate": 0.5, "inputs_sha256": "b"}))
    assert unlike(runs) == {}


def test_one_figure_of_one_step(runs):
    (runs[1] / "metrics.jsonl").unlink()
    moved = {"objective/kl": 0.25 + 1e-6}
    append_rows(runs[1] / "metrics.jsonl", [STEP, {**STEP, "step": 1, "metrics": moved}])
    assert unlike(runs) == {"ppo objective/kl": pytest.approx(1e-6)}


def test_a_step_or_a_metric_that_only_one_has(runs):
    append_rows(runs[1] / "metrics.jsonl", [{**STEP, "step": 2, "metrics": {"loss/new": 1.0}}])
    assert unlike(runs) == {"ppo loss/new": math.inf}
    append_rows(runs[0] / "metrics.jsonl", [{**STEP, "step": 2}])
    assert unlike(runs) == {"ppo loss/new": math.inf, "ppo objective/kl": math.inf}


def test_a_weight_an_answer_and_a_verdict(runs):
    save_file({"w": torch.tensor([1.0, 2.5])}, runs[1] / "policy" / "model.safetensors")
    (runs[1] / "samples.jsonl").write_text(json.dumps({"response": "bad", "score": 1.5}) + "\n")
    (runs[1] / "evaluation.json").write_text(json.dumps({"win_rate": 0.75}))
    assert unlike(runs) == {
        "policy/model.safetensors": pytest.approx(0.2),
        "samples.jsonl": math.inf,
        "evaluation.json": 0.25,
    }


def test_weights_that_only_one_has_count_and_scaffold_does_not(runs):
    for folder in ("value", "checkpoints"):
        (runs[0] / folder).mkdir()
        save_file({"w": torch.zeros(1)}, runs[0] / folder / "model.safetensors")
    assert unlike(runs) == {"value/model.safetensors": math.inf}


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [
        (1, 1.0, 0.0),
        (0.0, 1e-3, 1e-3),
        (1000.0, 1001.0, 1 / 1001),
        (None, None, 0.0),
        (None, 0.0, math.inf),
        ("a", "b", math.inf),
        (True, False, math.inf),
    ],
)
def test_a_difference_is_absolute_below_one_and_relative_above(one, other, difference):
    assert difference_of(one, other) == pytest.approx(difference)


def test_tensors_of_other_names_shapes_or_dtypes_have_nothing_in_common():
    w = torch.ones(2)
    assert weights_difference({"a": w}, {"b": w}) == math.inf
    assert weights_difference({"a": w}, {"a": torch.ones(3)}) == math.inf
    assert weights_difference({"a": w}, {"a": w.bfloat16()}) == math.inf
    assert weights_difference({"a": w}, {"a": torch.tensor([1.0, math.nan])}) == math.inf
    assert weights_difference({"a": torch.ones(0)}, {"a": torch.ones(0)}) == 0


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [(0.0, "identical"), (1e-5, "equal within 1e-05"), (1.1e-5, "DIFFERS"), (math.inf, "DIFFERS")],
)
def test_verdict(difference, verdict):
    assert Difference("x", difference).verdict == verdict

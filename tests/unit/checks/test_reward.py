"""The terms of a score are reported, and so are models and functions left out of it."""

from __future__ import annotations

import shutil

import pytest

from rlhf.checks.check import CheckWarning
from rlhf.checks.context import reward_models
from rlhf.checks.reward import check_reward, reward_of

FUNCTION = {"function": "own.py:f", "function_weight": 0.5}


@pytest.fixture
def own(tmp_path, folder):
    """A run folder with a reward model of its own."""
    shutil.copytree(folder(kind="classifier"), tmp_path / "run" / "reward_model")
    return tmp_path / "run"


def test_a_function_alone(context):
    assert check_reward(context(reward=FUNCTION)) == "0.5 x function own.py:f"


def test_both_with_their_weights(context, folder):
    path = folder(kind="classifier")
    asked = context(reward={**FUNCTION, "model_weight": 2.0}, reward_model={"path": path})
    assert check_reward(asked) == f"0.5 x function own.py:f + 2 x reward model {path}"


def test_the_model_of_the_run_is_used_without_a_function(context, own):
    asked = context(run_dir=str(own), reward={})
    assert check_reward(asked) == f"1 x reward model {own}/reward_model"


@pytest.mark.parametrize("inside", ["", "trial"])
def test_a_model_that_a_function_leaves_out_is_reported_with_its_remedy(context, own, inside):
    said = check_reward(context(run_dir=str(own / inside), reward=FUNCTION))
    assert isinstance(said, CheckWarning)
    assert "the reward is 0.5 x function own.py:f; " in said
    assert "is there and left out, as reward.function is given" in said
    assert f"reward_model.path={own}/reward_model would use it" in said
    path = f"{own}/reward_model"
    asked = context(run_dir=str(own / inside), reward=FUNCTION, reward_model={"path": path})
    assert not isinstance(check_reward(asked), CheckWarning)


def test_another_model_leaves_it_out_too(context, own, folder):
    path = folder(kind="classifier")
    said = check_reward(context(run_dir=str(own), reward_model={"path": path}))
    assert f"{own}/reward_model is there and left out, as reward_model.path is given" in said


@pytest.mark.parametrize(
    ("reward", "told"),
    [
        ({"function": "own.py:f", "function_weight": 0.0}, "reward.function_weight=0: "),
        ({"function": "own.py:f", "model_weight": 3.0}, "reward.model_weight=3 weighs nothing"),
    ],
)
def test_a_weight_that_weighs_nothing(context, reward, told):
    assert check_reward(context(reward=reward)).startswith(told)


def test_sft_is_paid_no_reward(context, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a film"}\n')
    assert check_reward(context("sft", data={"demonstrations": str(rows)})) == "no stage uses one"


def test_a_model_that_is_yet_to_be_trained(context, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    asked = context("pipeline", run_dir="run", reward={}, data={"preferences": str(rows)})
    assert reward_of(asked) == "1 x reward model run/reward_model, which this run trains"


def listed(*entries):
    return {"sources": list(entries)}


def test_a_list_is_told_with_names_and_weights(context, folder):
    path = folder(kind="classifier")
    asked = context(reward=listed({"model": path, "name": "taste"}, {"function": "own.py:f"}))
    wanted = f"1 x taste (reward model {path}) + 1 x f (function own.py:f)"
    assert check_reward(asked) == wanted


def test_the_runs_own_model_is_left_out_of_a_list_that_does_not_name_it(context, own):
    other = listed({"function": "own.py:f", "weight": 2.0})
    said = check_reward(context(run_dir=str(own), reward=other))
    assert isinstance(said, CheckWarning)
    assert said.startswith("the reward is 2 x f (function own.py:f); ")
    assert f"{own}/reward_model is there and left out, as reward.sources is given" in said
    assert f"an entry {{model: {own}/reward_model}} would use it" in said
    both = listed({"function": "own.py:f"}, {"model": f"{own}/../run/reward_model"})
    assert not isinstance(check_reward(context(run_dir=str(own), reward=both)), CheckWarning)


def test_rankings_that_a_list_has_no_use_for_are_told(context, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    data = {"preferences": str(rows)}
    asked = context("pipeline", run_dir="run", reward=listed({"model": "x"}), data=data)
    assert "data.preferences is not learned from, as reward.sources" in check_reward(asked)
    assert "add {model: run/reward_model}" in check_reward(asked)
    named = context(
        "pipeline", run_dir="run", data=data, reward=listed({"model": "run/reward_model"})
    )
    assert check_reward(named) == (
        "1 x reward_model (reward model run/reward_model), which this run trains"
    )
    assert reward_models(named) == {}

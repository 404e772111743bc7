"""Inputs: all that a run reads, and the prompts it holds back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rlhf.catalog.stages import PPO, REWARD_MODEL, SFT
from rlhf.checks.context import CheckContext
from rlhf.data.split import Splits
from rlhf.errors import ConfigError, DataError, RLHFError
from rlhf.stages.inputs import held_out, load_inputs
from tests import models

NEW = {"new": {"hidden_size": 32, "num_layers": 1, "num_heads": 2, "vocab_size": 300}}


@pytest.fixture
def data(tmp_path):
    def write(name: str, rows: list[object]) -> str:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return str(path)

    return {
        "demonstrations": write(
            "d", [{"prompt": f"Number {i} is", "completion": f" {i * i}"} for i in range(20)]
        ),
        "preferences": write(
            "p", [{"prompt": f"N {i}", "chosen": " yes", "rejected": " no"} for i in range(20)]
        ),
        "prompts": write("q", [{"prompt": f"Number {i} is", "wanted": i} for i in range(20)]),
    }


def test_only_what_the_stages_need_is_read(data):
    experiment = models.experiment(policy=NEW, data={**data, "preferences": "nowhere.jsonl"})
    inputs = load_inputs(experiment, [SFT], None)
    assert inputs.prompts is None
    assert inputs.rankings is None
    assert set(inputs.rows()) == {"demonstrations"}
    assert list(inputs.sources) == ["demonstrations"]
    assert len(inputs.sources_of(SFT)[data["demonstrations"]]) == 64
    with pytest.raises(DataError, match=r"nowhere\.jsonl"):
        load_inputs(experiment, [REWARD_MODEL], None)


def test_rows_left_out_are_counted_in_a_line(data):
    with Path(data["prompts"]).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"prompt": "number " * 20, "wanted": 0}) + "\n")
    limits = {"max_prompt_length": 12, "overlong": "drop"}
    inputs = load_inputs(models.experiment(policy=NEW, data={**data, **limits}), [PPO], None)
    (line,) = inputs.left_out
    assert line == "data.prompts: left out 1 rows over their limit (data.overlong=drop)"


def test_a_test_file_takes_the_place_of_the_test_side(data, tmp_path):
    test = tmp_path / "test.jsonl"
    test.write_text('{"prompt": "unseen"}\n')
    experiment = models.experiment(policy=NEW, data={**data, "test_prompts": str(test)})
    inputs = load_inputs(experiment, [PPO], None)
    assert inputs.prompts is not None
    assert inputs.prompts.test.prompts == ("unseen",)
    assert set(inputs.sources_of(PPO)) == {data["prompts"], str(test)}
    described = inputs.described(experiment.data)
    assert described[data["prompts"]]["rows"] == len(inputs.prompts.train) != 1
    assert described[str(test)].keys() == {"sha256"}


def test_a_context_too_short_for_a_response_names_what_fits(data):
    experiment = models.experiment(
        policy={"new": {**NEW["new"], "context": 12}},
        data=data,
        generation={"max_new_tokens": 10},
    )
    with pytest.raises(ConfigError, match="the policy's context is 12; lower"):
        load_inputs(experiment, [PPO], None)


def test_neither_a_path_nor_a_new_model(data):
    with pytest.raises(ConfigError, match=r"policy\.path is not set"):
        load_inputs(models.experiment(data=data), [SFT], None)


def test_a_given_start_brings_its_tokenizer(data, folder):
    inputs = load_inputs(models.experiment(data=data), [SFT], folder())
    assert inputs.start == folder()
    assert len(inputs.tokenizer) == len(models.tokenizer())


def splits(train: int, validation: int, test: int) -> Splits:
    rows = models.prompts(7)
    return Splits(*(rows.select(range(n)) for n in (train, validation, test)), dropped=0)


def test_model_memory_out_prompts_come_from_test_then_validation_then_train():
    assert len(held_out(splits(7, 5, 3), 10)) == 3
    assert len(held_out(splits(7, 5, 0), 10)) == 5
    assert len(held_out(splits(7, 0, 0), 10)) == 7
    assert len(held_out(splits(7, 5, 3), 2)) == 2
    assert len(held_out(splits(7, 5, 3), 0)) == 0


def test_model_memory_out_prompts_are_distinct_and_each_sample_has_draws_of_its_own():
    rows = models.prompts(4).select([0, 1, 0, 2])
    chosen = held_out(Splits(rows, rows.select([]), rows.select([]), dropped=0), 9, samples=2)
    assert chosen.prompts == ("prompt 0",) * 2 + ("prompt 1",) * 2 + ("prompt 2",) * 2
    assert chosen.sample_B.tolist() == list(range(6))


def test_what_is_wrong_with_every_kind_and_the_function_is_told_at_once(data, tmp_path):
    """Each is as wrong on its own; one after the other they would take four runs to mend."""
    for kind in ("demonstrations", "preferences", "prompts"):
        with Path(data[kind]).open("a", encoding="utf-8") as file:
            file.write("{oops\n")
    faulty = {"function": str(tmp_path / "none.py:f")}
    for policy in (NEW, {"path": str(tmp_path / "nowhere")}):
        experiment = models.experiment(policy=policy, data=data, reward=faulty)
        with pytest.raises(RLHFError) as raised:
            _ = CheckContext("pipeline", experiment).inputs
        told = str(raised.value)
        assert all(f"{name}.jsonl:21: not JSON" in told for name in "dpq")
        assert "none.py" in told
        assert ("nowhere: there is no such folder" in told) == ("path" in policy)


def test_the_demonstrations_shown_before_prompts_count_as_sources_of_ppo(data):
    experiment = models.experiment(policy=NEW, data={**data, "few_shot": 1})
    inputs = load_inputs(experiment, [PPO], None)
    assert inputs.sources_of(PPO).keys() == {data["prompts"], data["demonstrations"]}
    assert inputs.prompts is not None
    assert all("\n\n" in str(prompt) for prompt in inputs.prompts.train.prompts)

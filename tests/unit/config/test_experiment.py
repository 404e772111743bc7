"""Cross-checks: combinations of legal settings that cannot work, and what to set instead."""

from __future__ import annotations

import pytest

from rlhf.config.experiment import cross_checks
from rlhf.config.load import load
from rlhf.errors import ConfigError


def refused(**sections: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(sections)
    return str(caught.value)


@pytest.mark.parametrize(
    ("ppo", "nearest"),
    [
        ({"rollout_batch_size": 100, "minibatch_size": 32}, "96, 128"),
        ({"rollout_batch_size": 5, "minibatch_size": 8}, "8"),
        ({"rollout_batch_size": 9, "samples_per_prompt": 2, "minibatch_size": 4}, "8, 10"),
    ],
)
def test_batch_sizes_that_do_not_divide_name_legal_ones(ppo, nearest):
    told = refused(ppo=ppo)
    assert told.endswith(f"nearest legal values: {nearest}")
    for value in nearest.split(", "):
        assert load({"ppo": {**ppo, "rollout_batch_size": int(value)}})


def test_a_path_and_a_new_model_at_once():
    assert "keep one" in refused(policy={"path": "x", "new": {}})


def test_heads_that_do_not_divide_the_width_name_a_width_that_works():
    told = refused(policy={"new": {"hidden_size": 32, "num_heads": 3}})
    assert told.endswith("nearest legal value: 30")
    assert load({"policy": {"new": {"hidden_size": 30, "num_heads": 3}}})


def test_a_reference_beside_adapters_would_not_be_used():
    assert "unset it" in refused(peft={"method": "lora"}, reference={"path": "x"})


def test_plain_torch_and_one_process_hold_one_rank():
    told = refused(
        cluster={"backend": "in_process", "value": {"ranks": 2}},
        engine={"backend": "torch", "zero_stage": 1},
    )
    assert len(told.splitlines()) == 3
    assert "cluster.value.ranks=2 needs cluster.backend=ray" in told
    assert "engine.zero_stage=1 needs engine.backend=deepspeed" in told


def test_windows_that_are_all_overlap_learn_nothing():
    told = refused(data={"window_overlap": 16, "max_length": 16})
    assert "data.window_overlap=16 leaves nothing" in told and "legal: 1 to 15" in told
    assert load({"data": {"window_overlap": 15, "max_length": 16}})


def test_the_ptx_loss_needs_texts():
    assert "set data.pretraining=FILE.jsonl" in refused(ppo={"ptx_coef": 1.0})
    assert load({"ppo": {"ptx_coef": 1.0}, "data": {"pretraining": "x.jsonl"}})


@pytest.mark.parametrize(
    "ppo",
    [
        {"overlong_penalty": 1.0},
        {"overlong_buffer": 4},
        {"overlong_penalty": 1.0, "overlong_buffer": 9},
    ],
)
def test_the_overlong_penalty_needs_a_buffer_within_the_response(ppo):
    told = refused(ppo=ppo, generation={"max_new_tokens": 8})
    assert told.endswith("legal buffers: 1 to 8")


def test_the_defaults_contradict_nothing():
    assert list(cross_checks(load({}))) == []

"""load: every fault of a configuration at once, each with its path and the nearest legal value."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from rlhf.config.experiment import Experiment
from rlhf.config.load import keys, load
from rlhf.errors import ConfigError


def faults(**mapping: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(mapping)
    return str(caught.value).splitlines()


def test_nothing_given_is_the_defaults():
    assert load({}) == Experiment()


def test_all_faults_are_reported_at_once():
    found = faults(
        ppo={"kl_ceof": 0.1, "minibatch_size": 48},
        sft={"batch_size": "hello"},
        engine={"precision": "fp16"},
        cluster={"backend": "in_process"},
    )
    assert len(found) == 5
    assert "ppo.kl_ceof: unknown setting; nearest: ppo.kl_coef" in found
    assert "sft.batch_size=hello: should be a whole number" in found
    assert "engine.precision=fp16: should be 'auto', 'fp32' or 'bf16'; nearest: bf16" in found
    assert any(
        "ppo.minibatch_size=48" in line and "nearest legal values: 48, 96" in line for line in found
    )
    assert "cluster.backend=in_process needs engine.backend=torch" in found


def test_an_unknown_section_is_compared_with_sections():
    assert faults(polcy={"path": "x"}) == ["polcy: unknown setting; nearest: policy"]


def test_a_setting_in_the_wrong_section_is_found_by_its_own_name():
    assert faults(kl_horizon=3) == ["kl_horizon: unknown setting; nearest: ppo.kl_horizon"]


def test_a_fault_inside_a_mixture_names_its_entry_and_no_type():
    found = faults(data={"prompts": [{"path": "q.jsonl", "wieght": 2}]})
    assert any(line.startswith("data.prompts.0.wieght: unknown setting") for line in found)
    assert not any("SourceConfig." in line or "list[" in line for line in found)


@pytest.mark.parametrize(
    ("section", "setting", "value"),
    [
        ("ppo", "num_steps", 2.5),
        ("ppo", "num_steps", "3"),
        ("ppo", "num_steps", None),
        ("ppo", "num_steps", True),
        ("ppo", "num_steps", 0),
        ("ppo", "kl_coef", float("nan")),
        ("ppo", "clip_range", -0.1),
        ("ppo", "discount", 1.5),
        ("ppo", "whiten_advantages", "yes"),
        ("data", "test_fraction", 0.5),
        ("tracking", "wandb", True),
    ],
)
def test_nothing_is_coerced_or_let_out_of_range(section, setting, value):
    (found,) = faults(**{section: {setting: value}})
    assert found.startswith(f"{section}.{setting}={value}: ")


def test_a_whole_section_of_the_wrong_kind():
    (found,) = faults(ppo=3)
    assert found.startswith("ppo=3: ")


def test_the_mapping_given_is_left_as_it_was():
    given = {"ppo": {"kl_ceof": 1}}
    with pytest.raises(ConfigError):
        load(given)
    assert given == {"ppo": {"kl_ceof": 1}}


def test_what_was_loaded_is_frozen():
    experiment = load({"ppo": {"num_steps": 3}})
    with pytest.raises(ValidationError, match="frozen"):
        experiment.ppo.num_steps = 4


def test_yaml_off_arrives_as_false_and_means_off():
    assert load({"tracking": {"wandb": False}}).tracking.wandb == "off"


def test_there_are_at_most_135_settings_to_learn():
    """The four optimizers have the same fields, and so have the four roles' placements."""
    leaves = list(keys())
    assert len(leaves) == len(set(leaves))
    assert {"run_dir", "ppo.kl_coef", "policy.new.hidden_size"} <= set(leaves)
    shared = (r"^.*\boptimizer\.", r"^cluster\.(policy|reference|reward|value)\.")
    learned = {re.sub("|".join(shared), "", leaf) for leaf in leaves}
    assert 60 < len(learned) <= 135 < len(leaves) < 175


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"residency": "in_turn", "backend": "in_process"},
            "cluster.residency=in_turn needs cluster.backend=ray",
        ),
        (
            {"residency": "in_turn"},
            "cluster.residency=in_turn needs roles that sit together; set cluster.ROLE.colocate",
        ),
        (
            {"value": {"colocate_with": "value"}},
            "cluster.value.colocate_with=value is not a role with slots of its own; legal: policy",
        ),
        (
            {"value": {"colocate_with": "reward"}, "reward": {"colocate_with": "policy"}},
            "cluster.value.colocate_with=reward is not a role with slots of its own",
        ),
        (
            {"value": {"colocate_with": "policy", "ranks": 3}, "policy": {"ranks": 2}},
            "cluster.value.ranks=3 do not fit beside cluster.policy.ranks=2; nearest legal value",
        ),
        (
            {"value": {"colocate_with": "policy", "gpus": 1.0}},
            "cluster.value.gpus=1 would not be used",
        ),
        (
            {"value": {"offload": "optimizer"}},
            "cluster.value.offload=optimizer needs a ZeRO stage of 1 or higher, and value has 0",
        ),
        (
            {"value": {"offload": "weights", "zero_stage": 2}},
            "nearest: cluster.value.zero_stage=3",
        ),
        (
            {"reference": {"offload": "optimizer", "zero_stage": 3}},
            "cluster.reference.offload=optimizer finds no optimizer",
        ),
    ],
)
def test_an_impossible_placement_is_reported(settings, said):
    with pytest.raises(ConfigError, match=re.escape(said)):
        load({"cluster": settings})


@pytest.mark.parametrize("word", ["constant", "deepspeed", "reference", "padded"])
def test_a_word_of_the_settings_themselves_is_nobodys_secret(monkeypatch, word):
    monkeypatch.setenv("MY_TOKEN", word)
    given = {"policy": {"optimizer": {"schedule": "constant"}}, "engine": {"backend": "deepspeed"}}
    assert load({**given, "reference": {}, "generation": {"backend": "padded"}})

"""Sources of the reward: what is refused in one line, how they are named, and the short forms."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from rlhf.catalog.stages import PPO, REWARD_MODEL
from rlhf.config.commands import missing, sources, stages_of, trains
from rlhf.config.load import load
from rlhf.config.rewards import RewardSourceConfig
from rlhf.errors import ConfigError

MODEL, FUNCTION = {"model": "a/judge"}, {"function": "b/own.py:f"}


def listed(*entries: object, **sections: dict[str, object]) -> Any:
    """Return the settings of a list of sources."""
    return load({**sections, "reward": {"sources": list(entries)}})


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        (({"weight": 2.0},), "reward.sources.0 names no source; legal: one of model, function"),
        (({},), "reward.sources.0 names no source"),
        ((MODEL, {**MODEL, **FUNCTION}), "reward.sources.1 names a model and a function; give"),
        (({**MODEL, "wieght": 2},), "reward.sources.0.wieght: unknown setting; nearest: reward."),
        (({**MODEL, "model": None},), "reward.sources.0 names no source"),
        (({**MODEL, "name": "x"}, {**FUNCTION, "name": "x"}), "2 sources of the name x; rename"),
        (({**MODEL, "weight": 0},), "reward.sources.0.weight=0: the source would be asked"),
        (({**MODEL, "weight": -0.0},), "reward.sources.0.weight=0: the source would be asked"),
        (({**MODEL, "weight": math.nan},), "reward.sources.0.weight=nan: should be a finite"),
        (({**MODEL, "weight": -math.inf},), "reward.sources.0.weight=-inf: should be a finite"),
        (({**MODEL, "weight": 1e300},), "reward.sources.0.weight=1e+300: should be between -1e+18"),
        (({**MODEL, "weight": "1"},), "reward.sources.0.weight=1: should be a number"),
        (({**MODEL, "weight": True},), "reward.sources.0.weight=True: should be a number"),
        (({**MODEL, "name": "a/b"},), "reward.sources.0.name='a/b': legal are 1 to 64 letters"),
        (({**MODEL, "name": ""},), "reward.sources.0.name='': legal are"),
        (({**MODEL, "name": "x\n"},), r"reward.sources.0.name='x\n': legal are"),
        (({"model": 3},), "reward.sources.0.model=3: should be text"),
        (("own.py:f",), "reward.sources.0=own.py:f: should be {name: value"),
        ((), "reward.sources=[] names no source; leave it out"),
    ],
)
def test_each_fault_is_one_line(entries, told):
    with pytest.raises(ConfigError) as error:
        listed(*entries)
    (line,) = str(error.value).splitlines()
    assert told in line


def test_all_faults_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        listed({"weight": 0}, {**MODEL, **FUNCTION, "name": "a b"}, ppo={"discount": 7.0})
    assert len(str(error.value).splitlines()) == 5


def test_faults_of_every_kind_are_told_in_one_round():
    with pytest.raises(ConfigError) as error:
        listed(
            {"modle": "m", "weight": "abc"},
            {"function": 3},
            "foo",
            {**MODEL, "weight": 0},
            {**MODEL, "name": "a b"},
        )
    places = [re.split("[=: ]", line)[0] for line in str(error.value).splitlines()]
    assert sorted(places) == [
        "reward.sources.0.modle",
        "reward.sources.0.weight",
        "reward.sources.1.function",
        "reward.sources.2",
        "reward.sources.3.weight",
        "reward.sources.4.name",
    ]


@pytest.mark.parametrize("whole", ["own.py:f", {"model": "a"}, 3])
def test_a_list_is_a_list(whole):
    with pytest.raises(ConfigError, match=r"reward\.sources=.*should be a list"):
        load({"reward": {"sources": whole}})


def test_the_short_forms_cannot_stand_beside_the_list():
    short = {"function": "x.py:f", "function_weight": 2.0, "model_weight": 0.5}
    with pytest.raises(ConfigError) as error:
        load({"reward": {"sources": [MODEL], **short}, "reward_model": {"path": "m"}})
    settings = [line.partition("=")[0] for line in str(error.value).splitlines()]
    assert settings == [
        "reward.function",
        "reward_model.path",
        "reward.function_weight",
        "reward.model_weight",
    ]


def test_names_are_those_of_folders_and_functions_each_once():
    asked = listed(
        MODEL,
        {"model": "org/judge"},
        FUNCTION,
        {"function": "c.py:f", "name": "judge_2"},
        {"model": "folder of mine/"},
        {"model": "/"},
    )
    found = [source.name for source in sources("ppo", asked)]
    assert found == ["judge", "judge_3", "f", "judge_2", "folder_of_mine", "model"]


def test_the_short_forms_are_a_list_of_their_own():
    short = {"function": "b/own.py:f", "function_weight": 0.5, "model_weight": 2.0}
    found = sources("ppo", load({"reward": short, "reward_model": {"path": "a/judge"}}))
    told = [(s.name, s.kind, s.what, s.weight, s.setting, s.is_listed) for s in found]
    assert told == [
        ("f", "function", "b/own.py:f", 0.5, "reward.function", False),
        ("judge", "model", "a/judge", 2.0, "reward_model.path", False),
    ]
    assert sources("ppo", load({})) == ()
    assert "ppo has no reward" in "".join(missing("ppo", load({})))
    assert "ppo has no reward" not in "".join(missing("ppo", listed(FUNCTION)))
    assert sources("sft", listed(MODEL)) == ()


def test_the_models_own_setting_is_told():
    found = sources("ppo", listed(FUNCTION, MODEL))
    assert [source.setting for source in found] == [
        "reward.sources.0.function",
        "reward.sources.1.model",
    ]


def test_the_runs_own_model_is_trained_where_the_list_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = {"preferences": "p.jsonl", "prompts": "q.jsonl"}
    for own in ("runs/x/reward_model", str(tmp_path / "runs/x/reward_model"), "./runs/y/../x/"):
        path = f"{own}reward_model" if own.endswith("/") else own
        asked = load({"run_dir": "runs/x", "data": data, "reward": {"sources": [{"model": path}]}})
        assert stages_of("pipeline", asked) == [REWARD_MODEL, PPO]
        assert trains("pipeline", asked, path)
        assert not trains("ppo", asked, path)
    other = listed(MODEL, data=data)
    assert stages_of("pipeline", other) == [PPO]
    assert not trains("pipeline", other, "a/judge")


def test_what_is_found_in_the_runs_folder_is_no_source_beside_a_list(tmp_path):
    (tmp_path / "reward_model").mkdir()
    (tmp_path / "reward_model" / "config.json").write_text("{}")
    alone = load({"run_dir": str(tmp_path)})
    assert [source.what for source in sources("ppo", alone)] == [str(tmp_path / "reward_model")]
    asked = load({"run_dir": str(tmp_path), "reward": {"sources": [FUNCTION]}})
    assert [source.name for source in sources("ppo", asked)] == ["f"]


def test_a_record_holds_only_the_kind_that_is_given():
    """So that a kind which comes later changes no fingerprint of a run made before."""
    asked = listed({**MODEL, "weight": 2})
    kept = asked.model_dump(mode="json")
    assert kept["reward"]["sources"] == [{"weight": 2.0, "model": "a/judge"}]
    assert load(kept) == asked
    assert RewardSourceConfig(model="~").model != "~"


def test_the_runs_own_model_is_missed_where_nothing_makes_it(tmp_path):
    own = str(tmp_path / "reward_model")
    settings = {"run_dir": str(tmp_path), "reward": {"sources": [FUNCTION, {"model": own}]}}
    told = f"reward.sources.1.model={own} is this run's own reward model, which is not there"
    assert told in "\n".join(missing("ppo", load(settings)))
    assert told in "\n".join(missing("pipeline", load(settings)))
    trained = load({**settings, "data": {"preferences": "p.jsonl"}})
    assert told not in "\n".join(missing("pipeline", trained))
    assert told in "\n".join(missing("ppo", trained))
    assert told not in "\n".join(missing("sft", load(settings)))
    (tmp_path / "reward_model").mkdir()
    assert told not in "\n".join(missing("ppo", load(settings)))

"""The same reward by the short forms and by a list is the same run, bit for bit."""

from __future__ import annotations

import pytest

from tests.wiring import kit
from tests.wiring.table import BASES, HERE
from tests.wiring.test_figures import WHOLE

FUNCTION = "{function: reward.py:wanted, weight: 0.5}"
LISTED = (
    *(word for word in WHOLE if not word.startswith("reward.function")),
    f"reward.sources=[{FUNCTION},{{model: '${{run_dir}}/reward_model'}}]",
)


@pytest.fixture(scope="module")
def listed(home):
    """A pipeline whose list names the reward model that it trains first."""
    ran = home.run("pipeline", *LISTED)
    assert ran.code == 0, ran.err
    return ran


def test_a_list_that_names_the_runs_own_model_is_the_pipeline_of_the_short_forms(home, listed):
    short = home.run("pipeline", *WHOLE)
    assert kit.changed(kit.seen(short), kit.seen(listed)) == set()
    name = listed.folder.name
    assert (
        f"0.5 x wanted (function reward.py:wanted) + 1 x reward_model (reward model "
        f"{name}/reward_model), which this run trains"
    ) in listed.out
    assert "0.5 x wanted" in (listed.folder / "report.html").read_text(encoding="utf-8")
    assert listed.json("manifest.json")["reward"] == [
        "0.5 x wanted (function reward.py:wanted)",
        f"1 x reward_model (reward model {name}/reward_model)",
    ]
    assert short.json("manifest.json")["reward"] == [
        "0.5 x function reward.py:wanted",
        f"1 x reward model {short.folder.name}/reward_model",
    ]


def test_the_same_command_finds_all_of_it_done(home, listed):
    again = home.again("pipeline", *LISTED, within=listed.folder.name)
    assert again.code == 0, again.err
    for stage in ("sft", "reward_model", "policy"):
        assert f"{stage}: already done" in again.out


def test_another_list_is_another_run(home, listed):
    for entry in (FUNCTION.replace("0.5", "0.6"), f"{FUNCTION[:-1]}, name: mine}}"):
        other = [word.replace(FUNCTION, entry) for word in LISTED]
        ran = home.again("pipeline", *other, within=listed.folder.name)
        assert ran.code == 2
        assert "belongs to another run: differs in reward.sources" in ran.err


def test_what_the_list_leaves_out_is_warned_of_and_in_the_report(home, listed):
    base = [word for word in BASES["ppo"] if not word.startswith("reward")]
    asked = (*base, f"reward.sources=[{FUNCTION}]", "tracking.sample_prompts=0")
    ran = home.again("ppo", *HERE, *asked, within=f"{listed.folder.name}/inside")
    assert ran.code == 0, ran.err
    told = f"the reward is 0.5 x wanted (function reward.py:wanted); {listed.folder.name}/"
    assert told in " ".join(ran.out.split())
    assert "left out, as reward.sources is given" in (ran.folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{model: nowhere}", "nowhere"),
        ("{model: models/policy}", "models/policy: no trained score head"),
        ("{function: reward.py:none}", "reward function reward.py:none: the file defines no none"),
        ("{model: '${run_dir}/reward_model'}", "reward_model"),
    ],
)
def test_a_source_that_cannot_score_is_one_line_before_anything_is_made(home, entry, told):
    base = [word for word in BASES["ppo"] if not word.startswith("reward")]
    ran = home.run("ppo", *HERE, *base, f"reward.sources=[{FUNCTION},{entry}]")
    assert ran.code == 2
    (line,) = ran.err.strip().splitlines()
    assert line.startswith("rlhf: ") and told in line
    assert not ran.folder.exists()

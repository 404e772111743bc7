"""The siblings of PPO and what may be added to it, from the command line to the folders left."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests import models
from tests.integration.conftest import ENGINE, SMALL, metrics

REWARDED = ("data.prompts=prompts.jsonl", "reward.function=reward.py:wanted")


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A small pretrained policy."""
    return models.write(models.causal(), tmp_path_factory.mktemp("start"))


@pytest.mark.parametrize("algorithm", ["reinforce_pp", "rloo", "grpo", "dr_grpo"])
def test_a_sibling_needs_no_value_role(start, home, rlhf, algorithm):
    asked = (f"algorithm={algorithm}", f"policy.path={start}", *REWARDED)
    outcome = rlhf("ppo", "run_dir=run", *ENGINE, *SMALL, *asked)
    assert outcome.code == 0, outcome.err
    rows = metrics(home / "run")
    assert len(rows) == 3
    assert not any(name.startswith(("value", "value/clip", "loss/value")) for name in rows[0])
    assert not (home / "run/value").exists()
    assert (home / "run/policy/model.safetensors").is_file()
    assert rows[-1]["policy/approxkl_avg"] > 0


MINE = """
from rlhf.algo import estimators

@estimators.estimator(reads_values=False, min_samples=2)
def mine(episodes):
    return estimators.find_estimator("rloo").function(episodes) * 1.0
"""


def test_an_estimator_of_ones_own_needs_no_change_to_the_package(start, home, rlhf):
    (home / "mine.py").write_text(MINE, encoding="utf-8")
    asked = (f"policy.path={start}", *REWARDED, *ENGINE, *SMALL, "algorithm=rloo")
    assert rlhf("ppo", "run_dir=rloo", *asked).code == 0
    own = (*asked, "ppo.advantage_estimator=mine.py:mine")
    assert rlhf("ppo", "run_dir=mine", *own).code == 0
    assert metrics(home / "mine") == metrics(home / "rloo")
    assert "already done" in rlhf("ppo", "run_dir=mine", *own).out
    (home / "mine.py").write_text(MINE.replace("* 1.0", "* 3.0"), encoding="utf-8")
    assert "already done" not in rlhf("ppo", "run_dir=mine", *own).out
    assert metrics(home / "mine")[-1] != metrics(home / "rloo")[-1]


def test_comparing_one_response_with_itself_is_refused_before_anything_starts(start, home, rlhf):
    asked = ("algorithm=rloo", "ppo.samples_per_prompt=1", f"policy.path={start}", *REWARDED)
    outcome = rlhf("ppo", "run_dir=run", *ENGINE, *SMALL, *asked)
    assert outcome.code == 2
    assert "ppo.samples_per_prompt=1; legal: 2 or more" in outcome.err
    assert not (home / "run").exists()


def test_all_that_may_be_added_works_together_and_is_resumed(start, home, rlhf):
    kit = (
        f"policy.path={start}",
        *REWARDED,
        "data.pretraining=demonstrations.jsonl",
        "ppo.ptx_coef=0.5",
        "ppo.ema_decay=0.5",
        "ppo.scale_scores=true",
        "ppo.importance_cap=2",
        "ppo.dual_clip=3",
        "ppo.clip_range_high=0.28",
        "ppo.max_approx_kl=0.5",
        "ppo.overlong_penalty=0.5",
        "ppo.overlong_buffer=3",
        "checkpoint.every=1",
    )
    settings = (*ENGINE, *SMALL, *kit)
    assert rlhf("ppo", "run_dir=whole", *settings).code == 0
    rows = metrics(home / "whole")
    assert rows[0]["loss/ptx_avg"] > 0
    # The last step fails: its reward function is gone. The same command then goes on.
    text = (home / "reward.py").read_text(encoding="utf-8")
    stop = "\nimport pathlib\n_wanted = wanted\ndef wanted(completions, wanted, **columns):\n"
    stop += "    if pathlib.Path('stop').exists() and len(completions) == 8:\n"
    stop += "        seen = pathlib.Path('stop').read_text() + '.'\n"
    stop += "        pathlib.Path('stop').write_text(seen)\n"
    stop += "        assert len(seen) != 3, 'stopped'\n"
    stop += "    return _wanted(completions, wanted)\n"
    (home / "reward.py").write_text(text + stop, encoding="utf-8")
    (home / "stop").write_text("", encoding="utf-8")
    assert rlhf("ppo", "run_dir=cut", *settings).code == 2
    assert len(metrics(home / "cut")) == 2
    assert rlhf("ppo", "run_dir=cut", *settings).code == 0
    assert metrics(home / "cut") == rows
    whole, cut = (load_file(home / run / "policy/model.safetensors") for run in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_the_estimator_of_the_guide_runs(start, home, rlhf):
    page = (Path(__file__).parents[2] / "docs/algorithms.md").read_text(encoding="utf-8")
    guide = page.partition("## An estimator of your own")[2]
    (home / "mine.py").write_text(guide.partition("```python\n")[2].partition("```")[0])
    asked = guide.partition("```\nrlhf ppo ")[2].partition(" ...\n```")[0].split()
    assert asked[0] == "ppo.advantage_estimator=mine.py:median_baseline"
    data = (f"policy.path={start}", *REWARDED, "ppo.minibatch_size=5")
    outcome = rlhf("ppo", "run_dir=run", *ENGINE, *SMALL, *data, *asked)
    assert outcome.code == 0, outcome.err
    assert not (home / "run/value").exists()

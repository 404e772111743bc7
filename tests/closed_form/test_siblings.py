"""The siblings of PPO on the variable-length task: other advantages, the same best policy."""

from __future__ import annotations

import pytest

from tests.closed_form.kit import learning, metrics
from tests.closed_form.tasks import counting


@pytest.mark.parametrize("algorithm", ["reinforce_pp", "rloo", "grpo", "dr_grpo"])
def test_a_sibling_reaches_the_best_policy(tmp_path, algorithm):
    # correctness 42, 47: KL stays in the reward for all of them, so that the optimum is the same
    task = counting(tmp_path, horizon=4)
    run = task.train(*learning(steps=60), f"algorithm={algorithm}")
    assert task.gap(run / "policy") <= 0.01
    assert task.judge(run / "policy").length == pytest.approx(task.best.length, abs=0.1)
    assert "value/mean" not in metrics(run)

"""The how-tos of CONTRIBUTING.md, followed in a copy: what they say is enough, in as many files."""

from __future__ import annotations

import pytest

from tests.howto.kit import Copy, Step, promised

pytestmark = pytest.mark.slow

SETTING = (
    Step(
        "rlhf/config/stages.py",
        "    scale_scores: bool = False\n",
        "    score_factor: float = Field(default=1.0, gt=0)\n"
        '    """Multiplies every score, before penalties."""\n'
        "    scale_scores: bool = False\n",
    ),
    Step(
        "rlhf/stages/experience.py",
        "    score_B = penalize_missing_eos(score_B, rollout.finished_B,",
        "    score_B = score_B * terms.config.score_factor\n"
        "    score_B = penalize_missing_eos(score_B, rollout.finished_B,",
    ),
    Step(
        "tests/wiring/table.py",
        '    "ppo.scale_scores": Effect(',
        '    "ppo.score_factor": Effect("3", (*SHAPED, *JUDGED), CLIPPED),\n'
        '    "ppo.scale_scores": Effect(',
    ),
)
ESTIMATOR = (
    Step(
        "rlhf/algo/estimators.py",
        "def _against_group(",
        "@estimator(reads_values=False, min_samples=2)\n"
        "def regret(episodes: Episodes) -> Tensor:\n"
        '    """Return each return less the best of its group (made up for a test)."""\n'
        "    gap_B = _against_group(episodes)[0]\n"
        "    is_rival_BB = episodes.group_B[:, None] == episodes.group_B\n"
        "    best_B = torch.where(is_rival_BB, gap_B, -torch.inf).amax(dim=1)\n"
        "    return _on_every_token(gap_B - best_B, episodes)\n\n\n"
        "def _against_group(",
    ),
    Step(
        "conf/algorithm/regret.yaml",
        "",
        "# @package _global_\n# Each response against the best to its prompt.\n"
        "ppo:\n  advantage_estimator: regret\n  samples_per_prompt: 4\n",
    ),
    Step(
        "tests/unit/algo/test_estimators.py",
        "def estimate(name: str",
        "def test_the_best_of_each_group_is_not_regretted():\n"
        '    found = estimate("regret", of_returns([1.0, 3.0, 2.0, -5.0], [7, 7, 7, 4]))\n'
        "    assert found[:, 0].tolist() == [-2.0, 0.0, -1.0, 0.0]\n\n\n"
        "def estimate(name: str",
    ),
    Step(
        "docs/algorithms.md",
        "| `dr_grpo` | return",
        "| `regret` | return less the group's best | no | 4 | yes | tokens | |\n"
        "| `dr_grpo` | return",
    ),
)
LAYOUT = (
    Step(
        "rlhf/data/layouts/pairs.py",
        "LAYOUTS = (\n",
        "def _votes(values: Values) -> Exchange:\n"
        '    """A question with its accepted answer, and one that was voted down."""\n'
        '    answers = [assistant(told(values, name)) for name in ("accepted", "downvoted")]\n'
        '    return Exchange([user(told(values, "title"))], pair(*answers))\n\n\n'
        "LAYOUTS = (\n"
        '    Layout("votes", (need("title", "accepted", "downvoted"),), by_row(_votes)),\n',
    ),
    Step(
        "tests/unit/data/layouts/test_recognise.py",
        "PAIRS = [\n",
        "PAIRS = [\n"
        '    ("votes", {"title": "what is rain?", "accepted": "water", "downvoted": "mud"},\n'
        '     (asked("what is rain?"), ["water", "mud"])),\n',
    ),
    Step(
        "docs/data_formats.md",
        "| KTO | `prompt`",
        "| votes | `title` + `accepted` + `downvoted` | the pair |\n| KTO | `prompt`",
    ),
)
RULES = (
    "tests/architecture/test_defaults.py",
    "tests/architecture/test_docs.py",
    "tests/architecture/test_docstrings.py",
    "tests/architecture/test_mirror.py",
    "tests/architecture/test_sizes.py",
)


@pytest.fixture
def copy(tmp_path):
    """A copy to work in."""
    return Copy(tmp_path)


def test_a_setting(copy):
    copy.follow(SETTING)
    copy.make_docs()
    assert len(copy.touched) == promised("a setting.")
    wiring = "tests/wiring/test_settings.py::test_a_setting_changes_what_it_should_and_nothing_else"
    copy.check(
        *RULES,
        f"{wiring}[ppo.score_factor]",
        "tests/wiring/test_places.py::test_every_setting_has_an_effect_that_is_tested",
        "tests/unit/config",
    )


def test_an_estimator(copy):
    copy.follow(ESTIMATOR)
    assert len(copy.touched) == promised("an advantage estimator.")
    copy.check(*RULES, "tests/unit/algo/test_estimators.py", "tests/unit/cli/test_compose.py")
    shown = copy.run("-m", "rlhf", "ppo", "algorithm=regret", "--cfg", "job")
    assert "advantage_estimator: regret" in shown and "samples_per_prompt: 4" in shown


def test_a_layout(copy):
    copy.follow(LAYOUT)
    assert len(copy.touched) == promised("a layout of data")
    copy.check(*RULES, "tests/unit/data/layouts/test_recognise.py")

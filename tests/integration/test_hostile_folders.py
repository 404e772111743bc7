"""Hostile model folders: one line and exit 2, whatever was done to them, in every role."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rlhf.checks.context import CheckContext
from rlhf.checks.preflight import preflight
from rlhf.errors import RLHFError
from tests import models
from tests.damaged import FILES, SETTINGS, WEIGHTS, changed, damages
from tests.integration.conftest import ENGINE

ROLES = {
    "policy": "causal",
    "reference": "causal",
    "reward_model": "classifier",
    "value": "classifier",
}
FIRST = dict(damages("llama"))
SHARED = ("weights", "index", "pickle", "adapter", "generation", *FILES)
EVERYTHING = [
    (family, list(ROLES)[place % len(ROLES)], name, damage)
    for family in ("llama", "gpt2", "qwen2")
    for place, (name, damage) in enumerate(damages(family))
    if family == "llama" or name not in FIRST or not name.startswith(SHARED)
]
"""Each damage in one role; what is no business of the family, with the first family alone."""


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder with prompts and a reward."""
    home = tmp_path_factory.mktemp("hostile")
    (home / "prompts.jsonl").write_text('{"prompt": "film"}\n' * 4, encoding="utf-8")
    (home / "reward.py").write_text(
        "def one(completions, **columns):\n    return [1.0] * len(completions)\n", encoding="utf-8"
    )
    return home


@pytest.fixture
def broken(folder, home):
    """Copy a good folder, and damage the copy."""

    def make(family, role, damage) -> str:
        path = home / "broken"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(folder(family, ROLES[role]), path)
        damage(path)
        return str(path)

    return make


def test_there_are_enough():
    assert len({(family, name) for family, _, name, _ in EVERYTHING}) >= 150


@pytest.mark.parametrize(
    ("family", "role", "damage"),
    [
        pytest.param(family, role, damage, id=f"{family}-{role}-{name}")
        for family, role, name, damage in EVERYTHING
    ],
)
def test_a_damaged_folder_is_refused_in_the_preflight(folder, home, broken, family, role, damage):
    given = {
        "policy": {"path": folder(family)},
        "data": {"prompts": str(home / "prompts.jsonl")},
        "reward": {"function": f"{home}/reward.py:one"},
        role: {"path": broken(family, role, damage)},
    }
    asked = models.experiment("torch", **given).model_copy(update={"run_dir": str(home / "run")})
    with pytest.raises(RLHFError) as caught:
        preflight(CheckContext("ppo", asked))
    assert caught.value.exit_code == 2
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    assert not (home / "run").exists()


@pytest.mark.parametrize(
    "damage",
    [
        WEIGHTS["weights: prefixed module."],
        changed(SETTINGS["llama"]["nested text"]),
        changed(SETTINGS["llama"]["unknown activation"]),
    ],
)
@pytest.mark.parametrize("role", ["policy", "reward_model"])
def test_the_command_ends_in_one_line_and_exit_code_2(rlhf, folder, home, broken, role, damage):
    asked = {"policy": folder(), role: broken("llama", role, damage)}
    outcome = rlhf(
        "ppo",
        *ENGINE,
        *(f"{name}.path={path}" for name, path in asked.items()),
        f"data.prompts={home}/prompts.jsonl",
        f"run_dir={home}/run",
        "ppo.rollout_batch_size=4",
        "ppo.minibatch_size=4",
        "generation.max_new_tokens=8",
    )
    assert outcome.code == 2, outcome.err
    (line,) = outcome.err.splitlines()
    assert line.startswith("rlhf: ")
    assert not (home / "run").exists()

"""Disk: which run the folder belongs to, and whether all that the run writes fits there."""

from __future__ import annotations

import json

import pytest

from rlhf.catalog.stages import PPO
from rlhf.checkpoint.run import open_run
from rlhf.checks.disk import check_disk, check_run_folder, writes_of
from rlhf.commands.table import run_command
from rlhf.errors import ConfigError
from tests import models


def test_a_new_folder_and_one_of_this_run(context, tmp_path):
    asked = context()
    assert check_run_folder(asked).endswith("run, new")
    assert not (tmp_path / "run").exists()
    config = asked.experiment.model_dump(mode="json")
    with open_run(tmp_path / "run", config, "ppo") as run:
        run.claim(PPO, config)
    assert check_run_folder(asked).endswith("which is there")
    with pytest.raises(ConfigError, match=r"belongs to another run: differs in ppo\.kl_coef"):
        check_run_folder(context(ppo={"kl_coef": 0.7}))


@pytest.mark.parametrize(
    ("run_dir", "told"),
    [
        ("prompts.jsonl", "is a file"),
        ("prompts.jsonl/run", "cannot be written to"),
        (".", "no run"),
    ],
)
def test_a_folder_that_cannot_be_used(context, tmp_path, run_dir, told):
    with pytest.raises(ConfigError, match=told):
        check_run_folder(context(run_dir=str(tmp_path / run_dir)))


def test_a_folder_this_user_may_not_write_to(context):
    # The superuser may write anywhere but where the kernel lets nobody.
    with pytest.raises(ConfigError, match="/proc cannot be written to"):
        check_run_folder(context(run_dir="/proc/run"))


def test_a_model_too_large_for_the_disk(context, copied):
    huge = copied()
    config = json.loads((huge / "config.json").read_text())
    config.update(hidden_size=2**20, intermediate_size=2**20, head_dim=2**18)
    (huge / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=r"GiB needed at most .* lower checkpoint\.keep=2"):
        check_disk(context(policy={"path": str(huge)}))


def test_a_run_writes_what_was_predicted(context, tmp_path):
    small = {"num_steps": 3, "rollout_batch_size": 4, "minibatch_size": 4, "num_epochs": 1}
    quiet = {"console": False, "sample_prompts": 0}
    asked = context(ppo=small, tracking=quiet, checkpoint={"every": 1, "keep": 2})
    writes = writes_of(asked)
    run_command("ppo", asked.experiment)
    folders = [tmp_path / "run" / name for name in ("policy", "value")]
    sizes = [file.stat().st_size for folder in folders for file in folder.glob("*.safetensors")]
    assert len(sizes) == 2
    assert sum(sizes) == pytest.approx(writes.models, rel=0.05)
    said = check_disk(asked)
    assert f"{writes.models / 2**20:,.0f} MiB models" in said
    assert writes.total == writes.models + writes.checkpoints + writes.logs


def test_a_checkpoint_holds_what_was_predicted(context, role, tmp_path):
    pupil = role("sft_policy")
    pupil.imitate(models.demonstrations())
    pupil.save_state(tmp_path / "state")
    pupil.save(tmp_path / "best")
    parts = [tmp_path / "state/state.safetensors", tmp_path / "best/model.safetensors"]
    size = sum(file.stat().st_size for file in parts)
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a film"}\n')
    asked = context("sft", data={"demonstrations": str(rows)}, checkpoint={"keep": 4})
    assert 5 * size == pytest.approx(writes_of(asked).checkpoints, rel=0.1)


def test_adapters_make_small_checkpoints(context):
    whole, adapters = writes_of(context()), writes_of(context(peft={"method": "lora", "rank": 2}))
    assert adapters.models == whole.models
    assert adapters.checkpoints < whole.checkpoints / 4

"""How to add a stage, followed in a copy: DPO (Rafailov et al. 2023), as a user would run it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.howto.kit import Copy, Step, promised

pytestmark = pytest.mark.slow

NEW = Path(__file__).parent / "dpo"
STAGE = (
    Step(
        "rlhf/catalog/stages.py",
        "PPO: Final = StageRecord(",
        "DPO: Final = StageRecord(\n"
        '    name="dpo",\n'
        '    title="Direct preference optimization",\n'
        '    short_title="DPO",\n'
        '    purpose="learns what people prefer, without a reward model",\n'
        '    help="DPO on data.preferences",\n'
        '    reads="preferences",\n'
        '    rows="prompt + chosen + rejected rows",\n'
        '    example="policy.path=FOLDER data.preferences=pairs.jsonl run_dir=runs/first",\n'
        "    in_pipeline=False,\n"
        '    roles=("policy", "reference"),\n'
        '    learns=("policy",),\n'
        '    optimizers=("dpo",),\n'
        '    loop="epochs",\n'
        '    gives="policy",\n'
        '    folder="dpo",\n'
        '    own=("dpo",),\n'
        '    ignores=("reward_model",),\n'
        '    shares=("reference", "data.preferences"),\n'
        ")\n"
        "PPO: Final = StageRecord(",
    ),
    Step(
        "rlhf/catalog/stages.py",
        "STAGES: Final = (SFT, REWARD_MODEL, PPO)",
        "STAGES: Final = (SFT, REWARD_MODEL, DPO, PPO)",
    ),
    Step(
        "rlhf/catalog/stages.py",
        '["pipeline", "sft", "reward_model", "ppo"]',
        '["pipeline", "sft", "reward_model", "dpo", "ppo"]',
    ),
    Step("rlhf/catalog/metrics/dpo.py", "", (NEW / "metrics.txt").read_text()),
    Step(
        "rlhf/config/stages.py",
        "class PPOConfig(Section):",
        "class DPOConfig(Section):\n"
        '    """Direct preference optimization (Rafailov et al. 2023, eq. 7)."""\n\n'
        "    beta: float = Field(default=0.1, gt=0)\n"
        '    """Weight of the implicit reward, log(policy / reference)."""\n'
        "    num_epochs: float = Field(default=1.0, gt=0)\n"
        '    """Passes over the preferences."""\n'
        "    batch_size: int = Field(default=32, gt=0)\n"
        '    """Prompts an optimizer step, over all ranks."""\n'
        "    validate_every: int = Field(default=50, gt=0)\n"
        '    """Optimizer steps between validation losses."""\n'
        "    patience: int = Field(default=3, gt=0)\n"
        '    """Validations without a new best before training stops."""\n'
        '    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-6, schedule="linear")\n'
        '    """AdamW of this stage."""\n\n\n'
        "class PPOConfig(Section):",
    ),
    Step(
        "rlhf/config/experiment.py",
        "import PPOConfig, RewardModelConfig, SFTConfig",
        "import DPOConfig, PPOConfig, RewardModelConfig, SFTConfig",
    ),
    Step(
        "rlhf/config/experiment.py",
        "    ppo: PPOConfig = PPOConfig()\n",
        "    dpo: DPOConfig = DPOConfig()\n    ppo: PPOConfig = PPOConfig()\n",
    ),
    Step("rlhf/roles/preference.py", "", (NEW / "role.txt").read_text()),
    Step("rlhf/stages/dpo.py", "", (NEW / "stage.txt").read_text()),
    Step(
        "rlhf/stages/pipeline.py",
        "from rlhf.stages.epochs import",
        "from rlhf.stages.dpo import run_dpo\nfrom rlhf.stages.epochs import",
    ),
    Step(
        "rlhf/stages/pipeline.py",
        "    catalog.PPO: run_ppo,\n",
        "    catalog.DPO: run_dpo,\n    catalog.PPO: run_ppo,\n",
    ),
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A copy that has the stage."""
    made = Copy(tmp_path_factory.mktemp("stage"))
    made.follow(STAGE)
    return made


def test_a_stage_takes_as_many_files_as_is_said_and_keeps_the_rules(copy):
    assert len(copy.touched) == promised("a stage.") <= 8
    copy.check("tests/unit/catalog/test_stages.py", "tests/unit/catalog/test_declared.py")


def test_the_stage_learns_resumes_finishes_and_is_reported(copy):
    assert "right" in copy.run("tests/howto/dpo/run.py", str(copy.folder.parent / "home"))

"""The training stages, one record each: commands, checks, resume and reports derive from these.

What a stage does is a class and a function in `rlhf/stages/`, named beside its record in
`rlhf/stages/pipeline.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

RoleName = Literal["policy", "reference", "reward", "value"]
"""The roles that have processes of their own."""
Kind = Literal["demonstrations", "preferences", "prompts", "pretraining"]
"""The kinds of training data; each is the setting `data.KIND`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StageRecord:
    """All that the rest of the project must know about a training stage."""

    name: str
    """Its command, its section of the settings, its stage in metrics and checkpoints."""
    title: str
    """What a person calls it."""
    short_title: str
    """The same where there is little room."""
    purpose: str
    """What is learned, for the report."""
    help: str
    """What the command does, for `rlhf --help`."""
    example: str
    """Settings that it may be tried with, for its own help."""

    reads: Kind
    """The data it cannot run without."""
    rows: str
    """What a row of that data holds."""
    also_reads: Mapping[Kind, str] = field(default_factory=dict[Kind, str])
    """Further data, each read when the setting named here is not zero."""
    is_optional: bool = True
    """Whether the pipeline leaves it out when its data is not given."""
    in_pipeline: bool = True
    """Whether it is a step of the pipeline; else it runs by its own command alone."""
    instead: str | None = None
    """The setting that, once given, takes this stage's place in the pipeline."""

    roles: tuple[RoleName, ...]
    """Whose processes it needs. The reference is left out with adapters, the value role where
    advantages do not use it."""
    learns: tuple[RoleName, ...]
    """Roles whose weights it changes and saves."""
    optimizers: tuple[str, ...]
    """Sections of the settings that hold the optimizers of those roles."""
    loop: Literal["epochs", "rollouts"]
    """Whether it passes over its rows, or generates from them."""

    gives: Literal["policy", "reward_model"]
    """What later stages take from it."""
    folder: str
    """Where that lies in the run's folder."""
    by_products: tuple[str, ...] = ()
    """Folders of further models that it leaves, put in place before the other."""

    own: tuple[str, ...]
    """Settings that only this stage reads, its section of that name included where it is whole."""
    ignores: tuple[str, ...] = ()
    """Settings that it does not read, besides those that are other stages' own."""
    shares: tuple[str, ...] = ()
    """Other stages' own settings that it reads too."""


SFT: Final = StageRecord(
    name="sft",
    title="Supervised fine-tuning",
    short_title="SFT",
    purpose="learns to answer from demonstrations",
    help="fine-tune a model on demonstrations, good answers to imitate (SFT)",
    example="policy.path=FOLDER data.demonstrations=chat.jsonl run_dir=runs/first",
    reads="demonstrations",
    rows="prompt + completion rows",
    roles=("policy",),
    learns=("policy",),
    optimizers=("sft",),
    loop="epochs",
    gives="policy",
    folder="sft",
    own=("sft", "data.demonstrations"),
    ignores=("reward_model",),
)
REWARD_MODEL: Final = StageRecord(
    name="reward_model",
    title="Reward model",
    short_title="Reward model",
    purpose="learns what people prefer",
    help="train a reward model on preferences, answers that people ranked",
    example="policy.path=FOLDER data.preferences=pairs.jsonl run_dir=runs/first",
    reads="preferences",
    rows="prompt + chosen + rejected rows",
    instead="reward_model.path",
    roles=("reward",),
    learns=("reward",),
    optimizers=("reward_model",),
    loop="epochs",
    gives="reward_model",
    folder="reward_model",
    own=(
        "reward_model.num_epochs",
        "reward_model.batch_size",
        "reward_model.validate_every",
        "reward_model.patience",
        "reward_model.margin_coef",
        "reward_model.center_coef",
        "reward_model.optimizer",
        "data.preferences",
    ),
)
PPO: Final = StageRecord(
    name="ppo",
    title="PPO",
    short_title="PPO",
    purpose="learns to generate what the reward prefers",
    help="improve a model by PPO: it answers prompts, and a reward says how well",
    example="policy.path=FOLDER data.prompts=prompts.jsonl reward.function=reward.py:score",
    reads="prompts",
    rows="prompt rows",
    also_reads={"pretraining": "ppo.ptx_coef"},
    is_optional=False,
    roles=("policy", "reference", "reward", "value"),
    learns=("policy", "value"),
    optimizers=("policy", "value"),
    loop="rollouts",
    gives="policy",
    folder="policy",
    by_products=("value",),
    own=(
        "policy.optimizer",
        "reference",
        "value",
        "reward",
        "ppo",
        "generation",
        "data.prompts",
        "data.pretraining",
        "data.max_prompt_length",
    ),
)

STAGES: Final = (SFT, REWARD_MODEL, PPO)
"""All stages, in the order in which a pipeline runs them."""
TrainingCommand = Literal["pipeline", "sft", "reward_model", "ppo"]
"""The names of PIPELINE and STAGES, for type checkers."""
PIPELINE: Final = "pipeline"
"""The command that runs all stages it has data for."""
STAGES_OF: Final[Mapping[str, tuple[StageRecord, ...]]] = {
    PIPELINE: tuple(stage for stage in STAGES if stage.in_pipeline),
    **{stage.name: (stage,) for stage in STAGES},
}
"""The stages behind each training command; other commands train nothing."""
TRAINING: Final = tuple(STAGES_OF)
"""The commands that train."""


def not_read(stage: StageRecord) -> tuple[str, ...]:
    """Return the settings that a stage does not read, as dotted paths of settings or sections.

    What it gets from an earlier stage is that stage's affair.
    """
    others = (path for other in STAGES if other is not stage for path in other.own)
    return (*(path for path in others if path not in stage.shares), *stage.ignores)


def title_of(name: str) -> str:
    """Return what a person calls a stage, by its name; the name itself when it is no stage."""
    return next((stage.title for stage in STAGES if stage.name == name), name)

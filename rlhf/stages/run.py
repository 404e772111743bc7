"""The stages of a run: each makes its folder from earlier ones, unless it is already there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import torch

from rlhf.algo.kl import AdaptiveKL, FixedKL, KLController
from rlhf.algo.scaling import NoScale, RunningScale
from rlhf.catalog.stages import PPO, STAGES_OF, StageRecord
from rlhf.checkpoint.artifact import (
    Artifact,
    inputs_fingerprint,
    is_current,
    put_in_place,
    read_artifact,
    verify,
    write_artifact,
)
from rlhf.checkpoint.ending import ENDING
from rlhf.checkpoint.run import RunFolder
from rlhf.checkpoint.store import Store
from rlhf.config.experiment import Experiment
from rlhf.config.stages import PPOConfig
from rlhf.data.stream import Stream
from rlhf.data.tokenizer import fingerprint
from rlhf.flow.text import Demonstrations, PromptBatch
from rlhf.observe.log import RunLog
from rlhf.observe.spans import Span
from rlhf.rewards.mix import Mix
from rlhf.runtime.runtime import Runtime
from rlhf.stages.best import Best
from rlhf.stages.drive import Cadence, Stage, drive
from rlhf.stages.experience import Terms
from rlhf.stages.inputs import Inputs
from rlhf.stages.moved import settle_base
from rlhf.stages.rehearsal import Rehearsal


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What a finished model was made from, and what belongs to it."""

    base: str
    """Model or folder the training started from."""
    inputs_sha256: str
    """Hash of all that decided the result."""
    beside: Sequence[str] = ()
    """Folders that the same stage made before it."""
    measured: Mapping[str, object] = field(default_factory=dict[str, object])
    """What was measured of it."""


NO_REWARD: Final = Mix(())
"""Of a run without PPO."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What the stages so far have made; a stage starts from it."""

    policy: Path
    """Folder or hub name of the policy: the first weights, then what the last stage gave."""
    reward_model: Path | None = None
    """Folder of the reward model that a stage made."""
    mix: Mix = NO_REWARD
    """The sources of PPO's reward; that reward model may be one of them."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What every stage shares: settings, folder, log and processes."""

    experiment: Experiment
    opened: RunFolder
    """The run's folder, locked by this process."""
    inputs: Inputs
    runtime: Runtime
    log: RunLog
    timings: Callable[[], Sequence[Span]]
    """Gives the calls of all roles that ended since it was last asked."""
    rehearsal: Rehearsal
    finished: Callable[[str, dict[str, float]], None]
    """Called with every stage that ended, its seconds and steps."""

    @property
    def folder(self) -> Path:
        """The run's folder, RUN."""
        return self.opened.path

    def perform(self, stage: Stage, inputs_sha256: str) -> None:
        """Run a stage to its end; as it begins, its settings become those of the folder."""
        (record,) = STAGES_OF[stage.name]
        self.opened.claim(record, self.experiment.model_dump(mode="json"))
        checkpoint = self.experiment.checkpoint
        store = Store(
            self.folder / "checkpoints" / stage.name,
            f"{self.opened.run_id}-{inputs_sha256[:12]}",
            checkpoint.keep,
            self.log.warn,
        )
        start = time.monotonic()
        with ENDING.within_steps(checkpoint.grace_s):
            cadence = Cadence(checkpoint.every, checkpoint.every_minutes)
            steps = drive(stage, store, self.log, cadence=cadence, timings=self.timings)
        seconds = self.log.earlier_s + time.monotonic() - start
        self.finished(stage.name, {"seconds": seconds, "steps": steps})

    def fingerprint(self, stage: StageRecord, *came_before: Path) -> str:
        """Return a hash of all that determines a stage's result.

        Models and files count by their content, not by their path; a hub name counts as it is.
        """
        return inputs_fingerprint(
            {
                "settings": self.opened.deciding(stage, self.experiment.model_dump(mode="json")),
                "sources": self.inputs.sources_of(stage),
                "before": [self.opened.identity(path) for path in came_before],
            }
        )

    def is_done(self, stage: StageRecord, inputs_sha256: str) -> bool:
        """Return whether a stage's folders are there, whole, made from exactly these inputs.

        Raises:
            CheckpointError: naming what is damaged; nothing is replaced then.
        """
        done = is_current(self.folder / stage.folder, inputs_sha256)
        if done:
            record = read_artifact(self.folder / stage.folder)
            belongs = record.beside if record is not None else ()
            for kind in stage.by_products:
                if kind in belongs or (self.folder / kind).exists():
                    verify(self.folder / kind)
            self.forget(stage)  # A kill may have left its checkpoints.
            self.log.note(f"{stage.folder}: already done, nothing it depends on has changed")
        return done

    def publish(self, partial: Path, kind: str, origin: Origin) -> Path:
        """Sign a finished model folder and move it to its place."""
        tokenizer = self.inputs.tokenizer
        template, target = tokenizer.chat_template, self.folder / kind
        settle_base(partial, target)
        write_artifact(
            partial,
            Artifact(
                kind=kind,
                head_trained=True,
                tokenizer_sha256=fingerprint(tokenizer),
                chat_template_sha256=inputs_fingerprint({"": template}) if template else None,
                base=origin.base,
                inputs_sha256=origin.inputs_sha256,
                beside=list(origin.beside),
                measured=dict(origin.measured),
            ),
        )
        put_in_place(partial, target)
        return target

    def partial(self, kind: str) -> Path:
        """Return the folder in which a model is written until it is finished.

        A command starts without one: `open_run` clears what a kill has left.
        """
        return self.folder / f".{kind}.partial"

    def forget(self, stage: StageRecord) -> None:
        """Delete the checkpoints of a stage whose models are published."""
        shutil.rmtree(self._checkpoints(stage), ignore_errors=True)

    def _checkpoints(self, stage: StageRecord) -> Path:
        """Return the folder of a stage's checkpoints."""
        return self.folder / "checkpoints" / stage.name

    def best(self, stage: StageRecord, patience: int | None) -> Best:
        """Return early stopping that keeps its best model beside the stage's checkpoints."""
        return Best(self._checkpoints(stage) / "best", patience)


def build_kl(config: PPOConfig) -> KLController:
    """Return the KL controller the configuration asks for."""
    if config.kl_target is None:
        return FixedKL(config.kl_coef)
    return AdaptiveKL(config.kl_coef, config.kl_target, config.kl_horizon)


def build_terms(experiment: Experiment) -> Terms:
    """Return the configured terms that turn scores into advantages."""
    config = experiment.ppo
    return Terms(
        config=config,
        kl=build_kl(config),
        scale=RunningScale() if config.scale_scores else NoScale(),
        longest_response=experiment.generation.max_new_tokens,
    )


def text_source(
    texts: Demonstrations | None, config: PPOConfig, seed: int
) -> Callable[[int], Demonstrations | None]:
    """Return a function from a step to its PTX texts, one a response; or to None without PTX."""
    if texts is None:
        return lambda step: None
    stream = Stream(texts, config.rollout_batch_size * config.samples_per_prompt, seed, "ptx")
    return stream.batch


def prompt_source(
    prompts: PromptBatch, config: PPOConfig, seed: int
) -> Callable[[int], PromptBatch]:
    """Return a function from a step to its prompts: a window of the stream, each prompt n times.

    Sample indices count through the whole run, so that every response has draws of its own.
    """
    stream = Stream(prompts, config.rollout_batch_size, seed, PPO.name)
    num_rows = config.rollout_batch_size * config.samples_per_prompt

    def batch(step: int) -> PromptBatch:
        rows = torch.arange(config.rollout_batch_size).repeat_interleave(config.samples_per_prompt)
        drawn = stream.batch(step).select(rows)
        return PromptBatch(
            tokens_BP=drawn.tokens_BP,
            lengths_B=drawn.lengths_B,
            sample_B=step * num_rows + torch.arange(num_rows),
            prompts=drawn.prompts,
            columns=drawn.columns,
        )

    return batch

"""Players: the Cast over groups of ranks, on a Ray cluster or in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from rlhf.cli.build import Part
from rlhf.cluster.group import Group, on_every_rank
from rlhf.cluster.ports import (
    GroupPolicy,
    GroupRanking,
    GroupReference,
    GroupReward,
    GroupValue,
)
from rlhf.config.cluster import RoleName
from rlhf.config.experiment import Experiment
from rlhf.flow.promise import settle
from rlhf.flow.text import PromptBatch
from rlhf.roles.precision_probe import Verdict


class Players:
    """Gives each act its players. A role's processes start once and change parts."""

    def __init__(
        self, experiment: Experiment, start: Callable[[], Mapping[RoleName, Group]]
    ) -> None:
        """Start the groups when the first part is given out."""
        self._experiment, self._start = experiment, start
        self._started: Mapping[RoleName, Group] | None = None

    def pupil(self, path: Path, total_updates: int) -> GroupPolicy:
        """Return a policy that will imitate."""
        return GroupPolicy(
            self._play(
                Part(
                    kind="pupil",
                    role="policy",
                    experiment=self._experiment,
                    path=str(path),
                    total_updates=total_updates,
                )
            )
        )

    def apprentice(self, path: Path, total_updates: int, *, trained: bool) -> GroupRanking:
        """Return a reward model that will learn, or (trained) be measured and normalised."""
        return GroupRanking(
            self._play(
                Part(
                    kind="apprentice",
                    role="reward",
                    experiment=self._experiment,
                    path=str(path),
                    head="trained" if trained else "new",
                    finished=trained,
                    total_updates=total_updates,
                )
            )
        )

    def policy(self, path: Path) -> GroupPolicy:
        """Return the policy that PPO improves."""
        ppo = self._experiment.ppo
        return GroupPolicy(
            self._play(
                Part(
                    kind="policy",
                    role="policy",
                    experiment=self._experiment,
                    path=str(path),
                    total_updates=ppo.num_steps * ppo.updates_a_step,
                    updates_a_step=ppo.updates_a_step,
                )
            )
        )

    def reference(self, path: Path) -> GroupReference:
        """Return the frozen reference; with adapters the policy's processes answer for it."""
        if "reference" not in self._groups:
            return GroupReference(self._groups["policy"], "reference_rows")
        part = Part(kind="reference", role="reference", experiment=self._experiment, path=str(path))
        return GroupReference(self._play(part))

    def judge(self, model: Path | None, policy: Path) -> GroupReward:
        """Return the reward: a model, the configured function, or both."""
        reward = self._experiment.reward
        part = Part(
            kind="judge",
            role="reward",
            experiment=self._experiment,
            path=None if model is None else str(model),
            policy_path=str(policy),
            function=_absolute(reward.function),
        )
        return GroupReward(
            self._play(part),
            model_weight=None if model is None else reward.model_weight,
            function_weight=None if reward.function is None else reward.function_weight,
        )

    def value(self, path: Path, *, trained: bool) -> GroupValue:
        """Return the value model."""
        ppo = self._experiment.ppo
        return GroupValue(
            self._play(
                Part(
                    kind="value",
                    role="value",
                    experiment=self._experiment,
                    path=str(path),
                    head="trained" if trained else "zero",
                    total_updates=ppo.num_steps * ppo.updates_a_step,
                    updates_a_step=ppo.updates_a_step,
                )
            )
        )

    def writer(self, path: Path) -> GroupPolicy:
        """Return a frozen policy that answers prompts."""
        part = Part(kind="writer", role="policy", experiment=self._experiment, path=str(path))
        return GroupPolicy(self._play(part))

    def settle_precision(self, path: Path, texts: PromptBatch) -> str:
        """Decide what engine.precision=auto is for the policy.

        Where bf16 takes it too far from itself, all roles get fp32; else each goes by its size.
        """
        engine = self._experiment.engine
        if engine.precision != "auto":
            return f"{engine.precision} (engine.precision={engine.precision})"
        role: RoleName = "policy" if "policy" in self._groups else "reward"
        probe = Part(kind="probe", role=role, experiment=self._experiment, path=str(path))
        found: Verdict = settle(on_every_rank(self._play(probe), "measure", texts))
        if found.measured and found.precision == "fp32":
            changed = engine.model_copy(update={"precision": "fp32"})
            self._experiment = self._experiment.model_copy(update={"engine": changed})
        return f"{found.precision} (engine.precision=auto: {found.why})"

    @property
    def _groups(self) -> Mapping[RoleName, Group]:
        if self._started is None:
            self._started = self._start()
        return self._started

    def _play(self, part: Part) -> Group:
        group = self._groups[part.role]
        group.become(part)
        return group


def _absolute(function: str | None) -> str | None:
    if function is None:
        return None
    file, _, name = function.rpartition(":")
    return f"{Path(file).absolute()}:{name}"

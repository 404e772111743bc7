"""drive: a stage that stopped anywhere goes on, and ends in the same bits as one that never did."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from rlhf.checkpoint.ending import ENDING, Terminated
from rlhf.checkpoint.store import Store
from rlhf.data.stream import Stream
from rlhf.errors import TrainingError
from rlhf.flow.metrics import Metrics
from rlhf.observe import files
from rlhf.observe.spans import Span, read_traces
from rlhf.stages.best import Best
from rlhf.stages.drive import Cadence, Stage, drive
from rlhf.stages.reward_model import RewardModel
from rlhf.stages.sft import SFT
from tests import models
from tests.specs import runtime, spec
from tests.unit.stages.conftest import recorded

EVERY = 2


@dataclass
class Interrupted:
    """A stage whose process dies after some steps."""

    stage: Stage
    dies_after: int

    def __post_init__(self) -> None:
        self.name, self.total_steps = self.stage.name, self.stage.total_steps
        self.checkpointables, self.state, self.load = (
            self.stage.checkpointables,
            self.stage.state,
            self.stage.load,
        )

    def steps(self, first_step: int) -> Iterator[Metrics]:
        for step, report in enumerate(self.stage.steps(first_step), start=first_step):
            if step >= self.dies_after:
                raise TrainingError("killed on purpose")
            yield report


def store(folder: Path, name: str) -> Store:
    return Store(folder / "checkpoints" / name, "run", 2)


def weights(stage: Stage, folder: Path) -> dict[str, bytes]:
    for name, role in stage.checkpointables().items():
        role.save_state(folder / name)
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*.saf*"))}


@pytest.fixture
def fresh(folder, ppo_of, tmp_path) -> Callable[[str, str], Stage]:
    """Make any of the three stages anew."""

    def sft(home: str) -> Stage:
        experiment = models.experiment(
            sft={"num_epochs": 2.0, "batch_size": 3, "validate_every": 1}
        )
        train = Stream(models.demonstrations(9), 3, 0, "sft")
        pupil = runtime(experiment).assign(spec("sft_policy", folder()))
        best = Best(tmp_path / home / "best", patience=9)
        return SFT(
            policy=pupil,
            train=train,
            validation=models.demonstrations(4, seed=9),
            best=best,
            config=experiment.sft,
        )

    def reward_model(home: str) -> Stage:
        experiment = models.experiment(
            reward_model={"num_epochs": 2.0, "batch_size": 3, "validate_every": 1}
        )
        train = Stream(models.rankings(9), 3, 0, "reward_model")
        apprentice = runtime(experiment).assign(spec("reward_trainer", folder(), head="new"))
        best = Best(tmp_path / home / "best", patience=9)
        return RewardModel(
            reward=apprentice,
            train=train,
            validation=models.rankings(4, seed=9),
            best=best,
            config=experiment.reward_model,
        )

    def ppo(home: str) -> Stage:
        kl = {"num_steps": 6, "num_epochs": 1, "kl_target": 3.0, "kl_horizon": 50}
        return ppo_of(ppo=kl).stage

    builders = {"sft": sft, "reward_model": reward_model, "ppo": ppo}
    return lambda name, home: builders[name](home)


@pytest.mark.parametrize("dies_after", [1, 2, 5])
@pytest.mark.parametrize("name", ["sft", "reward_model", "ppo"])
def test_a_resumed_stage_is_the_uninterrupted_one_bit_for_bit(
    fresh, logged, tmp_path, name, dies_after
):
    # correctness 66: weights, moments, KL coefficient, best loss, every recorded metric.
    def run(stage: Stage, home: str) -> int:
        with logged(home) as log:
            return drive(
                stage, store(tmp_path / home, name), log, cadence=Cadence(EVERY), timings=list
            )

    whole = fresh(name, "whole")
    assert run(whole, "whole") == 6
    with pytest.raises(TrainingError, match="on purpose"):
        run(Interrupted(fresh(name, "cut"), dies_after), "cut")
    resumed = fresh(name, "cut")
    assert run(resumed, "cut") == 6
    assert recorded(tmp_path / "cut") == recorded(tmp_path / "whole")
    assert len(recorded(tmp_path / "cut")) == 6
    assert weights(resumed, tmp_path / "end_cut") == weights(whole, tmp_path / "end_whole")
    assert resumed.state() == whole.state()


def test_checkpoints_are_taken_between_steps_and_never_of_the_last(fresh, logged, tmp_path):
    stage = fresh("sft", "one")
    kept = store(tmp_path / "one", "sft")
    with logged("one") as log:
        drive(stage, kept, log, cadence=Cadence(3), timings=list)
    newest = kept.latest()
    assert newest is not None
    assert newest.step == 3


def test_the_clock_is_started_anew_and_read_once_a_step(fresh, logged, tmp_path):
    asked: list[int] = []

    def timings() -> list[Span]:
        asked.append(1)
        end = time.time()
        return [Span("policy", rank, "imitate", end - 1e-3, end, "learn") for rank in range(2)]

    with logged("one") as log:
        drive(
            fresh("sft", "one"),
            store(tmp_path / "one", "sft"),
            log,
            cadence=Cadence(9),
            timings=timings,
        )
    assert len(asked) == 7
    traces = read_traces(tmp_path / "one")
    assert [(kept.stage, kept.step) for kept in traces] == [("sft", step) for step in range(6)]
    rows = [row["metrics"] for row in files.read_rows(tmp_path / "one/metrics.jsonl")]
    for row, kept in zip(rows, traces, strict=True):
        assert kept.trace.seconds == pytest.approx(row["time/step_s"], abs=1e-4)
        assert row["busy/policy_s"] == pytest.approx(2e-3, abs=1e-5)
        assert row["idle/policy"] == pytest.approx(1 - 1e-3 / row["time/step_s"], abs=1e-3)
        assert all(s.end == pytest.approx(kept.trace.seconds, abs=0.02) for s in kept.trace.spans)


def test_what_is_frozen_holds_the_same_weights_to_the_end(ppo_of, logged, tmp_path):
    # correctness 30: reference and reward bit for bit; KL at step 0 is exactly 0.
    made = ppo_of(ppo={"num_steps": 3})
    roles = {name: group._role for name, group in made.runtime._groups.items()}
    engines = {
        "policy": roles["policy"].engine,
        "reference": roles["reference"].engine,
        "reward": roles["reward"]._by_rows[0].engine,
    }
    before = {name: engine.weights() for name, engine in engines.items()}
    with logged("frozen") as log:
        drive(made.stage, store(tmp_path / "frozen", "ppo"), log, cadence=Cadence(9), timings=list)
    same = {
        name: all(torch.equal(w, before[name][key]) for key, w in engine.weights().items())
        for name, engine in engines.items()
    }
    assert same == {"policy": False, "reference": True, "reward": True}
    distances = [row["objective/kl"] for row in recorded(tmp_path / "frozen")]
    assert distances[0] == 0
    assert distances[-1] != 0


@pytest.mark.parametrize("name", ["sft", "reward_model", "ppo"])
def test_a_stage_that_is_asked_to_end_saves_its_step_and_goes_on_from_it(
    fresh, logged, tmp_path, name
):
    def run(stage: Stage, home: str) -> int:
        with logged(home) as log:
            return drive(
                stage, store(tmp_path / home, name), log, cadence=Cadence(99), timings=list
            )

    whole = fresh(name, "whole")
    assert run(whole, "whole") == 6

    class Asked(Interrupted):
        def steps(self, first_step: int):
            for step, report in enumerate(self.stage.steps(first_step), first_step):
                ENDING.is_asked = step == 2
                yield report

    try:
        with pytest.raises(Terminated):
            run(Asked(fresh(name, "cut"), 99), "cut")
    finally:
        ENDING.is_asked = False
    assert store(tmp_path / "cut", name).latest().step == 3
    resumed = fresh(name, "cut")
    assert run(resumed, "cut") == 6
    assert recorded(tmp_path / "cut") == recorded(tmp_path / "whole")
    assert weights(resumed, tmp_path / "end_cut") == weights(whole, tmp_path / "end_whole")

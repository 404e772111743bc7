"""A checkpoint is all or nothing, damage is named, and a kill at any moment is survived."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rlhf.checkpoint.files import read_tensors, write_tensors
from rlhf.checkpoint.store import Checkpoint, Store
from rlhf.errors import CheckpointError

torch.set_num_threads(1)
ROLES = ("policy", "value")


class Case:
    """A store with a list of its warnings."""

    def __init__(self, folder: Path, keep: int = 2, run_id: str = "run") -> None:
        self.folder = folder
        self.warnings: list[str] = []
        self.store = Store(folder, run_id, keep, self.warnings.append)

    def save(self, step: int) -> Checkpoint:
        with self.store.staging(step) as staging:
            for role in ROLES:
                weights = {"w": torch.full((50,), float(step)) + (role == "value")}
                write_tensors(staging / role / "model.safetensors", weights)
            return self.store.commit(staging, step, {"kl_coef": step / 3})

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


def assert_whole(checkpoint: Checkpoint | None, step: int) -> None:
    assert checkpoint is not None
    assert checkpoint.step == step
    assert checkpoint.trainer == {"kl_coef": step / 3}
    for role in ROLES:
        tensors = read_tensors(checkpoint.folder / role / "model.safetensors")
        assert torch.equal(tensors["w"], torch.full((50,), float(step)) + (role == "value"))


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path / "ppo")


def test_without_a_checkpoint_there_is_none(case: Case) -> None:
    assert case.store.latest() is None


def test_the_newest_comes_back(case: Case) -> None:
    for step in (5, 10, 20):
        case.save(step)
    assert_whole(case.store.latest(), 20)
    assert case.names() == ["step_000010", "step_000020"]
    assert not case.warnings


def test_steps_are_compared_as_numbers(case: Case) -> None:
    case.save(999_999)
    case.save(1_000_000)
    assert_whole(case.store.latest(), 1_000_000)


def test_trainer_state_comes_back_as_plain_json(case: Case) -> None:
    trainer = {"best": float("inf"), "betas": (0.1, 0.2), "counts": {2: "b", 10: "a"}}
    with case.store.staging(1) as staging:
        write_tensors(staging / "policy" / "model.safetensors", {})
        committed = case.store.commit(staging, 1, trainer)
    assert case.store.latest() == committed
    assert committed.trainer == {
        "best": float("inf"),
        "betas": [0.1, 0.2],
        "counts": {"2": "b", "10": "a"},
    }


def test_an_abandoned_staging_folder_is_removed(case: Case) -> None:
    case.save(1)
    with pytest.raises(KeyError), case.store.staging(2) as staging:
        write_tensors(staging / "policy" / "model.safetensors", {"w": torch.ones(1)})
        raise KeyError
    assert case.names() == ["step_000001"]


def test_an_empty_staging_folder_is_refused(case: Case) -> None:
    with pytest.raises(CheckpointError, match="is empty"), case.store.staging(2) as staging:
        case.store.commit(staging, 2, {})


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    place = random.Random(7).randrange(len(content))
    content[place] ^= 4
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def swap_roles(path: Path) -> None:
    first, second = (path.parents[1] / role / "model.safetensors" for role in ROLES)
    first_bytes, second_bytes = first.read_bytes(), second.read_bytes()
    first.write_bytes(second_bytes)
    second.write_bytes(first_bytes)


TENSOR = "policy/model.safetensors"
DAMAGE: dict[str, tuple[str, Callable[[Path], object]]] = {
    "bit flipped": (TENSOR, flip_bit),
    "cut": (TENSOR, cut),
    "zero length": (TENSOR, lambda path: path.write_bytes(b"")),
    "missing": (TENSOR, lambda path: path.unlink()),
    "swapped with another role": (TENSOR, swap_roles),
    "of another step": (
        TENSOR,
        lambda path: shutil.copy(path.parents[2] / "step_000010" / TENSOR, path),
    ),
    "no manifest": ("manifest.json", lambda path: path.unlink()),
    "empty manifest": ("manifest.json", lambda path: path.write_bytes(b"")),
    "manifest is no mapping": ("manifest.json", lambda path: path.write_text("[]")),
    "changed digit": (
        "manifest.json",
        lambda path: path.write_text(path.read_text().replace('"kl_coef": 6.', '"kl_coef": 7.')),
    ),
    "manifest of another step": (
        "manifest.json",
        lambda path: shutil.copy(path.parents[1] / "step_000010" / "manifest.json", path),
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_and_the_one_before_is_used(case: Case, kind: str) -> None:
    case.save(10)
    newest = case.save(20)
    name, damage = DAMAGE[kind]
    damage(newest.folder / name)
    assert_whole(case.store.latest(), 10)
    assert len(case.warnings) == 1
    assert str(newest.folder / name) in case.warnings[0]
    assert case.names() == ["step_000010", "step_000020"], "nothing is deleted by reading"
    case.save(20)
    assert_whole(Case(case.folder).store.latest(), 20)
    assert case.names() == ["step_000010", "step_000020"]


def test_any_flipped_bit_is_seen(case: Case) -> None:
    newest = case.save(20)
    rng = random.Random(0)
    paths = [path for path in newest.folder.rglob("*") if path.is_file()]
    for _ in range(200):
        path = rng.choice(paths)
        content = path.read_bytes()
        place = rng.randrange(len(content))
        changed = content[place] ^ (1 << rng.randrange(8))
        path.write_bytes(content[:place] + bytes([changed]) + content[place + 1 :])
        try:
            found = case.store.latest()
        except CheckpointError:
            found = None
        if found is not None:  # a flip in the manifest's white space changes nothing
            assert path.name == "manifest.json"
            assert found.trainer == newest.trainer
        path.write_bytes(content)
    assert_whole(case.store.latest(), 20)


def test_damaged_ones_do_not_count_towards_keep(case: Case) -> None:
    case.save(10)
    cut(case.save(20).folder / TENSOR)
    case.store.latest()
    case.save(15)
    assert case.names() == ["step_000010", "step_000015"]
    assert_whole(case.store.latest(), 15)


def test_the_one_just_committed_is_never_deleted(tmp_path: Path) -> None:
    case = Case(tmp_path / "ppo", keep=1)
    case.save(20)
    case.save(10)
    assert "step_000010" in case.names()


def test_when_all_are_damaged_each_is_named(case: Case) -> None:
    for step in (10, 20):
        cut(case.save(step).folder / TENSOR)
    assert case.store.latest() is None
    assert ["step_000020" in text for text in case.warnings] == [True, False]


def test_leftovers_of_a_crash_are_removed(case: Case) -> None:
    case.save(10)
    leftover = case.folder / ".step_000020.partial" / "policy"
    leftover.mkdir(parents=True)
    (leftover / "model.safetensors").write_bytes(b"half")
    assert_whole(case.store.latest(), 10)
    assert case.names() == ["step_000010"]


def test_another_runs_checkpoint_is_refused(case: Case) -> None:
    case.save(10)
    other = Case(case.folder, run_id="other")
    with pytest.raises(CheckpointError, match="run_id=run, expected other"):
        other.store.latest()


def test_another_stages_checkpoint_is_refused(case: Case) -> None:
    case.save(10)
    moved = case.folder.rename(case.folder.with_name("sft"))
    with pytest.raises(CheckpointError, match="stage=ppo, expected sft"):
        Case(moved).store.latest()


def test_a_newer_schema_is_refused(case: Case) -> None:
    manifest = case.save(10).folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"schema_version": 1', '"schema_version": 2'))
    with pytest.raises(CheckpointError, match=r"schema_version=2.*upgrade"):
        case.store.latest()


def die_at(event_number: int) -> None:
    """Kill this process just before its n-th file operation."""
    seen = 0

    def hook(event: str, _: tuple[object, ...]) -> None:
        nonlocal seen
        if event in {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir"}:
            seen += 1
            if seen == event_number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def killed(event_number: int, work: Callable[[], object]) -> bool:
    """Run work in a child that is killed at its n-th file operation; return whether it was."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            die_at(event_number)
            work()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the save failed"
    return os.WIFSIGNALED(status)


def sweep(start: Case, step: int, legal: set[int]) -> int:
    """Kill a save of `step` at every file operation; the state must be whole each time."""
    for event_number in range(1, 500):
        folder = start.folder.parent / str(event_number) / "ppo"
        shutil.copytree(start.folder, folder)
        was_killed = killed(event_number, lambda folder=folder: Case(folder, keep=1).save(step))
        after = Case(folder)
        found = after.store.latest()
        assert found is not None
        assert found.step in legal
        assert_whole(found, found.step)
        if not was_killed:
            return event_number
    raise AssertionError("the save never ended")


def test_a_kill_at_any_file_operation_leaves_old_or_new(case: Case) -> None:
    case.save(10)
    case.save(20)
    assert sweep(case, 30, {20, 30}) > 20


def test_a_kill_while_a_step_is_replaced_leaves_old_or_new(case: Case) -> None:
    case.save(20)
    assert sweep(case, 20, {20}) > 20


def test_a_save_after_a_kill_works(case: Case) -> None:
    case.save(10)
    assert killed(9, lambda: case.save(20))
    assert_whole(Case(case.folder).save(20), 20)
    assert case.names() == ["step_000010", "step_000020"]

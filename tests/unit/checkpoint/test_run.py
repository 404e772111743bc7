"""A run folder has one owner at a time and one set of deciding settings for good."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlhf.catalog.stages import PPO, SFT, STAGES_OF
from rlhf.checkpoint.run import open_run
from rlhf.config.load import load
from rlhf.errors import CheckpointError, ConfigError

CONFIG: dict[str, object] = {
    "seed": 0,
    "sft": {"num_epochs": 1},
    "ppo": {"kl_coef": 0.05, "num_steps": 10},
    "tracking": {"project": "a"},
}
HOLDER = """
import sys, time
from pathlib import Path
from rlhf.checkpoint.run import open_run
from rlhf.config.load import load
from rlhf.errors import ConfigError
print("ready", flush=True)
sys.stdin.readline()
try:
    run = open_run(Path(sys.argv[1]), {"seed": 0}, "ppo")
    print("owner", run.run_id, flush=True)
    time.sleep(60)
except ConfigError as error:
    print("refused", error, flush=True)
"""


def begin(folder: Path, config: dict[str, object], command: str) -> str:
    """Let all stages of a command begin; return the run's id."""
    with open_run(folder, config, command) as run:
        for stage in STAGES_OF[command]:
            run.claim(stage, config)
        return run.run_id


def changed(**sections: object) -> dict[str, object]:
    return {**CONFIG, **sections}


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(folder)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def go(*processes: subprocess.Popen[str]) -> None:
    """Let processes that have finished importing open the folder at the same time."""
    for process in processes:
        assert read_line(process) == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_the_same_settings_go_on_under_the_same_id(tmp_path: Path) -> None:
    with open_run(tmp_path / "a" / "run", CONFIG, "ppo") as first:
        assert first.path == tmp_path / "a" / "run"
    with open_run(tmp_path / "a" / "run", CONFIG, "ppo") as second:
        assert second.run_id == first.run_id
    with open_run(tmp_path / "b", CONFIG, "ppo") as other:
        assert other.run_id != first.run_id


def test_other_settings_are_refused_with_both_values_and_nothing_changes(tmp_path: Path) -> None:
    begin(tmp_path, CONFIG, "ppo")
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(ConfigError) as caught:
        open_run(tmp_path, changed(ppo={"kl_coef": 0.1, "num_steps": 10}, seed=3), "ppo")
    assert str(caught.value) == (
        f"run_dir={tmp_path} belongs to another run: differs in ppo.kl_coef (0.05 there, 0.1 "
        "here), seed (0 there, 3 here); choose another run_dir, or delete it"
    )
    assert (tmp_path / "run.json").read_bytes() == before
    open_run(tmp_path, CONFIG, "ppo").release()


def test_a_command_that_fails_before_a_stage_begins_leaves_the_folder_free(tmp_path: Path) -> None:
    with open_run(tmp_path, CONFIG, "pipeline") as run:
        run.claim(SFT, CONFIG)
    other = changed(ppo={"kl_coef": 0.1, "num_steps": 10})
    with open_run(tmp_path, other, "pipeline") as run:
        run.claim(SFT, other)
        run.claim(PPO, other)
    with pytest.raises(ConfigError, match=r"differs in ppo.kl_coef \(0.1 there, 0.05 here\);"):
        open_run(tmp_path, CONFIG, "pipeline")


def test_many_differences_are_counted(tmp_path: Path) -> None:
    begin(tmp_path, {f"k{i}": 0 for i in range(9)}, "ppo")
    with pytest.raises(ConfigError, match=r"k5 \(0 there, 1 here\) and 3 more; choose"):
        open_run(tmp_path, {f"k{i}": 1 for i in range(9)}, "ppo")


def test_free_settings_may_change(tmp_path: Path) -> None:
    begin(tmp_path, CONFIG, "ppo")
    longer = {"kl_coef": 0.05, "num_steps": 99}
    open_run(tmp_path, changed(tracking={"project": "b"}, ppo=longer), "ppo").release()


def test_commands_share_a_folder_but_keep_each_stages_settings(tmp_path: Path) -> None:
    run_id = begin(tmp_path, CONFIG, "sft")
    ppo = {"kl_coef": 0.7, "num_steps": 10}
    assert begin(tmp_path, changed(ppo=ppo, sft={"num_epochs": 5}), "ppo") == run_id
    with pytest.raises(ConfigError, match=r"differs in ppo.kl_coef \(0.7 there, 0.05 here\);"):
        open_run(tmp_path, CONFIG, "pipeline")
    with pytest.raises(ConfigError, match=r"differs in sft.num_epochs \(1 there, 5 here\);"):
        open_run(tmp_path, changed(ppo=ppo, sft={"num_epochs": 5}), "pipeline")
    open_run(tmp_path, changed(ppo=ppo), "pipeline").release()
    open_run(tmp_path, changed(seed=9), "evaluate").release()


def test_a_folder_of_an_older_release_goes_on_without_the_settings_it_does_not_know(
    tmp_path: Path,
) -> None:
    config = load({}).model_dump(mode="json")
    begin(tmp_path, config, "ppo")
    record = json.loads((tmp_path / "run.json").read_text())
    del record["stages"]["ppo"]["ppo.discount"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    with open_run(tmp_path, config, "ppo") as run:
        assert run.deciding(PPO, config) == record["stages"]["ppo"]
    config["ppo"]["discount"] = 0.9
    with pytest.raises(ConfigError, match=r"differs in ppo.discount \(not set there, 0.9 here\);"):
        open_run(tmp_path, config, "ppo")


def test_a_foreign_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(ConfigError, match=r"holds thesis\.tex but no run\.json"):
        open_run(tmp_path, CONFIG, "ppo")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_cut_off_before_its_first_record_is_usable(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("")
    (tmp_path / ".run.json.tmp").write_text("{")
    begin(tmp_path, CONFIG, "ppo")
    assert json.loads((tmp_path / "run.json").read_text())["stages"]["ppo"]["seed"] == 0


@pytest.mark.parametrize("name", ["file", "file/run"])
def test_a_file_in_the_way_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match=r"run_dir=.*choose a folder") as caught:
        open_run(tmp_path / name, CONFIG, "ppo")
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


def test_no_permission_is_one_line(tmp_path: Path) -> None:
    # Not even root may make folders in /proc, so the test means the same for every user.
    with pytest.raises(ConfigError, match=r"run_dir=/proc/run cannot be used: .*may write to"):
        open_run(Path("/proc/run"), CONFIG, "ppo")
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(ConfigError, match="Permission denied"):
            open_run(tmp_path / "run", CONFIG, "ppo")


@pytest.mark.parametrize(
    "content", ["", "[]", '{"run_id": "a"}', '{"run_id": 1, "stages": {}, "schema_version": 1}']
)
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"run\.json"):
        open_run(tmp_path, CONFIG, "ppo")


def test_a_newer_record_is_refused(tmp_path: Path) -> None:
    open_run(tmp_path, CONFIG, "ppo").release()
    record = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**record, "schema_version": 99}))
    with pytest.raises(CheckpointError, match="schema_version=99"):
        open_run(tmp_path, CONFIG, "ppo")


def test_what_a_kill_left_half_done_is_cleared(tmp_path: Path) -> None:
    open_run(tmp_path, CONFIG, "ppo").release()
    for name in (".policy.partial", ".sft.old", ".value.old", "value", "policy"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "of").write_text(name)
    for name in (".metrics.jsonl.4711", ".run.json.tmp", "metrics.jsonl", ".lock"):
        (tmp_path / name).write_text("")
    open_run(tmp_path, CONFIG, "ppo").release()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".lock", "run.json", "metrics.jsonl", "policy", "sft", "value"}
    assert (tmp_path / "sft/of").read_text() == ".sft.old"  # it was being replaced
    assert (tmp_path / "value/of").read_text() == "value"


def test_a_second_process_is_refused_at_once_until_the_first_is_killed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    holder = start(folder)
    try:
        go(holder)
        assert read_line(holder).startswith("owner")
        started = time.monotonic()
        with pytest.raises(ConfigError, match=f"in use by `rlhf ppo`, process {holder.pid} on "):
            open_run(folder, CONFIG, "sft")
        assert time.monotonic() - started < 1
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        open_run(folder, {"seed": 0}, "ppo").release()
    finally:
        end(holder)


def test_of_two_racing_processes_one_wins(tmp_path: Path) -> None:
    racers = [start(tmp_path / "run") for _ in range(2)]
    try:
        go(*racers)
        words = sorted(read_line(racer).split()[0] for racer in racers)
        assert words == ["owner", "refused"]
    finally:
        for racer in racers:
            end(racer)

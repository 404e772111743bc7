"""A run's folder: locked by one process, and tied to the settings that decide its results."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import socket
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self, cast

from rlhf.catalog.stages import STAGES_OF, StageRecord
from rlhf.checkpoint.artifact import identity
from rlhf.checkpoint.files import read_json, write_json
from rlhf.checkpoint.settings import deciding, differences
from rlhf.errors import CheckpointError, ConfigError

SCHEMA_VERSION = 3
"""Layout of a new run folder; older ones keep theirs and what counted in it. 2 counts tokenizers
and templates, 3 has a record in RUN/start."""
RECORDED_START = 3
RUN_FILE = "run.json"
LOCK_FILE = ".lock"
TRIAL_LOG = "trial.log"
"""Output of a sweep's trial that no terminal shows; the sweep creates it before the run."""
_SHOWN_DIFFERENCES = 6


@dataclass(frozen=True, slots=True)
class RunFolder:
    """An open, locked run folder; a context manager that releases it."""

    path: Path
    """RUN."""
    run_id: str
    """Random name of the run; every checkpoint carries it."""
    lock: int
    """Open file descriptor that holds the lock."""
    schema_version: int = SCHEMA_VERSION
    """Layout of the folder."""
    known: Mapping[str, Collection[str]] = field(default_factory=dict[str, Collection[str]])
    """The settings that count for each stage that has begun in the folder, by dotted path."""

    def deciding(self, stage: StageRecord, config: Mapping[str, object]) -> dict[str, object]:
        """Return the settings that decide a stage's result in this folder, by dotted path."""
        return deciding(stage, config, self.known.get(stage.name))

    @property
    def records_start(self) -> bool:
        """Whether RUN/start, where there is one, has a record of its files."""
        return self.schema_version >= RECORDED_START

    def identity(self, path: Path) -> object:
        """Return the hashes by which a stage of this folder identifies a model or file."""
        return identity(path, self.schema_version)

    def claim(self, stage: StageRecord, config: Mapping[str, object]) -> None:
        """Keep the settings that decide a stage's result, as it begins; from now on they stay.

        Raises:
            CheckpointError: when the disk is full or fails.
        """
        record = read_record(self.path / RUN_FILE)
        if stage.name not in record.stages:
            stages = {**record.stages, stage.name: deciding(stage, config)}
            write_json(self.path / RUN_FILE, asdict(replace(record, stages=stages)))

    def release(self) -> None:
        """Release the lock; call once. The kernel releases it when the process is killed."""
        os.close(self.lock)

    def __enter__(self) -> Self:
        """Return the folder."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release the folder."""
        self.release()


@dataclass(frozen=True, slots=True)
class Record:
    """The content of run.json."""

    run_id: str
    stages: dict[str, dict[str, object]]
    """Settings that decide the result of each stage that has begun, by dotted path."""
    schema_version: int


def open_run(run_dir: Path, config: Mapping[str, object], command: str) -> RunFolder:
    """Create or reopen a run folder and lock it until release.

    Args:
        run_dir: RUN; made with its parents when missing.
        config: The whole configuration, nested, as JSON can keep it.
        command: sft, reward_model, ppo or pipeline; the settings of its stages must be those with
            which they have begun here. Any other command only takes the lock.

    Raises:
        ConfigError: when the folder cannot be made, is in use, is not a run's, or belongs to a
            run with other settings. Nothing is changed in it then.
        CheckpointError: when its run.json is damaged or of a newer release.
    """
    _make(run_dir)
    lock = _lock(run_dir, command)
    try:
        _tidy(run_dir)
        record = _record(run_dir, config, command)
    except BaseException:
        os.close(lock)
        raise
    return RunFolder(run_dir, record.run_id, lock, record.schema_version, record.stages)


def check_run(run_dir: Path, config: Mapping[str, object], command: str) -> None:
    """Check that `open_run` would accept a folder, as far as possible without changing anything.

    Raises:
        ConfigError, CheckpointError: as `open_run` does.
    """
    if run_dir.exists():
        _check_names(run_dir)
    if (run_dir / RUN_FILE).exists():
        _compare(run_dir, read_record(run_dir / RUN_FILE), config, command)


def _make(run_dir: Path) -> None:
    """Create the folder, or check that an existing one is a run's, and that it is writable."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise _is_file(run_dir) from error
    except OSError as error:
        raise _unusable(run_dir, error) from error
    _check_names(run_dir)


def _check_names(run_dir: Path) -> None:
    try:
        names = {path.name for path in run_dir.iterdir()}
    except NotADirectoryError as error:
        raise _is_file(run_dir) from error
    except OSError as error:
        raise _unusable(run_dir, error) from error
    ours = {LOCK_FILE, f".{RUN_FILE}.tmp", TRIAL_LOG}
    if RUN_FILE not in names and names - ours:
        raise ConfigError(
            f"run_dir={run_dir} holds {min(names - ours)} but no {RUN_FILE}, so it is no run's "
            "folder; choose a new or empty one"
        )


def _tidy(run_dir: Path) -> None:
    """Clear what a kill left half done; a model that was being replaced comes back."""
    for old in run_dir.glob(".*.old"):
        home = run_dir / old.name[1 : -len(".old")]
        shutil.rmtree(old) if home.exists() else old.rename(home)
    for partial in run_dir.glob(".*.partial"):
        shutil.rmtree(partial)
    for draft in run_dir.iterdir():
        if re.fullmatch(r"\..+\.(\d+|tmp)", draft.name) and draft.is_file():
            draft.unlink()


def _lock(run_dir: Path, command: str) -> int:
    """Take the lock and sign it; the kernel drops it when this process ends in any way."""
    try:
        lock = os.open(run_dir / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise _unusable(run_dir, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        owner = {"pid": os.getpid(), "host": socket.gethostname(), "command": command}
        os.ftruncate(lock, 0)
        os.pwrite(lock, json.dumps(owner).encode(), 0)
    except BlockingIOError as error:
        owner = _owner(lock)
        os.close(lock)
        raise ConfigError(
            f"run_dir={run_dir} is in use by {owner}; wait for it to end, or choose another run_dir"
        ) from error
    except OSError as error:
        os.close(lock)
        raise _unusable(run_dir, error) from error
    return lock


def _owner(lock: int) -> str:
    """Return which process signed the lock; the signature follows an instant after locking."""
    try:
        owner = json.loads(os.pread(lock, 4096, 0))
    except ValueError:
        return "another process"
    return f"`rlhf {owner['command']}`, process {owner['pid']} on {owner['host']}"


def _record(run_dir: Path, config: Mapping[str, object], command: str) -> Record:
    """Return the folder's record, compared with this command; make one for a new folder."""
    path = run_dir / RUN_FILE
    if path.exists():
        record = read_record(path)
        _compare(run_dir, record, config, command)
    else:
        record = Record(secrets.token_hex(8), {}, SCHEMA_VERSION)
        write_json(path, asdict(record))
    return record


def _compare(run_dir: Path, there: Record, config: Mapping[str, object], command: str) -> None:
    """Refuse other settings than those with which a command's stages have begun."""
    changed: dict[str, None] = {}
    for stage in STAGES_OF.get(command, ()):
        known = there.stages.get(stage.name)
        if known is not None:
            changed.update(dict.fromkeys(differences(known, deciding(stage, config, known))))
    if changed:
        raise ConfigError(_belongs_elsewhere(run_dir, sorted(changed)))


def read_record(path: Path) -> Record:
    """Return what a run folder's run.json says.

    Raises:
        CheckpointError: when it is damaged or of a newer release.
    """
    record = read_json(path)
    entries = cast("dict[str, Any]", record) if isinstance(record, dict) else {}
    version = entries.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise CheckpointError(
            f"{path} has schema_version={version}, this release reads up to {SCHEMA_VERSION}; "
            "use the release that wrote it, or choose another run_dir"
        )
    kinds = {name: type(value) for name, value in entries.items()}
    if kinds != {"run_id": str, "stages": dict, "schema_version": int}:
        raise CheckpointError(f"{path} is damaged; choose another run_dir, or delete {path.parent}")
    return Record(**entries)


def _belongs_elsewhere(run_dir: Path, changed: list[str]) -> str:
    more = len(changed) - _SHOWN_DIFFERENCES
    shown = ", ".join(changed[:_SHOWN_DIFFERENCES]) + (f" and {more} more" if more > 0 else "")
    return (
        f"run_dir={run_dir} belongs to another run: differs in {shown}; "
        "choose another run_dir, or delete it"
    )


def _is_file(run_dir: Path) -> ConfigError:
    return ConfigError(f"run_dir={run_dir} is a file; choose a folder")


def _unusable(run_dir: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"run_dir={run_dir} cannot be used: {error.strerror or error}; "
        "choose a folder this user may write to"
    )

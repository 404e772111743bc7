"""Reproduce: a finished run again, in a new folder with its settings, and compared with it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import cast

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rlhf.checkpoint.files import write_json
from rlhf.checkpoint.settings import differences
from rlhf.cli.diff import Difference, compare_runs
from rlhf.commands.table import run_command
from rlhf.config.commands import stages_of
from rlhf.config.experiment import Experiment
from rlhf.config.load import load
from rlhf.data.fingerprint import sha256_files
from rlhf.errors import ConfigError, TrainingError
from rlhf.observe.console import Console
from rlhf.observe.files import MANIFEST, read_object
from rlhf.observe.manifest import surroundings
from rlhf.stages.inputs import sources_of

REPRODUCTION = "reproduction.json"
USAGE = "rlhf reproduce RUN [KEY=VALUE ...]"
NOT_COMPARED = ("host", "system")
"""Facts on the machine that are not compared: its name, and its kernel's version."""


def reproduce(arguments: list[str]) -> None:
    """Run RUN's commands again in RUN-reproduced (or run_dir=...), and compare.

    Args:
        arguments: RUN, then overrides, as typed.

    Raises:
        ConfigError: when RUN is no finished run, its data have changed, or the new folder already
            has a result. Nothing was run then.
        TrainingError: when a result differs by more than the tolerance.
        RLHFError: an error of the commands; the same command line then resumes.
    """
    # A trial's folder is named after its settings, so a name with = may well be a folder.
    if not arguments or not (Path(arguments[0]).is_dir() or _is_plain(arguments[0])):
        raise ConfigError(f"name the folder of a finished run: {USAGE}")
    run, overrides = Path(arguments[0]), arguments[1:]
    manifest = _manifest(run)
    plan = {
        command: resettle(run, cast("Mapping[str, object]", settings), overrides)
        for command, settings in _section(manifest, "settings_of").items()
    }
    _check_finished(run, manifest, plan)
    _check_data(run, manifest, plan)
    console = Console(live=False)
    asked = [f"settings.{word}" for word in overrides if not word.startswith("run_dir=")]
    changed = [*_changed(manifest), *asked]
    for line in changed:
        console.note(f"differs now: {line}")
    if not changed:
        console.note("settings, versions, code and hardware are those of the run")
    sys.argv = ["rlhf reproduce", *arguments]
    for command, experiment in plan.items():
        run_command(command, experiment)
    target = Path(next(iter(plan.values())).run_dir)
    _report(run, target, changed, compare_runs(run, target))


def _is_plain(word: str) -> bool:
    return not word.startswith("-") and "=" not in word


def resettle(run: Path, settings: Mapping[str, object], overrides: list[str]) -> Experiment:
    """Return a run's settings with overrides on top, in a folder of its own.

    Raises:
        ConfigError: for a setting that is none, and for the run's own folder.
    """
    wrong = [word for word in overrides if "=" not in word or word.startswith("-")]
    if wrong:
        raise ConfigError(f"{wrong[0]}: not a setting; {USAGE}")
    typed = [word.lstrip("+") for word in (f"run_dir={run}-reproduced", *overrides)]
    try:
        merged = OmegaConf.merge(OmegaConf.create(dict(settings)), OmegaConf.from_dotlist(typed))
        experiment = load(cast("dict[str, object]", OmegaConf.to_container(merged, resolve=True)))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{shlex.join(overrides)}: {str(error).splitlines()[0]}") from error
    target = Path(experiment.run_dir)
    if target.resolve() == run.resolve():
        raise ConfigError(f"run_dir={target} is the run itself; choose a new folder")
    if (target / REPRODUCTION).exists():
        raise ConfigError(
            f"run_dir={target} already holds a reproduction; choose a new folder, or delete it"
        )
    return experiment


def _manifest(run: Path) -> dict[str, object]:
    manifest = read_object(run / MANIFEST)
    if not isinstance(manifest.get("settings_of"), dict):
        raise ConfigError(
            f"{run} has no {MANIFEST} that says which commands ran with which settings; "
            "give the folder of a run of this release"
        )
    return manifest


def _check_finished(run: Path, manifest: dict[str, object], plan: dict[str, Experiment]) -> None:
    done = _section(manifest, "stages")
    for command, experiment in plan.items():
        open_stages = [
            stage.name for stage in stages_of(command, experiment) if stage.name not in done
        ]
        if open_stages:
            raise ConfigError(
                f"{run} is not finished: {', '.join(open_stages)} never ended; "
                f"go on first with {manifest.get('command')}"
            )


def _check_data(run: Path, manifest: dict[str, object], plan: dict[str, Experiment]) -> None:
    """Refuse data that the run did not learn from; a moved file with the same content will do."""
    known = {
        str(cast("Mapping[str, object]", entry).get("sha256"))
        for entry in _section(manifest, "data").values()
    }
    problems: dict[str, None] = {}
    for command, experiment in plan.items():
        sources = sources_of(experiment, stages_of(command, experiment))
        for path, digest in sha256_files(sources).items():
            if digest not in known:
                then = _section(_section(manifest, "data"), path).get("sha256", "not read")
                problems[f"{path}: sha256 {str(then)[:12]} there, {digest[:12]} now"] = None
    if problems:
        raise ConfigError(
            "\n".join(problems)
            + f"\nthe data are not those of {run}, so neither would the results be; bring them "
            "back, or name their new place (data.prompts=... and the like)"
        )


def _changed(manifest: dict[str, object]) -> list[str]:
    """Return the differences in versions, code and machine, a line each."""
    found: list[str] = []
    for name, here in surroundings()[0].items():
        then = _section(manifest, name)
        kept = {key: value for key, value in then.items() if key not in NOT_COMPARED}
        now = {key: value for key, value in here.items() if key not in NOT_COMPARED}
        found += [f"{name}.{line}" for line in differences(kept, now)]
    return found


def _report(run: Path, target: Path, changed: list[str], found: list[Difference]) -> None:
    """Print the table, write RUN-reproduced/reproduction.json, and fail when results differ."""
    apart = [line for line in found if line.difference]
    same = len(found) - len(apart)
    rows = [("all others" if apart else "all", f"{same} compared", "identical")] if same else []
    rows = [(line.what, f"{line.difference:.3g}", line.verdict) for line in apart] + rows
    Console(live=False).table(f"{run} and {target}", ("result", "max difference", "verdict"), rows)
    unequal = [line.what for line in found if not line.is_equal]
    lines = [{**asdict(line), "difference": str(line.difference)} for line in found]
    result = {"of": str(run), "changed": changed, "is_equal": not unequal, "compared": lines}
    write_json(target / REPRODUCTION, result)
    if unequal:
        raise TrainingError(
            f"{target} did not reproduce {run}: {len(unequal)} of {len(found)} results differ, "
            f"such as {unequal[0]}; {len(changed)} things around the run have changed since"
        )


def _section(of: Mapping[str, object], name: str) -> dict[str, object]:
    value = of.get(name)
    return cast("dict[str, object]", value) if isinstance(value, dict) else {}

"""Proves the Dockerfile without an engine: every step in a root of its own, then the image.

    python docker/prove.py [cpu|cuda]      needs root, unshare, and Debian's debootstrap

Debian's own Python 3.11 stands in for the base image, which is the same release of Debian. Each
stage is a copy of its parent's root; RUN is chroot, COPY is a copy of what .dockerignore lets
through. At the end the entrypoint runs as the image's user, without capabilities and without a
compiler, and does a small pipeline on Ray and DeepSpeed. TORCH_OPTIONS and PIP_* are handed on,
with the files they name. What the steps say is in build/image/STAGE.log.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "image"
PACKAGES = "python3,python3-venv,python-is-python3,ca-certificates"
BASE_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
COMPILERS = ("cc", "gcc", "g++", "c++", "clang", "nvcc")


@dataclass
class Stage:
    """One FROM of the Dockerfile and what follows it."""

    name: str
    parent: str
    steps: list[tuple[str, str]] = field(default_factory=list)
    """Instruction in capitals, and its arguments on one line."""

    def every(self, word: str) -> list[str]:
        """Return the arguments of every instruction of that name."""
        return [rest for name, rest in self.steps if name == word]


@dataclass
class State:
    """What a stage hands on to the stages made from it."""

    env: dict[str, str] = field(default_factory=lambda: {"PATH": BASE_PATH})
    folder: str = "/"
    user: str = "0"
    shell: list[str] = field(default_factory=lambda: ["/bin/sh", "-c"])


def parse(text: str) -> list[Stage]:
    """Return the stages of a Dockerfile; what stands before the first FROM is left out."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, joined.splitlines())):
        word, _, rest = line.partition(" ")
        if word.upper() == "FROM":
            parent, _, name = rest.partition(" AS ")
            stages.append(Stage(name.strip(), parent.strip()))
        elif stages:
            stages[-1].steps.append((word.upper(), rest.strip()))
    return stages


def needed(stages: list[Stage], target: str) -> list[Stage]:
    """Return the stages a target is made of, in order."""
    by_name = {stage.name: stage for stage in stages}
    wanted, queue = set[str](), [target]
    while queue:
        stage = by_name[queue.pop()]
        wanted.add(stage.name)
        copied = [copy.partition("--from=")[2].partition(" ")[0] for copy in stage.every("COPY")]
        queue += [name for name in (stage.parent, *copied) if name in by_name]
    return [stage for stage in stages if stage.name in wanted]


def main(target: str) -> int:
    """Prove one target; print a line a step with its seconds."""
    missing = [tool for tool in ("debootstrap", "unshare") if shutil.which(tool) is None]
    if os.geteuid() or missing:
        sys.stderr.write(f"prove.py needs root and {', '.join(missing) or 'no more'}\n")
        return 2
    began = time.monotonic()
    stages = needed(parse((ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")), target)
    states: dict[str, State] = {}
    for stage in stages:
        states[stage.name] = build(stage, states)
    use(WORK / target, states[target], stages[-1])
    say(f"{target}: proven", began)
    return 0


def build(stage: Stage, states: dict[str, State]) -> State:
    """Make the root of one stage and carry out its steps."""
    root = WORK / stage.name
    shutil.rmtree(root, ignore_errors=True)
    WORK.mkdir(parents=True, exist_ok=True)
    root.with_suffix(".log").unlink(missing_ok=True)
    began = time.monotonic()
    if stage.parent in states:
        run(root, ["cp", "-a", "--reflink=auto", str(WORK / stage.parent), str(root)])
        parent = states[stage.parent]
        state = State(dict(parent.env), parent.folder, parent.user, list(parent.shell))
    else:
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm"]
        run(root, [*command, str(root)])
        bring_settings(root)
        state = State()
    say(f"{stage.name}: FROM {stage.parent}", began)
    for word, rest in stage.steps:
        began = time.monotonic()
        step(root, state, word, rest)
        say(f"{stage.name}: {word} {rest}", began)
    return state


def step(root: Path, state: State, word: str, rest: str) -> None:
    """Carry out one instruction."""
    match word:
        case "RUN":
            chroot(root, state, [*state.shell, rest])
        case "COPY":
            copy(root, state, rest.split())
        case "ENV" | "ARG":
            define(state, rest, given=os.environ if word == "ARG" else {})
        case "WORKDIR":
            state.folder = rest
            (root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
        case "USER":
            state.user = rest
        case "SHELL":
            state.shell = json.loads(rest)
        case _:
            if word not in ("ENTRYPOINT", "CMD"):
                raise SystemExit(f"prove.py knows no {word}")


def define(state: State, pairs: str, given: Mapping[str, str]) -> None:
    """Set variables; what was given from outside goes before the Dockerfile's own value."""
    for name, _, value in (pair.partition("=") for pair in shlex.split(pairs)):
        state.env[name] = given.get(name) or expand(value, state.env)


def run(root: Path, command: list[str]) -> None:
    """Run a command; what it says goes to the stage's log, and is shown when it fails."""
    log = root.with_suffix(".log")
    with log.open("a") as out:
        done = subprocess.run(command, check=False, stdout=out, stderr=out)
    if done.returncode:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        raise SystemExit("\n".join([*lines[-20:], f"ended with {done.returncode}; see {log}"]))


def expand(value: str, env: dict[str, str]) -> str:
    """Put in the variables known so far."""
    return re.sub(r"\$\{?(\w+)\}?", lambda found: env.get(found[1], ""), value)


def copy(root: Path, state: State, words: list[str]) -> None:
    """Carry out COPY; from the context only what .dockerignore lets through."""
    source, goal = ROOT, words[-1]
    if words[0].startswith("--from="):
        source = WORK / words.pop(0).partition("=")[2]
    else:
        sent = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        held_back = [name for name in words[:-1] if f"!{name.removeprefix('./')}" not in sent]
        if held_back:
            raise SystemExit(f".dockerignore holds back {held_back}")
    to = root / str(Path(state.folder) / goal).lstrip("/")
    for name in words[:-1]:
        thing = source / name.lstrip("/")
        if thing.is_dir():
            shutil.copytree(
                thing,
                to,
                symlinks=True,
                dirs_exist_ok=True,
                ignore=shutil.ignore_patterns("__pycache__") if source == ROOT else None,
            )
        else:
            to.mkdir(parents=True, exist_ok=True)
            shutil.copy2(thing, to)


def bring_settings(root: Path) -> None:
    """Put what the network and pip of this machine need into the root, at the same paths."""
    named = [os.environ[key] for key in os.environ if key.startswith("PIP_")]
    paths = ["/etc/resolv.conf", "/etc/hosts", *(word for value in named for word in value.split())]
    for path in map(Path, paths):
        if path.is_absolute() and path.exists():
            to = root / str(path).lstrip("/")
            to.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, to, dirs_exist_ok=True)
            else:
                shutil.copy2(path, to)


def chroot(root: Path, state: State, command: list[str]) -> None:
    """Run a command in the root as the state's user, in namespaces of its own."""
    env = {**{k: v for k, v in os.environ.items() if k.startswith("PIP_")}, **state.env}
    ids = ["--reuid", state.user, "--regid", state.user, "--clear-groups"]
    drop = ["--no-new-privs", "--bounding-set=-all"] if state.user != "0" else []
    variables = [f"{name}={value}" for name, value in env.items()]
    inside = shlex.join(["setpriv", *ids, *drop, "env", "-i", *variables, *command])
    script = (
        f"mount -t proc proc {root}/proc && mount --rbind /dev {root}/dev && "
        f"exec chroot {root} sh -c {shlex.quote(f'cd {state.folder} && exec {inside}')}"
    )
    run(root, ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-euc", script])


def use(root: Path, state: State, last: Stage) -> None:
    """Run the image as a user would: its default command, then a pipeline; no compiler is there."""
    entry, arguments = (json.loads(last.every(word)[-1]) for word in ("ENTRYPOINT", "CMD"))
    folders = [root / folder.lstrip("/") for folder in BASE_PATH.split(":")]
    found = [tool for tool in COMPILERS if any((folder / tool).exists() for folder in folders)]
    if found or state.user == "0":
        raise SystemExit(f"the image has {found} and runs as {state.user}")
    state.env["HOME"] = state.folder
    for command in (arguments, ["--version"], small_pipeline(root, state)):
        began = time.monotonic()
        chroot(root, state, [*entry, *command])
        say(f"{last.name}: {shlex.join([*entry, *command[:2]])}", began)


def small_pipeline(root: Path, state: State) -> list[str]:
    """Write a few rows into the image's home; return the arguments of a pipeline over them."""
    rows = {
        "demonstrations": {"prompt": "the film was", "completion": " good"},
        "preferences": {"prompt": "the film was", "chosen": " good", "rejected": " bad"},
        "prompts": {"prompt": "the film was"},
    }
    for name, row in rows.items():
        numbered = [{**row, "prompt": f"{number}: {row['prompt']}"} for number in range(32)]
        path = root / state.folder.lstrip("/") / f"{name}.jsonl"
        path.write_text("".join(json.dumps(one) + "\n" for one in numbered), encoding="utf-8")
    new = "hidden_size=32 num_layers=2 num_heads=2 vocab_size=300 context=96"
    settings = (
        "run_dir=runs/first sft.batch_size=8 reward_model.batch_size=8 ppo.num_steps=2 "
        "ppo.rollout_batch_size=8 ppo.minibatch_size=4 generation.max_new_tokens=8 "
        "cluster.oversubscribe=true"
    )
    data = [f"data.{name}={name}.jsonl" for name in rows]
    model = [f"policy.new.{setting}" for setting in new.split()]
    return ["pipeline", *settings.split(), *data, *model]


def say(what: str, began: float) -> None:
    """Print what was done and how long it took."""
    sys.stdout.write(f"[{time.monotonic() - began:6.1f} s] {what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "cpu"))

"""`rlhf COMMAND [OVERRIDES]`: Hydra composes the configuration, pydantic checks it, a command runs.

Help needs neither torch nor Hydra and answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from rlhf import __version__
from rlhf.catalog.stages import TRAINING
from rlhf.cli.about import ABOUT
from rlhf.commands.exit import end_with
from rlhf.errors import ConfigError

COMMANDS = {name: known.does for name, known in ABOUT.items()}
RUN_ALONE = ("reproduce", "verify")
"""Commands that take a run, and no groups."""
DRIVER_ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "DS_ACCELERATOR": "cpu",
}
"""For libraries the driver imports: no forks after threads, no bars of theirs, no device (peft
imports deepspeed, which would look for one)."""

USAGE = f"""rlhf {__version__}: SFT, reward model and PPO as Ray actors over DeepSpeed engines.

usage: rlhf COMMAND [KEY=VALUE ...]

commands:
{chr(10).join(f"  {name:<13} {text}" for name, text in COMMANDS.items())}

settings are KEY=VALUE (Hydra overrides), the same for every command:
  rlhf data chat.jsonl                         see rows before anything is trained
  rlhf pipeline recipe=quickstart              a whole run from one file
  rlhf ppo recipe=quickstart ppo.kl_coef=0.1   one stage, one setting changed
  rlhf COMMAND --help                          what it does, with an example; all settings
  rlhf COMMAND --cfg job KEY=VALUE             the configuration a run would use
  rlhf ppo -m ppo.kl_coef=0.02,0.05            a sweep, one run a combination
  eval "$(rlhf -sc install=bash)"              complete commands and settings in this shell

the same command again goes on where it stopped. exit codes: 0 done, 2 bad input, 3 a worker
died, 4 training went wrong, 130 interrupted, 143 asked to end (SIGTERM), 1 anything else.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; always ends in SystemExit with the documented code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(USAGE)
        sys.exit(0 if arguments else ConfigError.exit_code)
    if arguments[0] == "--version":
        sys.stdout.write(f"rlhf {__version__}\n")
        sys.exit(0)
    if any(word in ("-sc", "--shell-completion") for word in arguments):
        from rlhf.cli.completion import complete

        end_with(lambda: complete(arguments, COMMANDS))
    end_with(lambda: _dispatch(arguments[0], arguments[1:]))


def _dispatch(command: str, overrides: list[str]) -> None:
    if command not in COMMANDS:
        import difflib

        near = difflib.get_close_matches(command, COMMANDS, n=1)
        hint = f"; nearest: {near[0]}" if near else ""
        raise ConfigError(f"rlhf {command}: there is no such command{hint}; see rlhf --help")
    if command == "submit":
        from rlhf.cli.submit import submit

        sys.exit(submit(overrides, [name for name in COMMANDS if name != "submit"]))
    command, overrides = _two_words(command, overrides)
    if any(word in ("--help", "-h") for word in overrides):
        return _help(command)
    if command == "verify":
        from rlhf.commands.verify import verify_run

        return verify_run(overrides)
    for name, value in DRIVER_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if command == "reproduce":
        from rlhf.cli.reproduce import reproduce

        return reproduce(overrides)
    # Composing takes half a second that help need not wait for.
    from rlhf.cli.bare import settings_of
    from rlhf.cli.compose import compose_and_run

    return compose_and_run(command, settings_of(command, overrides))


def _two_words(command: str, overrides: list[str]) -> tuple[str, list[str]]:
    """Return `doctor ppo` and `data curve` as one command, and what follows it."""
    second = {"doctor": TRAINING, "data": ("curve",)}.get(command, ())
    if overrides and overrides[0] in second:
        return f"{command} {overrides[0]}", overrides[1:]
    return command, overrides


def _help(command: str) -> None:
    from rlhf.cli.help import help_on

    if command in RUN_ALONE:
        sys.stdout.write(help_on(command, ()))
    else:
        from rlhf.cli.compose import group_folders

        sys.stdout.write(help_on(command, group_folders()))


if __name__ == "__main__":
    main()

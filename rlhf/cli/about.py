"""About: what every command does, reads and writes, in words, with an example of each."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from rlhf.catalog.stages import PIPELINE, STAGES, StageRecord

_LABEL: Final = 9
"""Letters of the column of labels."""


@dataclass(frozen=True, kw_only=True, slots=True)
class About:
    """One command, for somebody who has not used it before."""

    does: str
    """In a line, for `rlhf --help`."""
    reads: str
    writes: str
    examples: tuple[str, ...]
    note: str = ""
    """What else there is to know."""
    takes: str = "[GROUP=NAME] [KEY=VALUE ...]"
    """What follows the command."""

    def head(self, command: str, width: int) -> Iterator[str]:
        """Yield the first lines of its help."""
        yield from textwrap.wrap(f"rlhf {command}: {self.does}.", width)
        yield ""
        for name in ("reads", "writes"):
            yield from _wrapped(f"{name}:", getattr(self, name), width)
        for example in self.examples:
            first, *rest = _wrapped("example:", example, width - 2)
            lines = [first, *(f"  {line}" for line in rest)]
            yield from (f"{line} \\" for line in lines[:-1])
            yield lines[-1]
        if self.note:
            yield from ("", *textwrap.wrap(self.note, width, break_on_hyphens=False))
        yield ""
        # A command that stands before another is that command's here.
        takes = self.takes.removeprefix("[COMMAND] ") if " " in command else self.takes
        yield f"usage: rlhf {command} {takes}"


def _wrapped(label: str, text: str, width: int) -> list[str]:
    """Return a text beside its label, in lines that break between words alone."""
    return textwrap.wrap(
        text,
        width,
        initial_indent=label.ljust(_LABEL),
        subsequent_indent=" " * _LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )


_AGAIN: Final = (
    "The same command again goes on where it stopped. -m with several values of a setting makes a "
    "sweep."
)
_REWARD: Final = (
    "; a reward: reward_model.path or the reward model in run_dir, reward.function=FILE.py:NAME, "
    "or several in reward.sources"
)


def _of_stage(stage: StageRecord) -> About:
    return About(
        does=stage.help,
        reads=(
            f"data.{stage.reads} ({stage.rows}), and the model to start from: policy.path, else "
            "what an earlier command left in run_dir"
            + (_REWARD if stage.loop == "rollouts" else "")
        ),
        writes=f"run_dir: the model in {stage.folder}/, metrics.jsonl, report.html",
        examples=(f"rlhf {stage.name} {stage.example}",),
        note=_AGAIN,
    )


ABOUT: Final[Mapping[str, About]] = {
    PIPELINE: About(
        does="train all stages one after another (SFT, reward model, PPO), then evaluate",
        reads="data.demonstrations, data.preferences and data.prompts, and the model of "
        "policy.path; a stage whose data is not given is left out",
        writes="run_dir: the models in sft/, reward_model/ and policy/, metrics.jsonl, report.html",
        examples=("rlhf pipeline recipe=quickstart run_dir=runs/first",),
        note=_AGAIN,
    ),
    **{stage.name: _of_stage(stage) for stage in STAGES},
    "evaluate": About(
        does="let two policies answer the same held-out prompts, and a judge say whose are better",
        reads="run_dir/policy and run_dir/sft (others: evaluation.candidate, evaluation.baseline), "
        "prompts they were not trained on, and evaluation.judge, a function or packaged ratings",
        writes="run_dir/evaluation.json with the win rate and its interval, and report.html",
        examples=("rlhf evaluate run_dir=runs/first evaluation.judge=judge.py:score",),
    ),
    "report": About(
        does="draw the page of a run anew",
        reads="the files of a run in run_dir, finished or not",
        writes="run_dir/report.html",
        examples=("rlhf report run_dir=runs/first",),
    ),
    "export": About(
        does="write the finished policy as one plain model folder, adapters merged",
        reads="run_dir/policy",
        writes="run_dir/export, or export.path; load it with transformers, or serve it",
        examples=("rlhf export run_dir=runs/first export.dtype=bf16",),
    ),
    "data": About(
        does="show rows as training will see them, and all that training would refuse",
        reads="the data that is named, with a model's tokenizer where policy.path names one",
        writes="nothing",
        examples=(
            "rlhf data chat.jsonl",
            "rlhf data policy.path=FOLDER data.prompts=prompts.jsonl",
        ),
        note="A bare FILE is shown as what its columns say: demonstrations, preferences or "
        "prompts. `rlhf data curve` says whether more rankings would help.",
        takes="[FILE ...] [GROUP=NAME] [KEY=VALUE ...]",
    ),
    "plan": About(
        does="predict memory, time and placement of a run, before anything is started",
        reads="the configs of the models, the settings, and plan.hardware (this machine, a name "
        "such as 8xh100, or a file)",
        writes="nothing",
        examples=("rlhf plan recipe=lora_7b plan.hardware=8xh100",),
    ),
    "reproduce": About(
        does="run a finished run again in a new folder, and say what came out different",
        reads="RUN, the folder of the run, and the data that it was made from",
        writes="RUN-reproduced (or run_dir): the new run, and reproduction.json",
        examples=("rlhf reproduce runs/first run_dir=runs/again",),
        note="Compared are metrics of every step, weights, answers and evaluation. Settings typed "
        "here are for where and how: cluster.*, engine.threads, data that moved. exit codes: 0 "
        "equal, 2 cannot be tried (data changed, RUN unfinished), 4 results differ by more than "
        "1e-5.",
        takes="RUN [KEY=VALUE ...]",
    ),
    "verify": About(
        does="check that every file of a run is as it was written",
        reads="RUN: hashes every model and checkpoint, and reads its other files",
        writes="nothing",
        examples=("rlhf verify runs/first",),
        note="A finished stage must have its models, and every step it took. exit codes: 0 all is "
        "as it was written, 2 something is damaged or gone, or RUN is no run.",
        takes="RUN",
    ),
    "doctor": About(
        does="look for all that a run would stumble over, before it costs anything",
        reads="settings, data, models, disk and cluster, as the pipeline would use them; with "
        "another command's name behind it, as that would",
        writes="nothing",
        examples=("rlhf doctor recipe=quickstart", "rlhf doctor ppo recipe=quickstart"),
        takes="[COMMAND] [GROUP=NAME] [KEY=VALUE ...]",
    ),
    "submit": About(
        does="run any of these commands as a job of a Ray cluster, and follow its log",
        reads="this folder, which is copied to the cluster",
        writes="what the command writes",
        examples=("rlhf submit pipeline recipe=quickstart run_dir=/shared/runs/first",),
    ),
}
"""Every command, in the order of `rlhf --help`."""
CURVE: Final = About(
    does="measure whether more rankings would make the reward model better",
    reads="data.preferences, and the model to start from: policy.path, else run_dir/sft",
    writes="run_dir/data_curve: four reward models, trained on 1/8, 1/4, 1/2 and all of the "
    "rankings, and curve.json",
    examples=(
        "rlhf data curve policy.path=FOLDER data.preferences=pairs.jsonl run_dir=runs/curve",
    ),
    note="All are measured on the same held-out rankings (data.test_fraction, or "
    "data.test_preferences). It takes about twice the time of one reward model, and settings are "
    "those of rlhf reward_model.",
)


def about(command: str) -> About:
    """Return what there is to say about a command, such as `ppo`, `doctor ppo` or `data curve`."""
    return CURVE if command == "data curve" else ABOUT[command.partition(" ")[0]]

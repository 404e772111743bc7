"""Cost against rows, against ranks, and the driver's: `scaling.py rows|ranks|driver [fp32|bf16]`.

rows: a rollout, a scoring pass and an update over 1, 2, 4 and 8 times as many rows, on one rank in
this process; a ratio is the time of so many times the rows over the time of the base, and should
be near the factor. Rollouts have at most as many rows at a time as the base. ranks: whole PPO steps
at a fixed number of rows, every role on 1 Ray rank and on 2. Each side is a process with a cluster
of its own; one steps while the other waits. On two cores 1 rank a role already keeps both busy
where roles work at once (scoring, the two updates); --one-core confines that side to one core.
driver: what the driver's process computes in a step, over the step's time, on 1 Ray rank a role.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch

from bench.kit import (
    SHAPES,
    Samples,
    alternate,
    line,
    llama,
    machine,
    medians,
    prompts,
    ratio,
    role_settings,
    rounded,
    stop_ids,
)
from bench.roles import Work, ppo, settings, write_models
from rlhf.algo.seeding import derive_seed
from rlhf.config.optimizer import OptimizerConfig
from rlhf.engine.local import LocalEngine
from rlhf.flow.rollout import Rollout, joined
from rlhf.flow.tensors import length_mask
from rlhf.flow.text import Demonstrations
from rlhf.generation.sampler import sample
from rlhf.generation.sampling import Sampling
from rlhf.models.language_model import LanguageModel
from rlhf.roles.imitation import Imitation
from rlhf.roles.learner import Learner
from rlhf.roles.reference import Reference
from rlhf.stages.ppo import PPO

FACTORS = (1, 2, 4, 8)
MAX_TOKENS = 8192
ROOT = Path(__file__).resolve().parents[1]
SIZES: dict[str, dict[str, int]] = {
    "6M": {"rows": 32, "longest": 64, "rounds": 3},
    "tiny": {"rows": 4, "longest": 6, "rounds": 1},
}


def over_rows(size: str, precision: str, rounds: int | None) -> dict[str, object]:
    """Return the cost of every pass over every number of rows."""
    sizes, shape = SIZES[size], SHAPES[size]
    how = Sampling(
        max_new_tokens=sizes["longest"],
        temperature=1.0,
        batch_size=sizes["rows"],
        stop_ids=stop_ids(shape["vocabulary"], sizes["longest"]),
    )
    optimizer = OptimizerConfig(lr=1e-6)
    model = LanguageModel(llama(shape))
    engine = LocalEngine(model, optimizer, bf16=precision == "bf16")
    learner = Learner(engine, optimizer, max_tokens=MAX_TOKENS, total_updates=10_000)
    scorer = Reference(engine, role_settings(MAX_TOKENS), temperature=1.0)
    imitation = Imitation(engine, MAX_TOKENS)
    texts = [prompts(sizes["rows"] * factor, shape["vocabulary"]) for factor in FACTORS]

    def write(rows: int, seed: int) -> Rollout:
        with engine.gathered():
            seeded = derive_seed(0, "generate", seed)
            return joined(sample(model, texts[rows], how, seeded, "continuous"))

    written = [write(index, 0) for index in range(len(FACTORS))]
    passes: dict[str, Callable[[int, int], object]] = {
        "rollout": write,
        "score": lambda index, _: scorer.step_logprobs(written[index], 0),
        "update": lambda index, _: learner.update(imitation.objective(learned(written[index]))),
    }
    found = {
        name: _costs(run, [len(text) for text in texts], rounds or sizes["rounds"])
        for name, run in passes.items()
    }
    return {
        "settings": {
            "rows": sizes["rows"],
            "longest": sizes["longest"],
            "size": size,
            "precision": precision,
            "shape": dict(shape),
        },
        "num_tokens": [int(rows.lengths_B.sum()) for rows in written],
        "samples": {name: samples for name, (samples, _) in found.items()},
        "medians": {name: medians(samples) for name, (samples, _) in found.items()},
        "ratio": {name: ratios for name, (_, ratios) in found.items()},
    }


def learned(written: Rollout) -> Demonstrations:
    """Return a rollout as texts of which the responses are learned."""
    mask_BT = length_mask(written.lengths_B, written.tokens_BT.shape[1])
    mask_BT &= ~length_mask(written.prompt_lengths_B, mask_BT.shape[1])
    return Demonstrations(
        tokens_BT=written.tokens_BT, lengths_B=written.lengths_B, loss_mask_BT=mask_BT
    )


def _costs(
    run: Callable[[int, int], object], rows: list[int], rounds: int
) -> tuple[Samples, dict[str, float]]:
    """Return samples in rows a second, and the time of each number of rows over the first's."""

    def turn(index: int, number: int) -> float:
        run(index, number + 1)
        return float(rows[index])

    sides = {f"x{FACTORS[index]}": partial(turn, index) for index in range(len(rows))}
    turn(0, -1)
    samples = alternate(sides, rounds)
    seconds = {name: [t["seconds"] for t in turns] for name, turns in samples.items()}
    ratios = {
        name: rounded(median(a / b for a, b in zip(times, seconds["x1"], strict=True)))
        for name, times in seconds.items()
    }
    return samples, ratios


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a whole step has to do."""

    precision: str
    rows: int
    minibatch_size: int
    epochs: int

    def words(self) -> list[str]:
        """Return it as words of the command line."""
        sizes = [f"--num-rows={self.rows}", f"--minibatch-size={self.minibatch_size}"]
        return [self.precision, *sizes, f"--epochs={self.epochs}"]

    def settings(self) -> dict[str, object]:
        """Return it as settings of a result."""
        return {**asdict(self), "size": "6M", "unit": "samples"}


def over_ranks(load: Load, rounds: int, *, one_core: bool) -> dict[str, object]:
    """Return the cost of a PPO step on 1 and on 2 Ray ranks a role."""
    names = {"1_ranks": 1, "2_ranks": 2}
    confined = {1: one_core, 2: False}
    with ExitStack() as stack:
        steps = {
            name: stack.enter_context(_elsewhere(ranks, load, one_core=confined[ranks]))
            for name, ranks in names.items()
        }
        for step in steps.values():
            step(-1)
        samples = alternate(steps, rounds)
    return {
        "settings": {**load.settings(), "one_core": one_core},
        "samples": samples,
        "medians": medians(samples),
        "ratio": {"2_to_1_ranks": ratio(samples, "2_ranks", "1_ranks")},
    }


@contextlib.contextmanager
def _elsewhere(ranks: int, load: Load, *, one_core: bool) -> Iterator[Callable[[int], float]]:
    """Give PPO steps in a process of their own, one a line of its input."""
    words = ["step", *load.words(), f"--ranks={ranks}"]
    words += ["--one-core"] if one_core else []
    with subprocess.Popen(
        [sys.executable, "-m", "bench.scaling", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        asked, answers = process.stdin, process.stdout

        def step(number: int) -> float:
            asked.write(f"{number + 1}\n")
            asked.flush()
            answer = answers.readline()
            if not answer:
                raise RuntimeError(f"the process of {ranks} ranks ended")
            return float(json.loads(answer)["rows"])

        yield step
        asked.close()


@contextlib.contextmanager
def _stage(ranks: int, load: Load) -> Iterator[PPO]:
    """Give a PPO stage on a Ray cluster of this process's own."""
    sizes = {"minibatch_size": load.minibatch_size, "epochs": load.epochs}
    work = Work(shape=SHAPES["6M"], rows=load.rows, **sizes)
    with tempfile.TemporaryDirectory() as name:
        models = write_models(Path(name), work)
        experiment = settings(work, ranks, load.precision, on_ray=True)
        with ppo(Path(name) / "run", models, work, experiment) as stage:
            yield stage


def answer_steps(ranks: int, load: Load) -> None:
    """Take a PPO step for every line of input, a number; answer with a line."""
    answers = sys.stdout
    # What libraries print is not an answer.
    with contextlib.redirect_stdout(sys.stderr), _stage(ranks, load) as stage:
        for asked in sys.stdin:
            stage.step(int(asked))
            print(json.dumps({"rows": load.rows}), file=answers, flush=True)


def of_the_driver(load: Load, rounds: int) -> dict[str, object]:
    """Return what the driver computes in whole steps, in CPU seconds of all its threads."""
    samples: list[dict[str, float]] = []
    with contextlib.redirect_stdout(sys.stderr), _stage(1, load) as stage:
        for number in range(rounds + 1):
            began, computed = time.perf_counter(), time.process_time()
            stage.step(number)
            seconds, driver = time.perf_counter() - began, time.process_time() - computed
            samples.append({"seconds": rounded(seconds), "driver_s": rounded(driver)})
    kept = samples[1:] or samples
    shares = [turn["driver_s"] / turn["seconds"] for turn in kept]
    return {"settings": load.settings(), "samples": kept, "driver_share": rounded(median(shares))}


def main(words: list[str] | None = None) -> str:
    """Measure what the words ask for; return the JSON line."""
    asked = _parser().parse_args(words)
    torch.set_num_threads(1)
    load = Load(
        precision=asked.precision,
        rows=asked.num_rows,
        minibatch_size=asked.minibatch_size,
        epochs=asked.epochs,
    )
    if asked.what == "step":
        if asked.one_core:  # the role processes inherit it
            os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
        answer_steps(asked.ranks, load)
        return ""
    if asked.what == "rows":
        found = over_rows("tiny" if asked.tiny else "6M", asked.precision, asked.rounds)
    elif asked.what == "ranks":
        found = over_ranks(load, asked.rounds or 4, one_core=asked.one_core)
    else:
        found = of_the_driver(load, 1 if asked.rounds is None else asked.rounds)
    return line(machine("deepspeed", "ray"), {"what": asked.what, **found})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Cost against rows and ranks; the driver's.")
    parser.add_argument("what", choices=["rows", "ranks", "driver", "step"])
    parser.add_argument("precision", nargs="?", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--num-rows", type=int, default=64, help="rows of a whole step")
    parser.add_argument("--minibatch-size", type=int, default=32, help="rows of an update")
    parser.add_argument("--epochs", type=int, default=4, help="of a whole step")
    parser.add_argument("--ranks", type=int, default=1, help="of step, which `ranks` starts")
    parser.add_argument("--one-core", action="store_true", help="1 rank has one core")
    parser.add_argument("--tiny", action="store_true", help="a toy model, for rows")
    return parser


if __name__ == "__main__":
    said = main()
    if said:
        print(said, flush=True)

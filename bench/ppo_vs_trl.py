"""Whole PPO steps against TRL's PPO trainer: `python bench/ppo_vs_trl.py [SIDES] [fp32|bf16]`.

The same 6M Llama as policy and reference, and one of its shape as reward and value model, the
same 64 prompts of 8 to 32 tokens, at most 64 new ones, 4 epochs in minibatches of 32 rows. One id
ends a response, with probability 3 / 64 a step on both sides (`bench/roles.py` says how), so
lengths are geometric, a third of the longest on average. TRL takes turns on one thread and on two,
in fp32 or as --trl-precision says; the project with one thread a rank: `alone` is one rank in this
process (plain torch, one role after the other), `1` and `2` are so many Ray ranks a role
(DeepSpeed; roles work at once); `alone,1` is two sides in one run. TRL's training loop is one
call, so the project's turns stand at the end of TRL's steps, outside their time. What counts is
samples a second.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

os.environ.update(HF_HUB_OFFLINE="1", TRL_EXPERIMENTAL_SILENCE="1")

import torch
from datasets import Dataset
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer

from bench.kit import SHAPES, Samples, line, machine, medians, prompts, ratio
from bench.roles import CLIP, KL_COEF, LEARNING_RATE, Folders, Work, ppo, settings, write_models

Ours = Mapping[str, Callable[[int], Mapping[str, float]]]
"""Side -> takes one PPO step, returns what it reports."""
SIDES = {"alone": (1, False), "1": (1, True), "2": (2, True)}
"""Word -> ranks a role, and whether they are Ray's; at most one of a run is."""
WARM_STEPS = 1


class TimeSlots(TrainerCallback):
    """Times TRL's steps, and lets the other sides take theirs at the end of each."""

    def __init__(self, ours: Ours, threads: list[int], rows: int) -> None:
        """Give TRL these numbers of threads in turn; the project always has one."""
        self.ours, self.threads, self.rows = ours, threads, rows
        self.samples: Samples = {name: [] for name in [*map(_trl_name, threads), *ours]}
        self.eos_rates: dict[str, list[float]] = {name: [] for name in ("trl", *ours)}
        self._step, self._began = 0, 0.0

    def on_train_begin(self, *_: object, **__: object) -> None:
        """Start the clock."""
        self._begin()

    def on_log(self, *_: object, logs: Mapping[str, float], **__: object) -> None:
        """Note how many of TRL's responses ended."""
        if "val/num_eos_tokens" in logs:
            self.eos_rates["trl"].append(logs["val/num_eos_tokens"] / self.rows)

    def on_step_end(self, *_: object, **__: object) -> None:
        """Stop the clock; after TRL's last number of threads every other side takes a step."""
        seconds = time.perf_counter() - self._began
        turn = self._step - WARM_STEPS
        threads = self._threads()
        if turn >= 0:
            self._note(_trl_name(threads), seconds)
        self._step += 1
        if turn % len(self.threads) == len(self.threads) - 1:
            torch.set_num_threads(1)
            self._others(turn // len(self.threads))
        self._begin()

    def _others(self, number: int) -> None:
        """Let the others take step `number`; the first, -1, warms them up and is not kept."""
        for name, step in self.ours.items():
            began = time.perf_counter()
            seen = step(number + 1)
            if number >= 0:
                self._note(name, time.perf_counter() - began)
                self.eos_rates[name].append(seen["completions/eos_rate"])

    def _begin(self) -> None:
        torch.set_num_threads(self._threads())
        self._began = time.perf_counter()

    def _threads(self) -> int:
        return self.threads[(self._step - WARM_STEPS) % len(self.threads)]

    def _note(self, name: str, seconds: float) -> None:
        self.samples[name].append({"seconds": seconds, "work": float(self.rows)})


def _trl_name(threads: int) -> str:
    return f"trl_{threads}_threads"


def train(folder: Path, models: Folders, work: Work, turns: TimeSlots, plan: PPOConfig) -> None:
    """Run TRL's trainer; it calls the turns."""
    tokenizer = AutoTokenizer.from_pretrained(models.policy, padding_side="left")
    asked = prompts(work.rows, work.shape["vocabulary"], (8, work.longest_prompt))
    lengths = asked.lengths_B.tolist()
    rows = [row[:n] for row, n in zip(asked.tokens_BP.tolist(), lengths, strict=True)]
    trainer = PPOTrainer(
        args=plan,
        processing_class=tokenizer,
        model=AutoModelForCausalLM.from_pretrained(models.policy, dtype=torch.float32),
        ref_model=AutoModelForCausalLM.from_pretrained(models.policy, dtype=torch.float32),
        reward_model=_classifier(models.reward),
        value_model=_classifier(models.reward),
        train_dataset=Dataset.from_dict({"input_ids": rows}),
        # The constructor makes a loader of it, though nothing is evaluated.
        eval_dataset=Dataset.from_dict({"input_ids": rows}),
        callbacks=[turns],
    )
    trainer.train()


def _classifier(folder: Path) -> Any:
    return AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=1, dtype=torch.float32
    )


def trl_plan(folder: Path, work: Work, stop: int, num_steps: int, precision: str) -> PPOConfig:
    """Return TRL's settings for the same work, with as many optimizer steps.

    Its optimizer steps once in gradient_accumulation_steps microbatches, whatever a minibatch is,
    so that is 1 and a minibatch is one microbatch.
    """
    return PPOConfig(
        output_dir=str(folder / "trl"),
        per_device_train_batch_size=work.rows,
        gradient_accumulation_steps=1,
        num_mini_batches=work.rows // work.minibatch_size,
        num_ppo_epochs=work.epochs,
        total_episodes=work.rows * num_steps,
        local_rollout_forward_batch_size=work.rows,
        response_length=work.longest,
        stop_token_id=stop,
        temperature=1.0,
        kl_coef=KL_COEF,
        cliprange=CLIP,
        learning_rate=LEARNING_RATE,
        num_sample_generations=0,
        gradient_checkpointing=False,
        use_cpu=True,
        bf16=precision == "bf16",
        report_to="none",
        save_strategy="no",
        disable_tqdm=True,
    )


def measure(
    work: Work, sides: list[str], precision: str, trl_precision: str, rounds: int
) -> dict[str, object]:
    """Return settings, samples, medians and ratios."""
    threads = [1, 2]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        models = write_models(folder, work)
        ours: dict[str, Callable[[int], Mapping[str, float]]] = {}
        for side, (ranks, on_ray) in {side: SIDES[side] for side in sides}.items():
            experiment = settings(work, ranks, precision, on_ray=on_ray)
            stage = stack.enter_context(ppo(folder / f"run_{side}", models, work, experiment))
            ours[f"rlhf_{side}"] = lambda step, stage=stage: stage.step(step).means()
        turns = TimeSlots(ours, threads, work.rows)
        stop = AutoTokenizer.from_pretrained(models.policy).eos_token_id
        num_steps = WARM_STEPS + len(threads) * rounds
        plan = trl_plan(folder, work, stop, num_steps, trl_precision)
        train(folder, models, work, turns, plan)
    samples, speeds = turns.samples, medians(turns.samples)
    best = {
        kind: max((n for n in speeds if n.startswith(kind)), key=lambda n: speeds[n])
        for kind in ("rlhf", "trl")
    }
    return {
        "settings": {
            "rows": work.rows,
            "longest_prompt": work.longest_prompt,
            "longest": work.longest,
            "minibatch_size": work.minibatch_size,
            "epochs": work.epochs,
            "shape": dict(work.shape),
            "precision": precision,
            "trl_precision": trl_precision,
            "unit": "samples",
        },
        "samples": samples,
        "eos_rate": turns.eos_rates,
        "medians": speeds,
        "ratio": {
            "best_to_best": ratio(samples, best["rlhf"], best["trl"]),
            **{
                f"{ours}/{trl}": ratio(samples, ours, trl)
                for ours in turns.ours
                for trl in map(_trl_name, threads)
            },
        },
    }


def main(words: list[str] | None = None) -> str:
    """Measure what the words ask for; return the JSON line."""
    parser = argparse.ArgumentParser(description="PPO steps against TRL's.")
    choices = [*SIDES, "alone,1", "alone,2"]
    parser.add_argument("sides", nargs="?", default="1", choices=choices)
    parser.add_argument("precision", nargs="?", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--trl-precision", default="fp32", choices=["fp32", "bf16"])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--tiny", action="store_true", help="the same on a toy model")
    asked = parser.parse_args(words)
    work = Work(shape=SHAPES["6M"])
    if asked.tiny:
        work = Work(
            shape=SHAPES["tiny"], rows=4, longest_prompt=9, longest=6, minibatch_size=2, epochs=2
        )
    sides = asked.sides.split(",")
    with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = measure(work, sides, asked.precision, asked.trl_precision, asked.rounds)
    return line(machine("trl", "accelerate", "deepspeed", "ray"), found)


if __name__ == "__main__":
    print(main(), flush=True)

"""A working folder with tiny models and rows, the command line in it, and what a run left."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerBase,
    Qwen3Config,
)

from rlhf.cli.main import main
from rlhf.data.tokenizer import train_tokenizer

CLOCKED = ("time/", "busy/", "idle/", "speed/tokens_per_s")
"""Figures of a clock, which no two runs share."""
MODELS = ("policy", "value", "reward_model", "sft")
NOUNS = ("film", "plot", "cast", "score", "scene")
WORDS = (" good", " fine", " great fun", " bad", " dull", " poor work", " awful")
ENDING_SHARE = 0.2
"""Chance of the end at an average token, so that lengths are ragged and some responses are cut."""
REWARDS = '''
"""Scores that depend on the text alone."""


def letters(completions, **columns):
    return [sum(map(ord, text)) % 17 / 4 - 2 for text in completions]


def wanted(prompts, completions, wanted, **columns):
    pairs = zip(prompts, completions, wanted)
    return [(len(p) + 3 * len(c) + 7 * len(w)) % 13 / 6 - 1 for p, c, w in pairs]


def length(completions, **columns):
    return [float(len(text)) for text in completions]


def sleeps(completions, **columns):
    import time

    time.sleep(60)


def asks_to_end(completions, calls=[], **columns):
    import os, signal

    calls.append(1)
    if len(calls) == 3:  # the samples, a first step, a second
        os.kill(os.getppid(), signal.SIGTERM)
    return letters(completions)


def breaks(completions, calls=[], **columns):
    calls.append(1)
    if len(calls) % 6 == 0:
        raise RuntimeError("the sixth time")
    return letters(completions)
'''


@dataclass(frozen=True)
class Ran:
    """One command line, ended."""

    folder: Path
    """RUN."""
    code: int
    out: str
    err: str

    def steps(self, stage: str) -> list[dict[str, float]]:
        """Return the figures of each step of a stage, without those of a clock."""
        rows = [row for row in lines(self.folder / "metrics.jsonl") if row["stage"] == stage]
        found: dict[int, dict[str, float]] = {}
        for row in rows:
            told = {k: v for k, v in row["metrics"].items() if not k.startswith(CLOCKED)}
            found.setdefault(row["step"], {}).update(told)
        assert sorted(found) == list(range(len(found))), "steps count from 0"
        return [found[step] for step in sorted(found)]

    def weights(self, name: str) -> dict[str, Tensor]:
        """Return the tensors of a model folder inside RUN."""
        return load_file(self.folder / name / "model.safetensors")

    def config(self, name: str) -> dict[str, Any]:
        """Return config.json of a model folder."""
        return json.loads((self.folder / name / "config.json").read_text())

    def samples(self, stage: str) -> list[dict[str, Any]]:
        """Return the answers kept of a stage."""
        return [row for row in lines(self.folder / "samples.jsonl") if row["stage"] == stage]

    def json(self, name: str) -> dict[str, Any]:
        """Return a file of RUN; empty where there is none."""
        path = self.folder / name
        return json.loads(path.read_text()) if path.is_file() else {}


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a JSON Lines file; none where there is no file."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def seen(ran: Ran, stages: Sequence[str] = ("sft", "reward_model", "ppo")) -> dict[str, object]:
    """Return everything of a run that a setting may change, by a short name.

    Of figures there is one entry a name and step (`ppo 0 objective/kl`), of models and answers one
    each, and one for every file of the run's folder.
    """
    found: dict[str, object] = {"code": ran.code}
    for stage in stages:
        steps = ran.steps(stage)
        found |= {
            f"{stage} {i} {name}": v for i, step in enumerate(steps) for name, v in step.items()
        }
    for name in MODELS:
        if (ran.folder / name / "model.safetensors").is_file():
            found[name] = _bytes(ran.weights(name))
    for stage in ("sft", "ppo"):
        found[f"samples {stage}"] = [(s["prompt"], s["response"]) for s in ran.samples(stage)]
        found[f"samples {stage} scores"] = [s["score"] for s in ran.samples(stage)]
        found[f"samples {stage} parts"] = [
            {name: said for name, said in s.items() if name.startswith("reward/")}
            for s in ran.samples(stage)
        ]
    for name in ("reward_model.json", "evaluation.json"):
        found[name] = figures(ran.json(name))
    return found


def figures(verdict: Mapping[str, object]) -> dict[str, object]:
    """Return an evaluation without what it is of."""
    of = ("inputs_sha256", "prompts", "candidate_path", "baseline_path")
    return {name: value for name, value in verdict.items() if name not in of}


def _bytes(weights: Mapping[str, Tensor]) -> dict[str, bytes]:
    return {
        name: tensor.contiguous().view(torch.uint8).numpy().tobytes()
        for name, tensor in weights.items()
    }


def changed(one: Mapping[str, object], other: Mapping[str, object]) -> set[str]:
    """Return the names under which two runs differ; figures that one lacks are among them."""
    return {name for name in {*one, *other} if one.get(name) != other.get(name)}


@dataclass
class Home:
    """A working folder; a command line that was run before is not run again."""

    folder: Path
    done: dict[tuple[str, ...], Ran] = field(default_factory=dict)

    def run(self, command: str, *overrides: str, within: str | None = None) -> Ran:
        """Run one command in this process, in a folder of its own unless one is named."""
        key = (command, *overrides, within or "")
        if key not in self.done:
            name = within or f"run{len(self.done)}"
            self.done[key] = self.again(command, *overrides, within=name)
        return self.done[key]

    def again(self, command: str, *overrides: str, within: str) -> Ran:
        """Run one command in a folder that may have been used before."""
        before, argv, out, err = Path.cwd(), sys.argv, io.StringIO(), io.StringIO()
        os.chdir(self.folder)
        code = -1
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main([command, f"run_dir={within}", *overrides])
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            sys.argv = argv
            os.chdir(before)
        return Ran(self.folder / within, code, out.getvalue(), err.getvalue())


@cache
def tokenizer() -> PreTrainedTokenizerBase:
    """Train the tokenizer that all models here share."""
    return train_tokenizer([f"The {noun} was{word}" for noun in NOUNS for word in WORDS] * 2, 290)


@cache
def other_tokenizer() -> PreTrainedTokenizerBase:
    """Train a tokenizer that cuts the same texts at other places."""
    return train_tokenizer([f"A {noun} is{word}s" for noun in NOUNS[:2] for word in WORDS] * 2, 275)


def shape(family: str, **changes: object) -> PretrainedConfig:
    """Return a tiny config of a family, wide weights, the vocabulary of the tokenizer."""
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.2}
    common: dict[str, Any] = {
        "vocab_size": len(tokenizer()),
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "tie_word_embeddings": False,
        **ids,
    }
    gpt2 = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "n_inner": 24}
    if family == "gpt2":
        common = {"vocab_size": common["vocab_size"], "tie_word_embeddings": False, **gpt2, **ids}
    if family == "qwen3":
        common |= {"head_dim": 8}
    kinds = {"llama": LlamaConfig, "gpt2": GPT2Config, "qwen3": Qwen3Config}
    return kinds[family](**{**common, **changes})


@torch.no_grad()
def write_writer(folder: Path, family: str = "llama", *, seed: int = 0, **changes: object) -> None:
    """Write a language model that ends a response now and then."""
    torch.manual_seed(seed)
    network = AutoModelForCausalLM.from_config(shape(family, **changes)).eval()
    head, own = network.get_output_embeddings().weight, tokenizer()
    ids = own([f"The {noun} was{word}" for noun in NOUNS for word in WORDS], padding=True)
    hidden = network.base_model(torch.tensor(ids["input_ids"]))[0].flatten(0, 1)
    mean = hidden.mean(0)
    low, high = -100.0, 100.0
    for _ in range(40):
        head[2] = (low + high) / 2 * mean / mean.norm()
        share = float((hidden @ head.T).softmax(-1)[:, 2].mean())
        low, high = ((low + high) / 2, high) if share < ENDING_SHARE else (low, (low + high) / 2)
    network.save_pretrained(folder)
    own.save_pretrained(folder)


def write_scorer(folder: Path, family: str = "llama", *, seed: int = 1, **changes: object) -> None:
    """Write a reward or value model with a head of its own, normalised as a run would."""
    torch.manual_seed(seed)
    asked = shape(family, num_labels=1, **changes)
    asked.rlhf_score_mean, asked.rlhf_score_std = 0.1 * seed, 0.5 + 0.1 * seed
    network = AutoModelForSequenceClassification.from_config(asked).eval()
    network.save_pretrained(folder)
    tokenizer().save_pretrained(folder)


def write_rows(folder: Path, num_rows: int = 40) -> None:
    """Write the data files and the file of reward functions."""
    texts = [f"The {NOUNS[i % 5]} number {i} was" for i in range(num_rows)]
    good, bad = [WORDS[i % 3] for i in range(num_rows)], [WORDS[3 + i % 4] for i in range(num_rows)]
    rows = range(num_rows)
    asked = {
        "demonstrations": [{"prompt": texts[i], "completion": good[i]} for i in rows],
        "preferences": [
            {"prompt": texts[i], "chosen": good[i], "rejected": bad[i], "margin": i % 3 / 2}
            for i in rows
        ],
        "prompts": [{"prompt": texts[i], "wanted": good[i].strip()} for i in rows],
        "other_demonstrations": [
            {"prompt": f"What is {i}?", "completion": bad[i]} for i in range(24)
        ],
        "texts": [{"text": f"A {NOUNS[i % 5]} is{bad[i]}"} for i in rows],
        "other_prompts": [
            {"prompt": f"One {NOUNS[i % 5]} of {i}", "wanted": "x"} for i in range(4)
        ],
        "other_preferences": [
            {"prompt": f"One {i}", "chosen": bad[i], "rejected": good[i]} for i in range(5)
        ],
    }
    asked["copies"] = [*asked["demonstrations"], *asked["demonstrations"][:20]]
    for name, written in asked.items():
        text = "".join(json.dumps(row) + "\n" for row in written)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (folder / "reward.py").write_text(REWARDS, encoding="utf-8")

"""The one-token bandit on a real language model: `python bench/bandit.py SEED ...`.

SmolLM2-135M answers short prompts with one token, and is paid 1 when that token begins a new word.
The best policy is then known over the whole vocabulary, pi* = softmax(log pi_ref + r / beta), with
objective J* = beta log Z. One JSON line a seed says how far the exported policy is from it: gap =
(J* - J(pi)) / (J* - J(pi_ref)), |KL - KL*| / KL*, and |V - J*| / (max r - min r) before the answer.

Axes: V vocabulary.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from bench.quickstart import machine
from rlhf.data.chat import decode_response, encode_prompt
from rlhf.data.tokenizer import load_tokenizer
from rlhf.rewards.load import load_function

REWARD = '''
def pay(completions, **columns):
    """Return 1 for a token that begins a new word."""
    return [float(text.startswith(" ")) for text in completions]
'''
PROMPTS = ("She said", "He replied", "On Monday")
"""Two tokens each: prompts of one token, `The` and `Once`, learned far more slowly."""
BETA = 0.25
SETTINGS = (
    "policy.path=packaged:smollm2",
    "peft=lora",
    "peft.rank=8",
    "ppo.num_steps=60",
    "ppo.num_epochs=1",
    "ppo.samples_per_prompt=32",
    "ppo.minibatch_size=96",
    "policy.optimizer.lr=4e-4",
    "value.optimizer.lr=3e-4",
)
ALWAYS = (
    "cluster.backend=in_process",
    "engine.backend=torch",
    "data.validation_fraction=0",
    "data.test_fraction=0",
    "generation.max_new_tokens=1",
    "ppo.missing_eos_penalty=0",
    *(
        f"{role}.optimizer.{setting}"
        for role in ("policy", "value")
        for setting in ("schedule=linear", "warmup_steps=3", "eps=1e-8")
    ),
    "tracking.sample_prompts=0",
    "tracking.console=false",
)


@dataclass(frozen=True)
class Bandit:
    """Prompts that are answered with one token, and what every token pays."""

    home: Path
    """Folder of prompts.jsonl, reward.py and the run."""
    prompts: Sequence[str] = PROMPTS
    beta: float = BETA
    reward: str = REWARD
    """Source of reward.py, whose `pay` is the reward."""

    def arguments(self, *settings: str) -> list[str]:
        """Write the task's files; return the command line that trains on it."""
        self.home.mkdir(parents=True, exist_ok=True)
        rows = [json.dumps({"prompt": prompt}) + "\n" for prompt in self.prompts]
        (self.home / "prompts.jsonl").write_text("".join(rows), encoding="utf-8")
        (self.home / "reward.py").write_text(self.reward, encoding="utf-8")
        return [
            "ppo",
            f"run_dir={self.run}",
            f"data.prompts={self.home / 'prompts.jsonl'}",
            f"reward.function={self.function}",
            f"ppo.rollout_batch_size={len(self.prompts)}",
            f"ppo.kl_coef={self.beta}",
            *ALWAYS,
            *settings,
        ]

    @property
    def run(self) -> Path:
        """The run's folder."""
        return self.home / "run"

    @property
    def function(self) -> str:
        """The reward as FILE.py:NAME."""
        return f"{self.home / 'reward.py'}:pay"

    def figures(self, reference: Path) -> dict[str, float]:
        """Return how far the exported folders are from the best policy, the mean over prompts."""
        tokenizer = load_tokenizer(str(reference))
        ids = [encode_prompt(tokenizer, prompt) for prompt in self.prompts]
        before, after = (next_logprobs(folder, ids) for folder in (reference, self.run / "policy"))
        texts = [decode_response(tokenizer, [token]) for token in range(len(before[0]))]
        score: Callable[..., object] = load_function(self.function)
        rewards_V = torch.tensor(score(completions=texts), dtype=torch.float64)
        values = first_values(self.run / "value", ids)
        rows = [
            _compare(policy_V, reference_V, rewards_V, self.beta, value)
            for policy_V, reference_V, value in zip(after, before, values, strict=True)
        ]
        return _summary(rows)


def next_logprobs(folder: Path, prompts: Sequence[Sequence[int]]) -> list[Tensor]:
    """Return logprobs_V, float64, of every token after each prompt."""
    network = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        logits = [network(torch.tensor([ids])).logits[0, -1].double() for ids in prompts]
    return [row_V.log_softmax(-1) for row_V in logits]


def first_values(folder: Path, prompts: Sequence[Sequence[int]]) -> list[float]:
    """Return the value predicted before the response to each prompt."""
    network = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        return [network(torch.tensor([ids])).logits.item() for ids in prompts]


def _compare(
    policy_V: Tensor, reference_V: Tensor, rewards_V: Tensor, beta: float, value: float
) -> dict[str, float]:
    """Return one prompt's exact figures under the policy, the reference and the best policy."""
    tilted_V = reference_V + rewards_V / beta
    best_V = tilted_V.log_softmax(-1)

    def kl(logprobs_V: Tensor) -> float:
        return float((logprobs_V.exp() * (logprobs_V - reference_V)).sum())

    def score(logprobs_V: Tensor) -> float:
        return float((logprobs_V.exp() * rewards_V).sum())

    best = beta * float(tilted_V.logsumexp(-1))
    objective = score(policy_V) - beta * kl(policy_V)
    return {
        "gap": (best - objective) / (best - score(reference_V)),
        "kl": kl(policy_V),
        "best_kl": kl(best_V),
        "score_before": score(reference_V),
        "score": score(policy_V),
        "best_score": score(best_V),
        "value_error": abs(value - best) / float(rewards_V.max() - rewards_V.min()),
    }


def _summary(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return means over prompts; of the value's error the largest."""
    means = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    worst = max(row["value_error"] for row in rows)
    kl_error = abs(means["kl"] - means["best_kl"]) / means["best_kl"]
    return {**means, "kl_error": kl_error, "value_error": worst}


def measure(seed: int, *settings: str) -> dict[str, object]:
    """Train with one seed; return the figures."""
    with tempfile.TemporaryDirectory() as folder:
        task = Bandit(Path(folder))
        command = [sys.executable, "-m", "rlhf", *task.arguments(*SETTINGS, *settings)]
        began = time.monotonic()
        subprocess.run([*command, f"seed={seed}"], check=True, stdout=sys.stderr)
        seconds = time.monotonic() - began
        figures = {
            name: round(value, 4) for name, value in task.figures(task.run / "start").items()
        }
        return {"seed": seed, "seconds": round(seconds, 1), **figures}


if __name__ == "__main__":
    torch.set_num_threads(1)
    words = sys.argv[1:] or ["0"]
    changes = [word for word in words if "=" in word]
    for seed in [int(word) for word in words if "=" not in word]:
        print(json.dumps({**machine(), **measure(seed, *changes)}), flush=True)

"""Tasks whose best policy is known exactly, and the distance of a finished run from it.

A task is so small that every response can be listed. The best policy is then a softmax over that
list, pi* = pi_ref exp(r / beta) / Z, its objective J* = beta log Z, and the objective of a trained
policy a plain sum over the list. A run is started as a user starts it, and judged by the folder it
exports: nothing here reads what the trainer says of itself, but `metrics`.

Axes: L listed responses, T response tokens, V vocabulary.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

EOS = "</s>"
EOS_ID = 0
WORDS = "abcdefghijklmnop"
"""Every token but EOS is one of these letters, a word of its own."""
HIDDEN, CONTEXT = 32, 24
IN_PROCESS = ("cluster.backend=in_process", "engine.backend=torch")
QUIET = ("tracking.sample_prompts=0", "tracking.console=false", "checkpoint.every=100000")
BOTH = ("policy.optimizer", "value.optimizer")


@dataclass(frozen=True)
class Task:
    """One exactly solvable problem, and the folder its files lie in."""

    home: Path
    """Holds model/, prompts.jsonl and reward.py."""
    prompts: tuple[str, ...]
    """Words with spaces between; every one is as likely."""
    reward: str
    """Source of reward.py, whose `score(completions, **columns)` is the reward."""
    num_words: int
    """Tokens besides EOS."""
    horizon: int
    """Most tokens of a response, EOS included."""
    beta: float
    temperature: float = 1.0
    missing_eos_penalty: float = 0.0

    @cached_property
    def responses(self) -> list[tuple[tuple[int, ...], bool]]:
        """Every response as (ids of its words, whether EOS follows)."""
        ids = range(1, self.num_words + 1)
        ended = [
            (words, True)
            for length in range(self.horizon)
            for words in itertools.product(ids, repeat=length)
        ]
        cut = [(words, False) for words in itertools.product(ids, repeat=self.horizon)]
        return ended + cut

    @cached_property
    def lengths_L(self) -> Tensor:
        """Tokens of every response, EOS included."""
        return torch.tensor([len(words) + ended for words, ended in self.responses]).double()

    @cached_property
    def ended_L(self) -> Tensor:
        """1 for every response that ends with EOS."""
        return torch.tensor([ended for _, ended in self.responses]).double()

    def counts_L(self, word: str) -> Tensor:
        """How often one word stands in every response."""
        wanted = WORDS.index(word) + 1
        return torch.tensor([words.count(wanted) for words, _ in self.responses]).double()

    def scores_L(self, prompt: str, function: str = "score") -> Tensor:
        """What the reward file gives every response, the penalty for a missing EOS taken off."""
        texts = [" ".join(WORDS[i - 1] for i in words) for words, _ in self.responses]
        columns = {"prompts": [prompt] * len(texts)}
        given = load_reward(self.home / "reward.py", function)(completions=texts, **columns)
        penalty_L = self.missing_eos_penalty * (1 - self.ended_L)
        return torch.tensor(given, dtype=torch.float64) - penalty_L

    @cached_property
    def logprobs_ref(self) -> dict[str, Tensor]:
        """Log-probability of every response under the reference, by prompt."""
        return self.logprobs(self.home / "model")

    def logprobs(self, folder: Path) -> dict[str, Tensor]:
        """Return the log-probability of every response under a model folder, by prompt."""
        model = AutoModelForCausalLM.from_pretrained(folder).eval()
        return {prompt: self._logprobs_L(model, prompt) for prompt in self.prompts}

    @torch.no_grad()
    def _logprobs_L(self, model: PreTrainedModel, prompt: str) -> Tensor:
        """Read every next-token distribution off the longest prefixes, then add along each path."""
        start = ids_of(prompt)
        words = range(1, self.num_words + 1)
        rows = [start + list(path) for path in itertools.product(words, repeat=self.horizon - 1)]
        logits = model(torch.tensor(rows)).logits[:, len(start) - 1 :].double()
        steps_NTV = (logits / self.temperature).log_softmax(-1)
        so_far_N, ended = torch.zeros(1, dtype=torch.float64), []
        for step in range(self.horizon):
            # Rows that share their first `step` words stand together: one of each is enough.
            stride = self.num_words ** (self.horizon - 1 - step)
            paths_NV = so_far_N[:, None] + steps_NTV[::stride, step]
            ended.append(paths_NV[:, EOS_ID])
            so_far_N = paths_NV[:, 1:].flatten()
        return torch.cat([*ended, so_far_N])

    def judge(self, folder: Path) -> Outcome:
        """Return the exact figures of a model folder, the mean over prompts."""
        return self._mean(self.logprobs(folder))

    @cached_property
    def reference(self) -> Outcome:
        """The figures of the reference."""
        return self._mean(self.logprobs_ref)

    @cached_property
    def best(self) -> Outcome:
        """The figures of the best policy there is."""
        return self.best_at(self.beta)

    def best_at(self, beta: float) -> Outcome:
        """Return the figures of the best policy at a price of KL."""
        tilted = {p: q_L + self.scores_L(p) / beta for p, q_L in self.logprobs_ref.items()}
        best = {prompt: w_L - w_L.logsumexp(0) for prompt, w_L in tilted.items()}
        return replace(self, beta=beta)._mean(best)

    def gap(self, folder: Path) -> float:
        """Return (J* - J) / (J* - J_ref): 1 at the reference, 0 at the best policy."""
        best = self.best.objective
        return (best - self.judge(folder).objective) / (best - self.reference.objective)

    def value_error(self, folder: Path) -> float:
        """Return the worst |V(prompt) - beta log Z| / (J* - J_ref) of a value folder."""
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        worst = 0.0
        for prompt in self.prompts:
            with torch.no_grad():
                value = model(torch.tensor([ids_of(prompt)])).logits.item()
            worst = max(worst, abs(value - replace(self, prompts=(prompt,)).best.objective))
        return worst / (self.best.objective - self.reference.objective)

    def _mean(self, logprobs: dict[str, Tensor]) -> Outcome:
        parts = [self._outcome(prompt, p_L) for prompt, p_L in logprobs.items()]
        names = Outcome.__dataclass_fields__
        return Outcome(**{n: sum(vars(part)[n] for part in parts) / len(parts) for n in names})

    def _outcome(self, prompt: str, p_L: Tensor) -> Outcome:
        weight_L, ratio_L = p_L.exp(), p_L - self.logprobs_ref[prompt]
        assert abs(weight_L.sum() - 1) < 1e-6
        scores_L = self.scores_L(prompt)
        return_L = scores_L - self.beta * ratio_L
        objective = (weight_L * return_L).sum()
        return Outcome(
            objective=objective.item(),
            score=(weight_L * scores_L).sum().item(),
            kl=(weight_L * ratio_L).sum().item(),
            length=(weight_L * self.lengths_L).sum().item(),
            ended=(weight_L * self.ended_L).sum().item(),
            spread=(weight_L * (return_L - objective).square()).sum().sqrt().item(),
        )

    def expected(self, folder: Path, what_L: Tensor) -> float:
        """Return the mean of some figure of the responses under a model folder."""
        means = [(p_L.exp() * what_L).sum().item() for p_L in self.logprobs(folder).values()]
        return sum(means) / len(means)

    def train(self, *changes: str, run: str = "run") -> Path:
        """Run `rlhf ppo` on the task in this process, to its end; return the run's folder."""
        folder = self.home / run
        command(*self.arguments(folder), *IN_PROCESS, *changes)
        return folder

    def arguments(self, folder: Path) -> list[str]:
        """Return the command line of the task, without where it runs and how it learns."""
        return [
            "ppo",
            f"run_dir={folder}",
            f"policy.path={self.home / 'model'}",
            f"data.prompts={self.home / 'prompts.jsonl'}",
            "data.validation_fraction=0",
            "data.test_fraction=0",
            f"reward.function={self.home / 'reward.py'}:score",
            f"generation.max_new_tokens={self.horizon}",
            f"generation.temperature={self.temperature}",
            "generation.batch_size=1024",
            f"ppo.kl_coef={self.beta}",
            f"ppo.missing_eos_penalty={self.missing_eos_penalty}",
            *QUIET,
        ]


@dataclass(frozen=True)
class Outcome:
    """Exact figures of one policy on one task."""

    objective: float
    """J: mean score less beta times KL."""
    score: float
    kl: float
    """KL(policy || reference) of whole responses, in nats."""
    length: float
    """Mean tokens of a response, EOS included."""
    ended: float
    """Probability that a response ends with EOS."""
    spread: float
    """Standard deviation of the shaped return r - beta log(pi / pi_ref); 0 at the best policy."""


def learning(
    *, steps: int, batch: int = 256, lr: float = 3e-3, num_prompts: int = 1
) -> tuple[str, ...]:
    """Return settings: steps, responses a step, and the peak rate of both roles, falling to 0."""
    curve = [
        f"{role}.{setting}"
        for role in BOTH
        for setting in ("schedule=linear", "warmup_steps=1", "eps=1e-8")
    ]
    return (
        f"ppo.num_steps={steps}",
        f"ppo.rollout_batch_size={num_prompts}",
        f"ppo.samples_per_prompt={batch // num_prompts}",
        f"ppo.minibatch_size={batch}",
        *(f"{role}.lr={lr}" for role in BOTH),
        *curve,
    )


def make_task(home: Path, network: PreTrainedModel, task: Callable[..., Task]) -> Task:
    """Write a task's model folder, prompts and reward file; return the task."""
    made = task(home=home)
    home.mkdir(parents=True, exist_ok=True)
    network.save_pretrained(home / "model")
    tokenizer(made.num_words).save_pretrained(home / "model")
    lines = [json.dumps({"prompt": prompt}) for prompt in made.prompts]
    (home / "prompts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (home / "reward.py").write_text(made.reward, encoding="utf-8")
    return made


def tokenizer(num_words: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of whole words; pad is EOS, and an unknown word is the first one."""
    vocab = {EOS: EOS_ID, **{word: i + 1 for i, word in enumerate(WORDS[:num_words])}}
    backend = Tokenizer(models.WordLevel(vocab, unk_token=WORDS[0]))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=EOS, pad_token=EOS)


def llama(num_words: int, *, seed: int = 0, width: float = 1.0, layers: int = 1) -> PreTrainedModel:
    """Make a Llama whose logits have about the given standard deviation; 0 is uniform."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=num_words + 1,
        hidden_size=HIDDEN,
        intermediate_size=2 * HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        initializer_range=0.1,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=EOS_ID,
        pad_token_id=EOS_ID,
    )
    return with_width(LlamaForCausalLM(config).eval(), width)


def gpt2(num_words: int, *, seed: int = 0, width: float = 1.0, layers: int = 1) -> PreTrainedModel:
    """Make a GPT-2 whose logits have about the given standard deviation; 0 is uniform."""
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=num_words + 1,
        n_embd=HIDDEN,
        n_layer=layers,
        n_head=4,
        n_positions=CONTEXT,
        initializer_range=0.1,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=EOS_ID,
        pad_token_id=EOS_ID,
    )
    return with_width(GPT2LMHeadModel(config).eval(), width)


def with_width(network: PreTrainedModel, width: float) -> PreTrainedModel:
    """Draw the output embedding so that logits have this standard deviation, the inputs at 1."""
    head = network.get_output_embeddings().weight
    with torch.no_grad():
        for module in network.base_model.modules():
            if isinstance(module, torch.nn.Embedding):
                torch.nn.init.normal_(module.weight)
        head.copy_(torch.randn(head.shape) * width / head.shape[1] ** 0.5)
    return network


def never_ending(network: GPT2LMHeadModel, logit: float = -30.0) -> GPT2LMHeadModel:
    """Give EOS one logit after any text: the last norm says 1 in its first place, always."""
    norm, head = network.transformer.ln_f, network.lm_head.weight
    with torch.no_grad():
        norm.weight[0], norm.bias[0] = 0.0, 1.0
        head[:, 0] = 0.0
        head[EOS_ID] = 0.0
        head[EOS_ID, 0] = logit
    return network


def ids_of(prompt: str) -> list[int]:
    """Return the token ids of a prompt."""
    return [WORDS.index(word) + 1 for word in prompt.split()]


def load_reward(file: Path, name: str) -> Callable[..., Sequence[float]]:
    """Return a function of a reward file."""
    spec = importlib.util.spec_from_file_location("closed_form_reward", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return vars(module)[name]


def command(*arguments: str) -> None:
    """Run one command line in this process; it must end well."""
    from rlhf.cli.main import main

    before = sys.argv
    try:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
    finally:
        sys.argv = before
    assert not ended.value.code


def metrics(run: Path) -> dict[str, list[float]]:
    """Return every recorded figure of a run's steps, by name."""
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line)["metrics"] for line in lines]
    return {name: [row[name] for row in rows] for name in rows[0]}

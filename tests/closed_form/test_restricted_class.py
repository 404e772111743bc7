"""A policy of six numbers, whose best values are known: what sees a wrong weight of a token.

A policy that can write any distribution has the same best point under any positive weights of
tokens and responses, so it learns as well from a loss that weighs them wrongly. Here the logits
are those of a fixed Markov chain plus one learned bias a token, shared by all states: which biases
are best depends on how much every state counts. They are found without PPO, by dynamic programming
over (step, last token), and compared with the folder that `rlhf ppo` exports.

Axes: V vocabulary; S states, which are the last token.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutput, CausalLMOutput, SequenceClassifierOutput

from tests.closed_form.kit import EOS_ID, Task, ids_of, learning, make_task

NUM_WORDS, HORIZON, PENALTY = 5, 10, 1.0
TARGET, PROMPT = "b", "a"
REWARD = f"""
def score(completions, **columns):
    return [0.5 * text.split().count({TARGET!r}) for text in completions]
"""


class ChainConfig(PreTrainedConfig):
    """Holds the chain: the logits of the next token after each last one, [S, V]."""

    model_type = "markov_chain"
    table: list[list[float]] | None = None
    vocab_size: int = NUM_WORDS + 1
    hidden_size: int = NUM_WORDS + 1
    num_hidden_layers: int = 1
    num_attention_heads: int = 1
    max_position_embeddings: int = 64
    eos_token_id: int = EOS_ID
    pad_token_id: int = EOS_ID


class Chain(PreTrainedModel):
    """The trunk, without a weight: the last hidden states are the chain's logits.

    The chain is no frozen parameter, as transformers lets every loaded parameter learn.
    """

    config_class = ChainConfig

    def forward(self, input_ids: Tensor, **options: object) -> BaseModelOutput:
        """Look every token up."""
        table_SV = torch.tensor(self.config.table, device=input_ids.device)
        return BaseModelOutput(last_hidden_state=table_SV[input_ids])


class Shift(nn.Module):
    """The head: one learned bias a token."""

    def __init__(self) -> None:
        """Start at the chain itself."""
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(NUM_WORDS + 1))

    def forward(self, hidden: Tensor) -> Tensor:
        """Add the biases."""
        return hidden + self.bias


class ChainForCausalLM(PreTrainedModel):
    """Logits = chain + biases."""

    config_class = ChainConfig
    base_model_prefix = "chain"

    def __init__(self, config: ChainConfig) -> None:
        """Put trunk and head together."""
        super().__init__(config)
        self.chain, self.shift = Chain(config), Shift()
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """Return the head."""
        return self.shift

    def forward(
        self, input_ids: Tensor, position_ids: Tensor | None = None, **options: object
    ) -> CausalLMOutput:
        """Return logits; cache and positions are of no use, as only the last token counts."""
        return CausalLMOutput(logits=self.shift(self.chain(input_ids)[0]))


class ChainForSequenceClassification(PreTrainedModel):
    """A number for every last token: enough for the value role."""

    config_class = ChainConfig
    base_model_prefix = "chain"

    def __init__(self, config: ChainConfig) -> None:
        """Put trunk and head together."""
        super().__init__(config)
        self.chain, self.score = Chain(config), nn.Linear(config.hidden_size, 1, bias=False)
        self.post_init()

    def forward(self, input_ids: Tensor, **options: object) -> SequenceClassifierOutput:
        """Return the score at the last token."""
        return SequenceClassifierOutput(logits=self.score(self.chain(input_ids)[0][:, -1]))


AutoConfig.register(ChainConfig.model_type, ChainConfig, exist_ok=True)
AutoModelForCausalLM.register(ChainConfig, ChainForCausalLM, exist_ok=True)
AutoModelForSequenceClassification.register(
    ChainConfig, ChainForSequenceClassification, exist_ok=True
)


@dataclass(frozen=True)
class Exact:
    """The objective of any biases, and the best ones, at a price of KL."""

    table_SV: Tensor
    beta: float
    horizon: int = HORIZON

    def objective(self, bias_V: Tensor) -> Tensor:
        """Return J from the prompt: expected score less penalty less beta times KL."""
        policy_SV = (self.table_SV + bias_V).log_softmax(-1)
        gain_SV = -self.beta * (policy_SV - self.table_SV.log_softmax(-1))
        gain_SV = gain_SV + 0.5 * (torch.arange(NUM_WORDS + 1) == ids_of(TARGET)[0])
        goes_on_V = torch.arange(NUM_WORDS + 1) != EOS_ID
        left_S = torch.full_like(bias_V, -PENALTY)
        for _ in range(self.horizon):
            left_S = (policy_SV.exp() * (gain_SV + goes_on_V * left_S)).sum(-1)
        return left_S[ids_of(PROMPT)[0]]

    def best(self) -> Tensor:
        """Return the best biases, mean 0, by the exact gradient."""
        bias_V = torch.zeros_like(self.table_SV[0], requires_grad=True)
        search = torch.optim.LBFGS(
            [bias_V], max_iter=500, tolerance_change=1e-15, line_search_fn="strong_wolfe"
        )

        def loss() -> Tensor:
            search.zero_grad()
            value = -self.objective(bias_V)
            value.backward()
            return value

        search.step(loss)
        assert bias_V.grad is not None
        assert bias_V.grad.abs().max() < 1e-6
        return (bias_V - bias_V.mean()).detach()

    def judge(self, folder: Path) -> tuple[float, float]:
        """Return (gap, largest error of a bias) of an exported policy."""
        network = AutoModelForCausalLM.from_pretrained(folder)
        with torch.no_grad():
            logits_SV = network(torch.arange(NUM_WORDS + 1)[:, None]).logits[:, 0].double()
        shift_SV = logits_SV - self.table_SV
        bias_V = shift_SV.mean(0)
        assert torch.allclose(shift_SV, bias_V.expand_as(shift_SV), atol=1e-5)
        best_V, at_start = self.best(), self.objective(torch.zeros_like(bias_V))
        best = self.objective(best_V)
        gap = ((best - self.objective(bias_V)) / (best - at_start)).item()
        return gap, (bias_V - bias_V.mean() - best_V).abs().max().item()


def chain_SV() -> Tensor:
    """Return the chain's logits, float64: every state has its favourites."""
    draw = torch.Generator().manual_seed(0)
    return torch.randn(NUM_WORDS + 1, NUM_WORDS + 1, generator=draw).double()


def task(home: Path, beta: float) -> Task:
    """Write the chain as a model folder, with its prompt and its reward."""
    made = partial(
        Task,
        prompts=(PROMPT,),
        reward=REWARD,
        num_words=NUM_WORDS,
        horizon=HORIZON,
        beta=beta,
        missing_eos_penalty=PENALTY,
    )
    return make_task(home, ChainForCausalLM(ChainConfig(table=chain_SV().tolist())), made)


def settings(steps: int) -> tuple[str, ...]:
    """Return settings; lambda is 1, as a baseline that knows no step would bias any other."""
    return (
        *learning(steps=steps, batch=2048, lr=0.05),
        "ppo.gae_lambda=1",
        "ppo.num_epochs=2",
        "engine.max_tokens_per_microbatch=65536",
        "generation.batch_size=2048",
    )


def test_the_objective_is_that_of_every_response() -> None:
    bias_V = torch.linspace(-1, 1, NUM_WORDS + 1).double()
    exact = Exact(chain_SV(), beta=0.4, horizon=3)
    policy_SV = (chain_SV() + bias_V).log_softmax(-1)
    ratio_SV = policy_SV - chain_SV().log_softmax(-1)
    total = 0.0
    for path in itertools.product(range(NUM_WORDS + 1), repeat=3):
        length = path.index(EOS_ID) + 1 if EOS_ID in path else 3
        steps = list(zip((ids_of(PROMPT)[0], *path), path[:length], strict=False))
        chance = sum(policy_SV[step].item() for step in steps)
        kl = sum(ratio_SV[step].item() for step in steps)
        gain = 0.5 * path[:length].count(ids_of(TARGET)[0]) - PENALTY * (EOS_ID not in path)
        # What would follow EOS is listed once for every way to go on.
        share = (NUM_WORDS + 1) ** (3 - length)
        total += math.exp(chance) * (gain - 0.4 * kl) / share
    assert exact.objective(bias_V).item() == pytest.approx(total, abs=1e-12)


def test_the_best_biases_are_best() -> None:
    exact = Exact(chain_SV(), beta=0.5)
    best_V = exact.best()
    top = exact.objective(best_V)
    for column in range(NUM_WORDS + 1):
        for step in (-0.05, 0.05):
            moved_V = best_V + step * torch.eye(NUM_WORDS + 1).double()[column]
            assert exact.objective(moved_V) < top


@pytest.mark.slow
@pytest.mark.parametrize(("beta", "tolerance"), [(0.25, 0.1)])
def test_the_exported_policy_has_the_best_biases(
    tmp_path: Path, beta: float, tolerance: float
) -> None:
    # correctness 31, 41, 47: a wrong weight of a token moves the best point
    run = task(tmp_path, beta).train(*settings(100))
    gap, error = Exact(chain_SV(), beta).judge(run / "policy")
    assert gap <= 0.002
    assert error <= tolerance


@pytest.mark.slow
def test_a_loss_that_weighs_responses_and_not_tokens_finds_other_ones(tmp_path: Path) -> None:
    # correctness 47: 1 / |y| is no neutral choice, and this task sees it
    weighed = "ppo.loss_aggregation=seq_mean_token_mean"
    run = task(tmp_path, 0.5).train(*settings(50), weighed)
    gap, _ = Exact(chain_SV(), 0.5).judge(run / "policy")
    assert gap >= 0.04

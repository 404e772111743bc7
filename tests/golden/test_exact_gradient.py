"""One PPO step of the real stage and roles against the exact gradient of its objective.

Five tokens and four slots leave few enough responses to write them all down, so
J = sum over y of pi(y) [score(y) - penalty * cut(y) - kl_coef * log(pi(y) / pi_ref(y))] and its
gradient are exact. A rollout of every response, each with its advantages times its probability,
must give PPO.step an update along that gradient. Nothing of the framework is copied here: policy,
reference, reward, value, shaping, loss and learner are those of a run, in float64. The value role
is trained: a baseline that sees only the tokens before its own leaves the gradient as it is.
Axes: B all responses, R slots, T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from rlhf.config.experiment import Experiment
from rlhf.data.tokenizer import load_tokenizer
from rlhf.engine.local import LocalEngine
from rlhf.flow.future import Future, Ready
from rlhf.flow.metrics import Metrics
from rlhf.flow.rollout import Experience, Rollout, RolloutChunk
from rlhf.models.pretrained import load_scalar
from rlhf.models.scalar_model import ScalarModel
from rlhf.roles.policy import Policy
from rlhf.roles.reward import ModelScorer
from rlhf.roles.reward_sum import RewardSum
from rlhf.stages.ppo import PPO
from rlhf.stages.run import build_terms
from tests import models
from tests.specs import assigned, local, reward_mix

NUM_TOKENS, NUM_SLOTS, EOS = 5, 4, 0
"""EOS is id 0, which also stands at padding: a mask made from ids would lose it."""
PROMPTS = ([1], [3, 2])
KL_COEF, TEMPERATURE, PENALTY = 0.3, 0.7, 0.5
ONE_PASS, MICROBATCHES = 100_000, 64
"""Padded tokens a forward; in one pass the logits come in chunks."""
SHAPES = {
    "llama": {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2},
    "gpt2": {"n_embd": 12, "n_head": 2},
}


@dataclass(frozen=True)
class Everything:
    """The policy as the stage knows it: it writes every response there is."""

    policy: Any
    """Its port."""
    rollout: RolloutChunk
    chance_B: Tensor

    def generate(self, prompts: object, step: int) -> Iterator[RolloutChunk]:
        """Give all responses at once."""
        yield self.rollout

    def step_logprobs(self, rollout: Rollout, step: int) -> Future[Tensor]:
        """Ask the policy."""
        return self.policy.step_logprobs(rollout, step)

    def improve(self, experience: Experience, step: int, texts: None = None) -> Future[Metrics]:
        """Improve the policy; the surrogate is linear in the advantages, so they carry pi(y)."""
        weighed_BR = experience.advantages_BR * self.chance_B[:, None]
        return self.policy.improve(replace(experience, advantages_BR=weighed_BR), step, texts)


@dataclass(frozen=True)
class ByModelAlone:
    """The reward as the stage knows it, without a function."""

    judge: ModelScorer

    def score_rows(self, rollout: Rollout) -> Future[Tensor]:
        """Ask the reward model."""
        return Ready(self.judge.score(rollout)[:, None])


def every_response() -> RolloutChunk:
    """Return every response to every prompt, whole ones and cut ones."""
    words = [word for word in range(NUM_TOKENS) if word != EOS]
    whole = [[*head, EOS] for n in range(NUM_SLOTS) for head in product(words, repeat=n)]
    cut = [list(head) for head in product(words, repeat=NUM_SLOTS)]
    rows = [(prompt, response) for prompt in PROMPTS for response in whole + cut]
    width = max(map(len, PROMPTS)) + NUM_SLOTS
    texts = [prompt + response for prompt, response in rows]
    return RolloutChunk(
        tokens_BT=torch.tensor([text + [0] * (width - len(text)) for text in texts]),
        prompt_lengths_B=torch.tensor([len(prompt) for prompt, _ in rows]),
        response_lengths_B=torch.tensor([len(response) for _, response in rows]),
        finished_B=torch.tensor([response[-1] == EOS for _, response in rows]),
        sampling_logprobs_BR=torch.zeros(len(rows), NUM_SLOTS),
        prompts=("",) * len(rows),
        columns=({},) * len(rows),
        rows_B=torch.arange(len(rows)),
    )


def write_folder(kind: str, family: str, seed: int, folder: Path) -> str:
    """Write a small model and a tokenizer of five words."""
    make = {"causal": models.causal, "scalar": models.classifier}[kind]
    ids = {"vocab_size": NUM_TOKENS, "eos_token_id": EOS, "bos_token_id": 1}
    make(family, seed=seed, **ids, **SHAPES[family]).save_pretrained(folder)
    words = WordLevel({"<eos>": 0, "a": 1, "b": 2, "c": 3, "d": 4}, unk_token="a")
    PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(words), eos_token="<eos>", pad_token="<eos>"
    ).save_pretrained(folder)
    return str(folder)


def widen(module: nn.Module) -> None:
    """Make a role's module float64 throughout; Llama's own norm would compute in float32."""
    for name, part in list(module.named_modules()):
        if isinstance(part, LlamaRMSNorm):
            norm = nn.RMSNorm(part.weight.shape[0], eps=part.variance_epsilon)
            norm.weight = part.weight
            module.set_submodule(name, norm)
    module.double()


def settings(max_tokens: int, num_rows: int, **changes: object) -> Experiment:
    """Return settings under which AdamW's first moment is the gradient of its only update."""
    keeps = models.optimizer(betas=[0.0, 0.95], max_grad_norm=1e15)
    return models.experiment(
        engine={"backend": "torch", "max_tokens_per_microbatch": max_tokens},
        generation={"temperature": TEMPERATURE, "max_new_tokens": NUM_SLOTS},
        policy={"optimizer": keeps},
        value={"optimizer": keeps},
        ppo={
            "rollout_batch_size": num_rows,
            "minibatch_size": num_rows,
            "num_epochs": 1,
            "gae_lambda": 1.0,
            "whiten_advantages": False,
            "kl_coef": KL_COEF,
            "missing_eos_penalty": PENALTY,
            **changes,
        },
    )


@dataclass(frozen=True)
class Scene:
    """Four roles as a run builds them, and the rollout of everything."""

    experiment: Experiment
    roles: dict[str, object]
    judge: ModelScorer
    rollout: RolloutChunk

    @property
    def policy(self) -> Policy:
        """The policy."""
        return self.roles["policy"]

    def network(self, role: str) -> nn.Module:
        """The bare network of a language model."""
        return self.roles[role].engine.module.network

    def logprobs_BR(self, role: str) -> Tensor:
        """Return logprobs of all responses, 0 at padding, without asking the framework."""
        rollout = self.rollout
        logits_BTV = self.network(role)(input_ids=rollout.tokens_BT, use_cache=False).logits
        next_BTV = (logits_BTV / TEMPERATURE).log_softmax(-1)
        chosen_BT = next_BTV[:, :-1].gather(2, rollout.tokens_BT[:, 1:, None]).squeeze(2)
        rows = zip(rollout.prompt_lengths_B.tolist(), rollout.lengths_B.tolist(), strict=True)
        kept = [chosen_BT[b, p - 1 : end - 1] for b, (p, end) in enumerate(rows)]
        return nn.utils.rnn.pad_sequence(kept, batch_first=True)

    def scores_B(self) -> Tensor:
        """Return the reward model's score of every response, less the penalty for a cut one."""
        network = self.judge.engine.module.network
        hidden_BTH = network.base_model(input_ids=self.rollout.tokens_BT, use_cache=False)[0]
        last_BH = hidden_BTH[torch.arange(len(self.rollout)), self.rollout.lengths_B - 1]
        return network.score(last_BH).squeeze(1) - PENALTY * ~self.rollout.finished_B


@pytest.fixture(scope="module", params=sorted(SHAPES))
def folders(request, tmp_path_factory) -> dict[str, str]:
    """Write the four models."""
    home, family = tmp_path_factory.mktemp(request.param), request.param
    kinds = {"policy": "causal", "reference": "causal", "value": "scalar", "reward": "scalar"}
    return {
        role: write_folder(kind, family, seed, home / role)
        for seed, (role, kind) in enumerate(kinds.items())
    }


@pytest.fixture
def scene(folders):
    """Build the roles for a size of microbatch; keywords change the PPO section."""

    def build(max_tokens: int, **changes: object) -> Scene:
        rollout = every_response()
        experiment = settings(max_tokens, len(rollout), **changes)
        roles = {
            name: assigned(name, folders[name], experiment)(models.alone())
            for name in ("policy", "reference", "value")
        }
        scorer = LocalEngine(ScalarModel(load_scalar(folders["reward"], "trained")))
        tokenizer = load_tokenizer(folders["reward"])
        judge = ModelScorer(scorer, tokenizer, None, max_tokens=max_tokens)
        for role in (*roles.values(), judge):
            widen(role.engine.module)
        return Scene(experiment, roles, judge, rollout)

    return build


def exact_gradient(scene: Scene) -> tuple[dict[str, Tensor], Tensor]:
    """Return the gradient of J by parameter, and the probability of every response."""
    logprobs_B = scene.logprobs_BR("policy").sum(1)
    with torch.no_grad():
        ref_logprobs_B = scene.logprobs_BR("reference").sum(1)
        scores_B = scene.scores_B()
    gains_B = scores_B - KL_COEF * (logprobs_B - ref_logprobs_B)
    objective = (logprobs_B.exp() * gains_B).sum()
    named = dict(scene.policy.engine.module.named_parameters())
    gradients = torch.autograd.grad(objective, list(named.values()))
    return dict(zip(named, gradients, strict=True)), logprobs_B.detach().exp()


def step_gradient(scene: Scene, chance_B: Tensor) -> dict[str, Tensor]:
    """Take one PPO step; return the gradient that moved the policy, by parameter, uphill."""
    stage = PPO(
        prompts=lambda step: models.prompts(len(scene.rollout)),
        policy=Everything(local(scene.policy), scene.rollout, chance_B),
        reference=local(scene.roles["reference"]),
        reward=RewardSum(ByModelAlone(scene.judge), reward_mix("model")),
        value=local(scene.roles["value"]),
        terms=build_terms(scene.experiment),
    )
    stage.step(0)
    num_tokens = float(scene.rollout.response_lengths_B.sum())
    state = scene.policy.engine.state()
    prefix = "exp_avg/"
    return {
        name.removeprefix(prefix): -moment * num_tokens
        for name, moment in state.items()
        if name.startswith(prefix)
    }


def distance(found: dict[str, Tensor], exact: dict[str, Tensor]) -> tuple[float, float]:
    """Return (relative error, 1 - cosine) of two gradients."""
    assert found.keys() == exact.keys()
    a = torch.cat([exact[name].flatten() for name in exact])
    b = torch.cat([found[name].flatten() for name in exact])
    assert b.dtype == torch.float64
    cosine = (a @ b / (a.norm() * b.norm())).item()
    return ((a - b).norm() / a.norm()).item(), 1 - cosine


def off_by(made: Scene) -> tuple[float, float]:
    """Return how far a step of the scene is from the exact gradient."""
    exact, chance_B = exact_gradient(made)
    assert chance_B.sum().item() == pytest.approx(len(PROMPTS), abs=1e-12)
    return distance(step_gradient(made, chance_B), exact)


@pytest.mark.parametrize("max_tokens", [ONE_PASS, MICROBATCHES])
@pytest.mark.parametrize("split_head", [True, False])
def test_a_ppo_step_goes_along_the_exact_gradient(scene, max_tokens, split_head):
    # correctness 1, 22, 26, 31, 32, 36, 44, 51, 55: the whole chain at once; 1e-8 would do
    made = scene(max_tokens)
    assert made.policy.engine.module.split_head
    made.policy.engine.module.split_head = split_head
    error, off = off_by(made)
    assert error < 1e-12
    assert off < 1e-12


def test_so_it_does_without_a_baseline(scene):
    error, off = off_by(scene(ONE_PASS, advantage_estimator="reinforce_pp"))
    assert error < 1e-12
    assert off < 1e-12


def test_the_mean_over_responses_of_their_sums_goes_the_same_way(scene):
    # correctness 47: another divisor, no other direction
    _, off = off_by(scene(ONE_PASS, loss_aggregation="seq_mean_token_sum"))
    assert off < 1e-12

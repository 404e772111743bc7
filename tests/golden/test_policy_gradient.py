"""The whole chain, logits to loss, against the exact gradient of the objective.

Every response of a small causal model is enumerated, so J = sum over y of
pi(y) [score(y) - beta log(pi(y) / pi_ref(y))] and its gradient are exact. The chain's expected
update must be that gradient: it sees a wrong temperature, a score or a KL on the wrong token, a
mask off by one, a wrong sign, and advantages that leak past the end.
Axes: B all responses, R slots, V vocabulary, D parameters a position.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from rlhf.algo.advantages import gae
from rlhf.algo.kl import kl_k1
from rlhf.algo.logprobs import token_logprobs
from rlhf.algo.losses import Clip, policy_loss
from rlhf.algo.masking import zero_padding
from rlhf.algo.shaping import penalise_missing_eos, token_rewards
from rlhf.flow.tensors import length_mask

V, R, D, EOS = 5, 4, 6, 0
BETA, TEMPERATURE, PENALTY = 0.3, 0.7, 0.5


def all_responses() -> tuple[Tensor, Tensor, Tensor]:
    """Return every response: tokens_BR (padded with a real id), lengths_B, finished_B."""
    words = [word for word in range(V) if word != EOS]
    whole = [[*head, EOS] for n in range(R) for head in product(words, repeat=n)]
    cut = [list(head) for head in product(words, repeat=R)]
    rows = whole + cut
    tokens_BR = torch.tensor([row + [3] * (R - len(row)) for row in rows])
    lengths_B = torch.tensor([len(row) for row in rows])
    return tokens_BR, lengths_B, torch.arange(len(rows)) < len(whole)


class Model(torch.nn.Module):
    """A causal network in float64: slot t sees the tokens before t."""

    def __init__(self, seed: int) -> None:
        """Draw the weights."""
        super().__init__()
        torch.manual_seed(seed)
        self.table = torch.nn.Parameter(torch.randn(V + R, D, dtype=torch.float64))
        self.mixer = torch.nn.Parameter(torch.randn(D, D, dtype=torch.float64))
        self.out = torch.nn.Parameter(torch.randn(V, D, dtype=torch.float64))

    def forward(self, tokens_BR: Tensor) -> Tensor:
        """Return the log-probability of every token at the temperature."""
        seen = self.table[tokens_BR].cumsum(dim=1)
        seen = torch.cat([torch.zeros_like(seen[:, :1]), seen[:, :-1]], dim=1)
        hidden = torch.tanh((seen + self.table[V:]) @ self.mixer).flatten(0, 1)
        logprobs, _ = token_logprobs(
            hidden, lambda h: h @ self.out.T, tokens_BR.flatten(), TEMPERATURE, 97
        )
        return logprobs.view_as(tokens_BR)


def test_the_expected_update_is_the_gradient_of_the_objective() -> None:
    # correctness 22, 26, 31, 32, 37, 44 at once: cosine 1 - 1e-10, relative error < 1e-8.
    tokens, lengths, finished = all_responses()
    mask = length_mask(lengths, R)
    policy, reference = Model(0), Model(1)
    generator = torch.Generator().manual_seed(2)
    score = torch.randn(len(tokens), generator=generator, dtype=torch.float64)
    logprobs = policy(tokens)
    with torch.no_grad():
        ref_logprobs = reference(tokens)
    total = zero_padding(logprobs, mask).sum(dim=1)
    ref_total = zero_padding(ref_logprobs, mask).sum(dim=1)
    chance = total.exp()
    assert abs(chance.sum().item() - 1) < 1e-12

    owed = torch.where(finished, 0.0, PENALTY).double()
    objective = (chance * (score - owed - BETA * (total - ref_total))).sum()
    exact = torch.autograd.grad(objective, list(policy.parameters()), retain_graph=True)

    old = logprobs.detach()
    shaped = penalise_missing_eos(score, finished, PENALTY)
    rewards = token_rewards(shaped, kl_k1(old, ref_logprobs), lengths, BETA)
    advantages = gae(rewards, torch.zeros_like(rewards), mask, 1.0, 1.0)
    weighted = advantages * chance.detach()[:, None]
    loss = policy_loss(logprobs, old, weighted, mask, Clip(0.2, 0.2)).loss
    found = torch.autograd.grad(-loss, list(policy.parameters()))

    a = torch.cat([g.flatten() for g in exact])
    b = torch.cat([g.flatten() for g in found])
    assert torch.nn.functional.cosine_similarity(a, b, dim=0).item() > 1 - 1e-10
    assert ((a - b).norm() / a.norm()).item() < 1e-8

"""LanguageModel: token ids in, log-probabilities of chosen tokens out.

Axes: B rows, T tokens (right-padded), N chosen positions over all rows, H hidden, V vocabulary.
Rows are right-padded and attention is causal, so real tokens never see padding and positions
count from 0: no attention mask is needed, for learned and rotary positions alike. Where texts
share a row, position ids begin anew with each, and show the network where one ends.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from rlhf.algo.logprobs import logprobs_of, token_logprobs
from rlhf.algo.packing import rounded
from rlhf.models.families import base_of
from rlhf.models.packing import can_pack, check_causal, placed
from rlhf.models.rounding import RelativeHead, make_head_relative, narrow_products, widen_stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LOGIT_CHUNK = 1024
"""Positions whose logits exist at one time; bounds memory to chunk x vocabulary."""


class LanguageModel(nn.Module):
    """A causal language model of transformers (with or without peft adapters)."""

    def __init__(self, network: PreTrainedModel) -> None:
        """Wrap the network; find out whether its head can be split off and rows can share a bin.

        Raises:
            ModelError: when it reads a text from both sides.
        """
        super().__init__()
        check_causal(network)
        self.network = network
        self.packs = can_pack(network)
        self.split_head = _head_is_separable(network)
        self._is_wide = widen_stream(network)
        if self.split_head:
            make_head_relative(network)

    def forward(
        self,
        tokens_BT: Tensor,
        positions_N: Tensor,
        targets_N: Tensor,
        temperature: float,
        position_ids_BT: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return (logprobs_N, entropy_N), float32, of targets at flat positions (row * T + column).

        The log-probability of a target is read at the position *before* the target's own. The head
        is given a round number of positions, as shapes are that were met before (`packing.STEPS`).

        Args:
            tokens_BT: Token ids, int64.
            positions_N: Flat positions before the targets, int64.
            targets_N: Token ids whose log-probability is wanted, int64.
            temperature: Divides the logits.
            position_ids_BT: Int64; a text begins wherever they do not go on by 1. None where
                every row is one text.
        """
        options = placed(position_ids_BT)
        with self.products():
            if not self.split_head:
                logits_BTV = self.network(input_ids=tokens_BT, **options).logits
                chosen_NV = logits_BTV.flatten(0, 1)[positions_N]
                return logprobs_of(chosen_NV, targets_N, temperature)
            hidden_NH = _backbone(self.network)(input_ids=tokens_BT, **options)[0]
            num, extra = len(positions_N), rounded(len(positions_N)) - len(positions_N)
            hidden_NH = hidden_NH.flatten(0, 1)[pad(positions_N, (0, extra))]
            targets_N = pad(targets_N, (0, extra))
            found = token_logprobs(hidden_NH, self._logits, targets_N, temperature, LOGIT_CHUNK)
            return found[0][:num], found[1][:num]

    def logits(self, tokens_BT: Tensor, positions_N: Tensor, **options: Any) -> Tensor:
        """Return logits_NV at flat positions (row * T + column), for a sampler.

        Args:
            tokens_BT: Token ids, int64.
            positions_N: Where the logits are wanted.
            options: Whatever else the network takes: cache, mask, position ids.
        """
        with self.products():
            if not self.split_head:
                logits_BTV = self.network(input_ids=tokens_BT, **options).logits
                return logits_BTV.flatten(0, 1)[positions_N]
            hidden_NH = _backbone(self.network)(input_ids=tokens_BT, **options)[0]
            return self._logits(hidden_NH.flatten(0, 1)[positions_N])

    def products(self) -> AbstractContextManager[object]:
        """Return the context in which the network must be run."""
        return narrow_products(self.network.device, enabled=self._is_wide)

    def example_inputs(self) -> tuple[Tensor, Tensor, Tensor, float]:
        """Return the smallest inputs `forward` takes."""
        zero = torch.zeros(1, dtype=torch.long, device=self.network.device)
        return zero[None] + 1, zero, zero, 1.0

    def _logits(self, hidden_NH: Tensor, targets_N: Tensor | None = None) -> Tensor:
        """Return logits_NV; in bf16 they are shifted, a row as a whole (`RelativeHead`)."""
        head = _head(self.network)
        assert head is not None
        return head(hidden_NH, targets_N) if isinstance(head, RelativeHead) else head(hidden_NH)


def _backbone(network: PreTrainedModel) -> nn.Module:
    return base_of(network)


def _head(network: PreTrainedModel) -> nn.Module | None:
    return network.get_output_embeddings()


@torch.no_grad()
def _head_is_separable(network: PreTrainedModel) -> bool:
    """Return whether logits are just the output embedding of the backbone's last hidden states.

    Most are; some models scale or cap their logits, or project the hidden states first. Asking
    the model itself is safer than a list of names.
    """
    was_training = network.training
    network.eval()
    tokens_BT = torch.arange(1, 5, device=network.device)[None] % network.config.vocab_size
    whole = network(input_ids=tokens_BT, use_cache=False).logits
    hidden = _backbone(network)(input_ids=tokens_BT, use_cache=False)[0]
    head = _head(network)
    same = head is not None and bool(torch.equal(head(hidden), whole))
    network.train(was_training)
    return same

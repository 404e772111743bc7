"""ScalarModel: token ids in, one number at each chosen position out (reward and value share it).

Axes: B rows, T tokens (right-padded), N chosen positions over all rows.
The network is a plain `AutoModelForSequenceClassification` with one label. Its own pooling looks
for padding by token id, which goes wrong when pad and EOS are one id; positions are given here.
Where texts share a row, position ids begin anew with each.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from rlhf.errors import ModelError
from rlhf.models.families import base_of
from rlhf.models.packing import can_pack, check_causal, placed

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SCORE_MEAN, SCORE_STD = "rlhf_score_mean", "rlhf_score_std"
"""Keys of config.json that carry a reward model's normalisation wherever the folder goes."""


class ScalarModel(nn.Module):
    """A one-label sequence classifier of transformers, read at any position, normalised."""

    def __init__(self, network: PreTrainedModel) -> None:
        """Wrap the network.

        Raises:
            ModelError: when the network has no linear `score` head of one output, reads a text
                from both sides, or has a normalisation that is none.
        """
        super().__init__()
        self.network = network
        self.score_mean, self.score_std = normalisation(network)
        weight = self.head.weight
        if network.config.num_labels != 1:
            raise ModelError(
                f"a reward or value model has one label, this {type(network).__name__} has "
                f"{network.config.num_labels} (head {tuple(weight.shape)}); train it with "
                "num_labels=1"
            )
        check_causal(network)
        self.packs = can_pack(network)

    @property
    def head(self) -> nn.Linear:
        """The linear head: [hidden] -> [1]."""
        heads = dict(self.network.named_children())
        if "score" not in heads:
            raise ModelError(
                f"{type(self.network).__name__} has no `score` head; use a causal architecture's "
                "AutoModelForSequenceClassification"
            )
        return heads["score"]  # type: ignore[return-value]

    def forward(
        self, tokens_BT: Tensor, positions_N: Tensor, position_ids_BT: Tensor | None = None
    ) -> Tensor:
        """Return scalars_N, float32, at flat positions (row * T + column).

        Args:
            tokens_BT: Token ids, int64.
            positions_N: Where a scalar is wanted, int64.
            position_ids_BT: Int64; a text begins wherever they do not go on by 1. None where
                every row is one text.
        """
        hidden = base_of(self.network)(input_ids=tokens_BT, **placed(position_ids_BT))[0]
        raw_N = self.head(hidden.flatten(0, 1)[positions_N]).squeeze(-1)
        raw_N = raw_N.to(torch.promote_types(raw_N.dtype, torch.float32))
        return (raw_N - self.score_mean) / self.score_std

    def normalize(self, mean: float, std: float) -> None:
        """Shift and scale all later outputs, so that those with this mean and std become (0, 1)."""
        self.score_mean += mean * self.score_std
        self.score_std *= std
        self.network.config.update({SCORE_MEAN: self.score_mean, SCORE_STD: self.score_std})

    def example_inputs(self) -> tuple[Tensor, Tensor]:
        """Return the smallest inputs `forward` takes."""
        device = self.head.weight.device
        return torch.ones(1, 1, dtype=torch.long, device=device), torch.zeros(
            1, dtype=torch.long, device=device
        )


def normalisation(network: PreTrainedModel) -> tuple[float, float]:
    """Return the mean and standard deviation of scores that a network's config states.

    Raises:
        ModelError: when they are no finite numbers, or the deviation is not above 0.
    """
    stored = network.config.to_dict()
    mean, std = stored.get(SCORE_MEAN, 0.0), stored.get(SCORE_STD, 1.0)
    if not all(type(n) in (int, float) and math.isfinite(n) for n in (mean, std)) or std <= 0:
        raise ModelError(
            f"{network.name_or_path}: {SCORE_MEAN}={mean!r} and {SCORE_STD}={std!r} in its "
            "config.json; they must be finite numbers, the second above 0: put back what "
            "`rlhf reward_model` wrote, or take both out"
        )
    return float(mean), float(std)

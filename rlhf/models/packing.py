"""Whether a network keeps apart the texts that share a row; found by trial, not by its name.

transformers builds a block-diagonal causal mask from position ids that begin anew (sliding windows
included), given neither a mask nor a cache. Networks that carry a state along the row, or take no
position ids, cannot do that.
Axes: B rows, T tokens, H hidden.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rlhf.models.families import base_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TRIAL = (5, 4)
"""Lengths of the two texts of a row in the trial."""


def placed(position_ids_BT: Tensor | None) -> dict[str, Any]:
    """Return what a network is asked beside tokens: no cache, and position ids where texts share.

    Args:
        position_ids_BT: Int64, or None where every row is one text.
    """
    if position_ids_BT is None:
        return {"use_cache": False}
    return {"use_cache": False, "position_ids": position_ids_BT}


@torch.no_grad()
def can_pack(network: PreTrainedModel) -> bool:
    """Tell whether a text behind another, with position ids from 0, is read as if it stood alone.

    Two rows of two texts each are compared with the same texts alone, in units of what the
    neighbours change when nothing keeps them apart. In these units a leak is near 1 (a tenth in
    untrained linear attention) and rounding far below the root of the dtype's precision. Two rows,
    as some kernels look at the position ids of a lone row only.
    """
    backbone = base_of(network)
    if "position_ids" not in inspect.signature(backbone.forward).parameters:
        return False
    was_training = network.training
    network.eval()
    first = TRIAL[0]
    tokens_BT = torch.arange(1, 2 * sum(TRIAL) + 1, device=network.device).reshape(2, -1)
    tokens_BT = tokens_BT % network.config.vocab_size
    position_ids_T = torch.cat([torch.arange(n, device=network.device) for n in TRIAL])
    alone = backbone(input_ids=tokens_BT[:, first:], **placed(None))[0]
    packed = backbone(input_ids=tokens_BT, **placed(position_ids_T.expand(2, -1)))[0]
    mixed = backbone(input_ids=tokens_BT, **placed(None))[0]
    network.train(was_training)
    leak = (packed[:, first:] - alone).float().norm()
    most = torch.finfo(alone.dtype).eps ** 0.5 * (mixed[:, first:] - alone).float().norm()
    return bool(leak <= most)

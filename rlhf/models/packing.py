"""How a network reads rows: causally, and texts that share one separately; found by trial.

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

from rlhf.errors import ModelError
from rlhf.models.families import INSTEAD, base_of, context_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TRIAL = (5, 4)
"""Lengths of the two texts of a row in the trial."""
MOST_LEAK = 0.01
"""Most relative change of the output at a token; an encoder's changes by a fifth and more."""


def placed(position_ids_BT: Tensor | None) -> dict[str, Any]:
    """Return a network's inputs beside tokens: no cache, and position ids where texts share rows.

    Args:
        position_ids_BT: Int64, or None where every row is one text.
    """
    if position_ids_BT is None:
        return {"use_cache": False}
    return {"use_cache": False, "position_ids": position_ids_BT}


@torch.no_grad()
def check_causal(network: PreTrainedModel) -> None:
    """Check that a network's output at a token does not change with the tokens behind it.

    Rows are right-padded without a mask here, which only such networks read aright. Both forwards
    have one shape, so they round alike.

    Raises:
        ModelError: when it does, or changes from one forward to the next.
    """
    was_training = network.training
    network.eval()
    first = TRIAL[0]
    tokens_BT = trial_tokens(network, 2, sum(TRIAL))
    other_BT = tokens_BT.clone()
    other_BT[:, first:] = tokens_BT[:, first:].flip(0)
    early, changed = (
        base_of(network)(input_ids=ids_BT, **placed(None))[0][:, :first].float()
        for ids_BT in (tokens_BT, other_BT)
    )
    network.train(was_training)
    leak, most = (early - changed).norm(), MOST_LEAK * early.norm()
    if not leak <= most:
        raise ModelError(
            f"{type(network).__name__}: its output at a token changes with the tokens behind it "
            f"(by {float(leak / early.norm()):.1%}), so it is no causal language model; {INSTEAD}"
        )


def trial_tokens(network: PreTrainedModel, num_rows: int, width: int) -> Tensor:
    """Return ordinary token ids [rows, width]: special ones stand at the ends of a vocabulary."""
    size = int(network.config.get_text_config().vocab_size)
    ids = size // 2 + 7 * torch.arange(num_rows * width, device=network.device)
    return (ids % size).reshape(num_rows, width)


@torch.no_grad()
def can_pack(network: PreTrainedModel) -> bool:
    """Return whether a text behind another, with position ids from 0, is read as if it were alone.

    Two rows of two texts each are compared with the same texts alone, in units of what the
    neighbours change when nothing separates them. In these units a leak is near 1 (a tenth in
    untrained linear attention) and rounding far below the root of the dtype's precision. Two rows,
    as some kernels use the position ids of a lone row only.
    """
    backbone = base_of(network)
    if "position_ids" not in inspect.signature(backbone.forward).parameters:
        return False
    if _has_index(network) or _has_square(network):
        return False
    was_training = network.training
    network.eval()
    first = TRIAL[0]
    tokens_BT = trial_tokens(network, 2, sum(TRIAL))
    position_ids_T = torch.cat([torch.arange(n, device=network.device) for n in TRIAL])
    alone = backbone(input_ids=tokens_BT[:, first:], **placed(None))[0]
    packed = backbone(input_ids=tokens_BT, **placed(position_ids_T.expand(2, -1)))[0]
    mixed = backbone(input_ids=tokens_BT, **placed(None))[0]
    network.train(was_training)
    leak = (packed[:, first:] - alone).float().norm()
    most = torch.finfo(alone.dtype).eps ** 0.5 * (mixed[:, first:] - alone).float().norm()
    return bool(leak <= most)


def _has_index(network: PreTrainedModel) -> bool:
    """Return whether an index picks the attended tokens: more than a trial's texts have.

    As DeepSeek-V3.2's: it picks in a row as a whole.
    """
    known = network.config.get_text_config().to_dict()
    return any(key.startswith("index") and known[key] for key in known)


def _has_square(network: PreTrainedModel) -> bool:
    """Return whether it keeps a mask as wide as its context, which a bin may not be wider than."""
    context = context_of(network.config.get_text_config())
    return any(buffer.shape[-2:] == (context, context) for buffer in network.buffers())

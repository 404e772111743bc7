"""Attention of short rows in bf16 on a CPU, computed in fp32.

torch's bf16 kernel for CPUs is made for long rows: forward and backward of rows of up to a hundred
tokens take more than twice as long as widened copies in its fp32 kernel (`bench/attention.py`).
"""

from __future__ import annotations

import inspect
import re
import sys
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NAME = "sdpa_short_rows_wide"
"""Name of this attention among those of transformers."""
ASKS_FOR_NAME = re.compile(r'_attn_implementation\s*(==|!=|in|not in)[^\n]*"sdpa"')
"""In the code of a family that computes otherwise under another name."""
LONGEST = 256
"""Tokens of a row from which on the bf16 kernel pays."""


def attend(
    module: nn.Module,
    q_BHTD: Tensor,
    k_BHTD: Tensor,
    v_BHTD: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attend as `sdpa` does; bf16 rows of 2 to LONGEST tokens on a CPU are widened to fp32.

    Args:
        module: The attention layer.
        q_BHTD: What each token looks for, [rows, heads, tokens, width].
        k_BHTD: As above; heads may be fewer.
        v_BHTD: As above.
        attention_mask: Bool or additive, or None for causal.
        options: The layer's further options of attention.
    """
    narrow = q_BHTD.dtype is torch.bfloat16 or torch.is_autocast_enabled("cpu")
    if q_BHTD.device.type != "cpu" or not narrow or not 1 < q_BHTD.shape[2] <= LONGEST:
        return sdpa_attention_forward(module, q_BHTD, k_BHTD, v_BHTD, attention_mask, **options)
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    with torch.autocast("cpu", enabled=False):
        # As a cache keeps them, whatever dtype the layer made them in.
        q, k, v = (states.to(torch.bfloat16).float() for states in (q_BHTD, k_BHTD, v_BHTD))
        output, _ = sdpa_attention_forward(module, q, k, v, attention_mask, **options)
    return output.to(torch.bfloat16), None


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, sdpa_mask)


def widen_short_rows(network: PreTrainedModel) -> None:
    """Let a network that attends by `sdpa` attend this way.

    A family whose own code asks whether the name is `sdpa` keeps it: some choose by it whether the
    tokens that an index picked are the only ones looked at.
    """
    # transformers has no public name for what it chose.
    if network.config._attn_implementation != "sdpa":  # pyright: ignore[reportPrivateUsage]
        return
    if not ASKS_FOR_NAME.search(inspect.getsource(sys.modules[type(network).__module__])):
        network.set_attn_implementation(NAME)

"""Rounding: what a bf16 network keeps in fp32, so that two ways to compute one text agree.

bf16 has 8 bits, and large pretrained models have large activations. Two roundings matter most: of
the residual stream, where each block adds a little to a large sum, and of the logits, where 16
and 16.125 are neighbours. So the stream stays in fp32 between bf16 products (as under autocast
over fp32 weights), and logits are made relative to one of them before they are rounded.

Axes: N positions, H hidden units, V vocabulary.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rlhf.models.families import base_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class RelativeHead(nn.Linear):
    """An output embedding whose bf16 logits are relative to a reference logit of their row.

    The reference is subtracted within the product, before its sum is rounded to bf16, so a logit
    at a distance d from it is off by at most d / 256. Probabilities are the same for any reference.
    """

    def forward(self, input: Tensor, targets_N: Tensor | None = None) -> Tensor:
        """Return logits less the target's logit; without targets, less the largest one.

        Args:
            input: Hidden states: [N, H] with targets, else of any shape.
            targets_N: Token ids, int64.
        """
        if _product_dtype(self.weight) is not torch.bfloat16:
            return super().forward(input)
        hidden_NH = input.to(torch.bfloat16).flatten(0, -2)
        with torch.no_grad():
            reference_N1 = self._reference(hidden_NH, targets_N)
        offset_NV = (-reference_N1).expand(-1, self.out_features)
        weight_HV = self.weight.to(torch.bfloat16).T
        return torch.addmm(offset_NV, hidden_NH, weight_HV).view(*input.shape[:-1], -1)

    def _reference(self, hidden_NH: Tensor, targets_N: Tensor | None) -> Tensor:
        """Return one logit a row, near the target's or the largest, as a bf16 number."""
        if targets_N is None:
            return super().forward(hidden_NH).amax(-1, keepdim=True)
        chosen_NH = self.weight[targets_N].to(torch.bfloat16).float()
        return (hidden_NH.float() * chosen_NH).sum(-1, keepdim=True).to(torch.bfloat16)


class WideLayerNorm(nn.LayerNorm):
    """A layer norm that takes fp32 hidden states with bf16 weights, and returns fp32."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalized hidden states."""
        own = {name: p.float() for name, p in self.named_parameters(recurse=False)}
        shape, scale, shift = self.normalized_shape, own.get("weight"), own.get("bias")
        return functional.layer_norm(input.float(), shape, scale, shift, self.eps)


def make_head_relative(network: PreTrainedModel) -> None:
    """Make the output embedding a `RelativeHead` in place, if it is a plain product."""
    head = network.get_output_embeddings()
    if type(head) is nn.Linear and "bias" not in dict(head.named_parameters()):
        head.__class__ = RelativeHead


@torch.no_grad()
def widen_stream(network: PreTrainedModel) -> bool:
    """Let a bf16 network's hidden states be fp32, where a trial shows that it can do that.

    Returns:
        Whether it was done; the network must then be run under `narrow_products`.
    """
    if network.dtype is not torch.bfloat16:
        return False
    hooks = [network.get_input_embeddings().register_forward_hook(_widened)]
    # What a block's norm gives is multiplied next: rounded once here, and not by each product.
    hooks += [norm.register_forward_hook(_narrowed) for norm in _block_norms(network)]
    norms = [module for module in network.modules() if type(module) is nn.LayerNorm]
    for norm in norms:
        norm.__class__ = WideLayerNorm
    tokens_BT = torch.arange(1, 5, device=network.device)[None]
    tokens_BT = tokens_BT % network.config.get_text_config().vocab_size
    try:
        with narrow_products(network.device):
            base_of(network)(input_ids=tokens_BT, use_cache=False)
    except RuntimeError:  # a product or sum that autocast does not know, of unlike dtypes
        for hook in hooks:
            hook.remove()
        for norm in norms:
            norm.__class__ = nn.LayerNorm
        return False
    return True


def narrow_products(
    device: torch.device, *, enabled: bool = True
) -> AbstractContextManager[object]:
    """Compute products in bf16, whatever the dtype of what is multiplied."""
    if not enabled:
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _product_dtype(weight: Tensor) -> torch.dtype:
    kind = weight.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype


def _block_norms(network: PreTrainedModel) -> list[nn.Module]:
    """Return the norms within blocks; one beside them may give the stream itself."""
    beside = {id(module) for module in base_of(network).children()}
    named = (m for m in network.modules() if type(m).__name__.endswith("Norm"))
    return [norm for norm in named if id(norm) not in beside]


def _narrowed(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return output.to(torch.bfloat16)


def _widened(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return output.float()

"""What a decoder's queries may attend to, and what kinds of layers it has.

Axes: N rows, S columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rlhf.models.language_model import LanguageModel

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

EVERYTHING = 1 << 30
"""A window that no text is longer than."""
NAMES_OF_KINDS = ("layer_types", "attention_layers", "layers_block_type", "block_types")
"""Under which configs say what their layers are, state-space ones too."""


class DecodeMask:
    """The attention masks of each row's newest token, for one model."""

    def __init__(self, model: LanguageModel) -> None:
        """Read the kinds of the layers and their windows from the model's config."""
        config = model.network.config.get_text_config()
        self.layer_types, self._window = layer_types(config), _window(config)
        self._dtype = model.network.dtype

    def __call__(self, columns_N: Tensor, width: int) -> Tensor | dict[str, Tensor]:
        """Return the additive attention mask: 0 where allowed, else the dtype's least number.

        Args:
            columns_N: Where each row's newest token stands, int64.
            width: Columns of the cache.

        Returns:
            The mask, [N, 1, 1, S]; a mapping from the kind of layer where there are several.
        """
        behind_NS = columns_N[:, None] - torch.arange(width, device=columns_N.device)
        hidden = {"full_attention": behind_NS < 0}
        if "sliding_attention" in self.layer_types:
            hidden["sliding_attention"] = (behind_NS < 0) | (behind_NS >= self._window)
        nothing_NS = torch.zeros(behind_NS.shape, dtype=self._dtype, device=columns_N.device)
        least = torch.finfo(self._dtype).min
        masks = {
            kind: nothing_NS.masked_fill(hidden[kind], least)[:, None, None]
            for kind in set(self.layer_types)
        }
        return masks if len(masks) > 1 else masks[self.layer_types[0]]


def layer_types(config: PreTrainedConfig) -> list[str]:
    """Return the kind of attention of every layer."""
    known = config.to_dict()
    named = next((known[key] for key in NAMES_OF_KINDS if known.get(key)), None)
    if named:
        return list(named)
    kind = "full_attention" if _window(config) == EVERYTHING else "sliding_attention"
    return [kind] * int(config.num_hidden_layers)  # type: ignore[attr-defined]


def _window(config: PreTrainedConfig) -> int:
    """Return the sliding window in tokens."""
    given = config.to_dict().get("sliding_window")
    return EVERYTHING if given is None else int(given)

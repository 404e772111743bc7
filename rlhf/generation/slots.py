"""SlotCache: keys and values of the rows being generated, in one reused block of memory.

Axes: N slots, S columns (one a token of a row, from its first), H heads, D head width, P prompt
tokens, U different prompts. Row n of the cache holds one response in the making; its tokens stand
at columns 0 to its length. Live rows are kept in the first slots, so a forward reads those alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from rlhf.engine.memory import SHARE
from rlhf.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

BYTES_A_NUMBER = 4
"""The most that a key or a value takes."""


def slots_that_fit(wanted: int, config: PreTrainedConfig, capacity: int, free: int) -> int:
    """Return how many rows' keys and values fit into the free memory, at most those wanted.

    Args:
        wanted: Rows to be decoded together.
        config: Config of a language model.
        capacity: Most tokens of a row.
        free: Free bytes.

    Raises:
        ModelError: when not even one row fits.
    """
    a_row = bytes_a_row(config, capacity)
    fitting = int(SHARE * free / a_row)
    if fitting < 1:
        raise ModelError(
            f"the keys and values of one response of {capacity} tokens take "
            f"{a_row / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free; lower "
            "generation.max_new_tokens"
        )
    return min(wanted, fitting)


def bytes_a_row(config: PreTrainedConfig, capacity: int) -> int:
    """Return the most bytes that the keys and values of one row take.

    Args:
        config: Config of a language model.
        capacity: Most tokens of a row.
    """
    known = config.to_dict()
    num_heads: int = config.num_attention_heads  # type: ignore[attr-defined]
    width: int = known.get("head_dim") or config.hidden_size // num_heads  # type: ignore[attr-defined]
    widths = (width, width)
    if known.get("qk_nope_head_dim"):  # latent attention: what its heads see is kept
        widths = (known["qk_nope_head_dim"] + known["qk_rope_head_dim"], known["v_head_dim"])
    heads: int = known.get("num_key_value_heads") or num_heads
    layers: int = config.num_hidden_layers  # type: ignore[attr-defined]
    return layers * heads * sum(widths) * BYTES_A_NUMBER * capacity


class SlotCache(Cache):
    """A transformers cache over slots; call `prefill` or `decode` before each forward."""

    def __init__(self, num_layers: int, num_slots: int, capacity: int) -> None:
        """Plan the memory; it is allocated at the first keys, which show its width.

        Args:
            num_layers: Attention layers.
            num_slots: Most rows at one time.
            capacity: Most tokens of a row, prompt and response.
        """
        self.num_slots, self.capacity = num_slots, capacity
        self.slots_N = torch.zeros(0, dtype=torch.long)
        self.source_N: Tensor | None = None
        self.flat_N = torch.zeros(0, dtype=torch.long)
        self.width = 0
        super().__init__(layers=[SlotLayer(self) for _ in range(num_layers)])

    def prefill(self, slots_N: Tensor, source_N: Tensor) -> None:
        """Set the next forward to read whole prompts: row source_N[i] goes to slot slots_N[i]."""
        self.slots_N, self.source_N, self.width = slots_N, source_N, 0

    def decode(self, columns_N: Tensor, width: int) -> None:
        """Set the next forward to add one token to each of the first slots, at these columns.

        Args:
            columns_N: Where each row's token goes, int64.
            width: Columns that any row has, this token included.
        """
        self.source_N, self.width = None, width
        rows_N = torch.arange(len(columns_N), device=columns_N.device)
        self.flat_N = rows_N * self.capacity + columns_N

    def move(self, origin_N: Tensor, target_N: Tensor) -> None:
        """Copy rows into other slots, whose rows are overwritten."""
        for layer in self.layers:
            layer.move(origin_N, target_N, self.width)  # type: ignore[union-attr]


class SlotLayer(CacheLayerMixin):
    """One attention layer's keys and values, [N, S, H, D]."""

    def __init__(self, cache: SlotCache) -> None:
        """Keep the cache, which describes each forward."""
        super().__init__()
        self._cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate the memory."""
        shape = (self._cache.num_slots, self._cache.capacity)
        self.keys, self.values = (
            states.new_zeros(*shape, *_per_token(states), dtype=_dtype_kept(states))
            for states in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Store [n, H, t, D] states; return all that the forward's queries may attend to."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        cache = self._cache
        if cache.source_N is not None:
            width = key_states.shape[2]
            for memory, states in ((self.keys, key_states), (self.values, value_states)):
                kept = states.to(memory.dtype).transpose(1, 2)
                memory[cache.slots_N, :width] = kept[cache.source_N]
            return key_states, value_states
        seen: list[Tensor] = []
        for memory, states in ((self.keys, key_states), (self.values, value_states)):
            memory.flatten(0, 1).index_copy_(0, cache.flat_N, states[:, :, 0].to(memory.dtype))
            seen.append(memory[: len(states), : cache.width].transpose(1, 2))
        return seen[0], seen[1]

    def move(self, origin_N: Tensor, target_N: Tensor, width: int) -> None:
        """Copy rows; a layer that keeps nothing has none."""
        for memory in (self.keys, self.values):
            if memory is not None:
                memory[target_N, :width] = memory[origin_N, :width]

    def get_mask_sizes(self, num_tokens: int) -> tuple[int, int]:  # type: ignore[override]
        """Return how many columns the queries attend to, and the first of them."""
        return self._cache.width or num_tokens, 0

    def get_seq_length(self) -> int:
        """Return the number of columns before the forward's own."""
        return max(self._cache.width - 1, 0)

    def get_max_length(self) -> int:
        """Return the number of columns in the cache."""
        return self._cache.capacity


def _dtype_kept(states: Tensor) -> torch.dtype:
    """Return the dtype products read states in: under autocast its own, rounded to anyway."""
    kind = states.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else states.dtype


def _per_token(states: Tensor) -> tuple[int, int]:
    return states.shape[1], states.shape[3]

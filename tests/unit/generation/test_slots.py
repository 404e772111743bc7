"""SlotCache: rows go to the slots they are given, move whole, and are seen up to the width."""

from __future__ import annotations

import pytest
import torch

from rlhf.errors import ModelError
from rlhf.generation.slots import SlotCache, slots_that_fit
from tests.models import config


def states(rows: int, tokens: int, seed: int) -> torch.Tensor:
    """Keys or values of some rows, [n, H, t, D]."""
    return torch.randn(rows, 2, tokens, 3, generator=torch.Generator().manual_seed(seed))


def test_prompts_are_kept_once_for_each_of_their_samples():
    cache, key, value = SlotCache(1, 4, 6), states(2, 3, 0), states(2, 3, 1)
    cache.prefill(torch.tensor([0, 1, 2]), torch.tensor([1, 0, 1]))
    seen = cache.update(key, value, 0)
    assert seen[0] is key
    assert (cache.get_seq_length(), cache.get_mask_sizes(3, 0)) == (0, (3, 0))
    cache.decode(torch.tensor([3, 2, 3]), 4)
    new = states(3, 1, 2)
    keys, values = cache.update(new, new, 0)
    assert keys.shape == (3, 2, 4, 3)
    for slot, source in enumerate((1, 0, 1)):
        assert torch.equal(values[slot, :, :2], value[source, :, :2])
    assert torch.equal(keys[1, :, 2], new[1, :, 0]), "at its own column, over what stood there"
    assert torch.equal(keys[0, :, 3], new[0, :, 0])
    assert (cache.get_seq_length(), cache.get_mask_sizes(1, 0)) == (3, (4, 0))
    assert cache.layers[0].get_max_length() == 6


def test_moved_rows_are_whole():
    cache, key = SlotCache(1, 4, 6), states(4, 5, 3)
    cache.prefill(torch.arange(4), torch.arange(4))
    cache.update(key, key, 0)
    cache.width = 5
    cache.move(torch.tensor([3]), torch.tensor([1]))
    cache.decode(torch.tensor([5, 5, 5]), 6)
    keys, _ = cache.update(states(3, 1, 4), states(3, 1, 4), 0)
    for slot, origin in enumerate((0, 3, 2)):
        assert torch.equal(keys[slot, :, :5], key[origin])


@pytest.mark.parametrize(
    ("family", "per_token"), [("llama", 2 * 2 * 2 * 8), ("gpt2", 2 * 2 * 4 * 8)]
)
def test_as_many_rows_as_fit_are_decoded_together(family, per_token):
    one_row = 4 * per_token * 100
    assert slots_that_fit(64, config(family), 100, 10**9) == 64
    assert slots_that_fit(64, config(family), 100, int(5.5 * one_row / 0.9)) == 5
    with pytest.raises(ModelError, match="lower generation.max_new_tokens"):
        slots_that_fit(64, config(family), 100, one_row // 2)

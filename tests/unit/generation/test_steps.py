"""Steps of rounded shapes give the same logits as steps of the exact shapes."""

from __future__ import annotations

import pytest
import torch

from rlhf.generation.slots import SlotCache
from rlhf.generation.steps import Steps
from rlhf.models.language_model import LanguageModel
from tests.models import causal


@pytest.mark.parametrize("family", ("llama", "gpt2", "mistral", "gemma2"))
@torch.no_grad()
def test_rounding_changes_no_logit_and_touches_no_live_row(family):
    model, found = LanguageModel(causal(family)), []
    tokens_NP = torch.randint(30, 200, (3, 5), generator=torch.Generator().manual_seed(0))
    for rounded in (False, True):
        cache = SlotCache(2, 40, 20)
        slots_N, lengths_N = torch.arange(3), torch.tensor([5, 2, 4])
        cache.prefill(slots_N, slots_N)
        model.logits(tokens_NP, slots_N, past_key_values=cache, use_cache=True)
        step, logits = Steps(model, cache, rounded=rounded), []
        for turn in range(3):
            tokens_N = torch.tensor([40, 41, 42]) + turn
            logits.append(step(tokens_N, lengths_N + turn, int(lengths_N.max()) + turn + 1))
        found.append(torch.stack(logits))
    assert found[1].shape == found[0].shape
    torch.testing.assert_close(found[1], found[0], rtol=0, atol=1e-5)

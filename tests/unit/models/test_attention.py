"""Short rows in bf16 on a CPU attend in fp32; everything else is torch's own attention."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from rlhf.models.attention import LONGEST, NAME, attend, widen_short_rows
from rlhf.models.pretrained import load_causal_lm
from tests.families import tiny
from tests.models import SEPARABLE


class Layer(torch.nn.Module):
    """What transformers' attention asks of the layer it works for."""

    is_causal = True


def draw(num_tokens, dtype):
    made = torch.Generator().manual_seed(0)
    return [torch.randn(2, 4, num_tokens, 8, generator=made).to(dtype) for _ in range(3)]


def plain(seeks, keys, values, mask=None):
    """Torch's kernel on exactly these tensors, in the layout of transformers' answers."""
    answer = scaled_dot_product_attention(seeks, keys, values, mask, is_causal=mask is None)
    return answer.transpose(1, 2)


@pytest.mark.parametrize("mask_dtype", [None, torch.bool, torch.bfloat16])
def test_a_short_bf16_row_is_attended_in_fp32_and_answered_in_bf16(mask_dtype):
    inputs = draw(20, torch.bfloat16)
    seen = torch.ones(20, 20, dtype=torch.bool).tril()[None, None]
    hidden = torch.zeros(1, 1, 20, 20).masked_fill(~seen, -torch.inf)
    mask = {None: None, torch.bool: seen, torch.bfloat16: hidden.bfloat16()}[mask_dtype]
    answer, _ = attend(Layer(), *inputs, mask, scaling=None)
    wide = plain(*(x.float() for x in inputs))
    narrow = plain(*inputs)
    assert answer.dtype is torch.bfloat16
    assert torch.equal(answer, wide.bfloat16())
    assert not torch.equal(answer, narrow)


def test_under_autocast_states_are_first_rounded_as_a_cache_keeps_them():
    inputs = draw(20, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        answer, _ = attend(Layer(), *inputs, None)
    kept = [states.bfloat16().float() for states in inputs]
    assert torch.equal(answer, plain(*kept).bfloat16())


@pytest.mark.parametrize(
    ("num_tokens", "dtype"),
    [(20, torch.float32), (1, torch.bfloat16), (LONGEST + 1, torch.bfloat16)],
)
def test_other_rows_are_left_to_torch(num_tokens, dtype):
    inputs = draw(num_tokens, dtype)
    answer, _ = attend(Layer(), *inputs, None)
    assert answer.dtype is dtype
    assert torch.equal(answer, plain(*inputs))


@pytest.mark.parametrize("family", SEPARABLE)
def test_every_loaded_network_attends_this_way_and_its_folder_says_nothing_of_it(
    family, folder, tmp_path
):
    network = load_causal_lm(folder(family), "bf16")
    assert network.config._attn_implementation == NAME
    network.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text()


def test_a_family_that_asks_for_the_name_of_its_attention_keeps_it():
    # DeepSeek-V3.2 attends to what its index picked only where the name is sdpa or eager.
    for family, name in (("llama", NAME), ("deepseek_v32", "sdpa"), ("doge", NAME)):
        network = tiny.causal(family)
        tokens_BT = torch.arange(30, 54)[None]
        with torch.no_grad():
            wanted = network(input_ids=tokens_BT, use_cache=False).logits
            widen_short_rows(network)
            assert network.config._attn_implementation == name
            assert torch.equal(network(input_ids=tokens_BT, use_cache=False).logits, wanted)

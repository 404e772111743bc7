"""Pads: the pad is never what a text ends with, and transformers then reads our score."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast

from rlhf.models.pads import with_own_pad
from rlhf.models.pretrained import load_scalar, save_network
from rlhf.models.scalar_model import ScalarModel
from tests.models import VOCAB, classifier, tokenizer


def one_special(**tokens: str) -> PreTrainedTokenizerFast:
    """A tokenizer like GPT-2's: one special token for all ends, and no pad."""
    whole = tokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=whole.backend_tokenizer, **tokens)


def test_a_pad_of_its_own_stays():
    words = tokenizer()
    assert with_own_pad(words, VOCAB) is words


@pytest.mark.parametrize("given", ["<|eos|>", None])
def test_a_pad_that_is_eos_gives_way_to_a_special_token(given):
    words = one_special(eos_token="<|eos|>", bos_token="<|bos|>", pad_token=given)
    assert with_own_pad(words, VOCAB).pad_token == "<|pad|>"
    assert words.pad_token == given


def test_a_token_that_the_template_writes_is_no_pad():
    words = one_special(eos_token="<|eos|>")
    words.chat_template = "{{ messages[0]['content'] }}<|pad|>"
    words.add_special_tokens({"additional_special_tokens": ["<|pad|>"]})
    assert with_own_pad(words, VOCAB).pad_token not in ("<|pad|>", "<|eos|>")


def test_a_pad_is_a_row_of_the_embedding():
    words = one_special(eos_token="<|bos|>", pad_token="<|eos|>")
    pad = with_own_pad(words, 2).pad_token_id
    assert pad == 0


@pytest.mark.parametrize("family", ("llama", "gpt2"))
@pytest.mark.parametrize("pad", ["<|eos|>", None])
def test_transformers_pools_where_we_read(tmp_path, family, pad):
    network = classifier(family)
    network.config.pad_token_id = None if pad is None else 2
    words = one_special(eos_token="<|eos|>", bos_token="<|bos|>", pad_token=pad)
    save_network(network, tmp_path, words)
    texts = ["the film<|eos|>", "a bad film about the world<|eos|>", "good<|eos|>"]
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    read = AutoTokenizer.from_pretrained(tmp_path)
    batch = read(texts, padding=True, return_tensors="pt")
    assert len(set(batch["attention_mask"].sum(1).tolist())) > 1
    ours = ScalarModel(load_scalar(str(tmp_path), "trained"))
    with torch.no_grad():
        got_B = theirs(**batch).logits[:, 0]
        for row, text in enumerate(texts):
            tokens_BT = torch.tensor([read(text)["input_ids"]])
            assert tokens_BT[0, -1] == 2
            wanted = ours(tokens_BT, torch.tensor([tokens_BT.shape[1] - 1]))
            torch.testing.assert_close(got_B[row], wanted[0], rtol=1e-5, atol=1e-5)
            alone = theirs(input_ids=tokens_BT).logits[0, 0]
            torch.testing.assert_close(alone, wanted[0], rtol=1e-5, atol=1e-5)

"""Outlines: what is known of a model before a weight of it is read."""

from __future__ import annotations

import pytest

from rlhf.errors import ModelError
from rlhf.models.outline import absent_ids, context_length, num_weights, skeleton, stated
from rlhf.models.pretrained import load_causal_lm
from tests.models import causal, tokenizer, write


def test_context_length_is_the_configs(folder):
    assert context_length(folder("llama")) == 64
    assert context_length(folder("gpt2")) == 64


@pytest.mark.parametrize(("family", "kind"), [("llama", "causal"), ("gpt2", "classifier")])
def test_weights_are_counted_without_loading_them(folder, family, kind):
    network = load_causal_lm(folder(family))
    assert num_weights(folder(family, kind)) == sum(p.numel() for p in network.parameters())


def test_a_skeleton_has_shapes_and_no_numbers(folder):
    bones = skeleton(folder("llama"))
    assert all(weight.is_meta for weight in bones.parameters())
    assert skeleton(folder("llama"), scalar=True).score.weight.is_meta


def test_rows_without_a_token_are_found(tmp_path):
    words = tokenizer()
    path = write(causal(vocab_size=len(words) + 3), tmp_path)
    assert absent_ids(path, words) == tuple(range(len(words), len(words) + 3))
    assert stated(path, "vocab_size") == len(words) + 3


def test_a_path_without_a_config_is_refused_by_name(tmp_path):
    with pytest.raises(ModelError, match=str(tmp_path)):
        context_length(str(tmp_path))

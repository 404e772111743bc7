"""Masks: a row sees its own past, and no further back than its window."""

from __future__ import annotations

import torch

from rlhf.generation.masks import DecodeMask, layer_types
from rlhf.models.language_model import LanguageModel
from tests.models import causal, config


def seen(mask: torch.Tensor) -> list[list[int]]:
    """The columns that each row may attend to."""
    return [(row[0, 0] == 0).nonzero().squeeze(-1).tolist() for row in mask]


def test_a_row_sees_what_stands_before_it():
    mask = DecodeMask(LanguageModel(causal("llama")))
    assert seen(mask(torch.tensor([0, 3, 1]), 5)) == [[0], [0, 1, 2, 3], [0, 1]]


def test_a_window_ends_the_past():
    mask = DecodeMask(LanguageModel(causal("mistral")))
    assert seen(mask(torch.tensor([7, 2]), 8)) == [[3, 4, 5, 6, 7], [0, 1, 2]]


def test_layers_of_two_kinds_have_a_mask_each():
    masks = DecodeMask(LanguageModel(causal("gemma2")))(torch.tensor([7]), 8)
    assert seen(masks["full_attention"]) == [list(range(8))]
    assert seen(masks["sliding_attention"]) == [[3, 4, 5, 6, 7]]


def test_the_kinds_of_layers_are_read_off_the_config():
    assert layer_types(config("gpt2")) == ["full_attention"] * 2
    assert set(layer_types(config("mistral"))) == {"sliding_attention"}
    assert set(layer_types(config("gemma2"))) == {"full_attention", "sliding_attention"}

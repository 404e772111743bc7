"""What `auto` is comes from the model itself: bf16 where it is near fp32, else fp32, and why."""

from __future__ import annotations

import pytest
import torch

from rlhf.engine.precision import LEAST_WEIGHTS, multiplies_bf16
from rlhf.engine.world import World
from rlhf.models.language_model import LanguageModel
from rlhf.roles.precision_probe import PrecisionProbe
from tests.models import causal, prompts

pays = pytest.mark.skipif(not multiplies_bf16("cpu"), reason="bf16 never pays on this processor")


def probe(weight=1.0, num_weights=LEAST_WEIGHTS, world=None):
    """A probe of a small model that is taken for a large one; its head is scaled."""

    def load(precision):
        network = causal(tie_word_embeddings=False)
        with torch.no_grad():
            network.lm_head.weight.mul_(weight)
        return LanguageModel(network.bfloat16() if precision == "bf16" else network)

    return PrecisionProbe(load, num_weights, world or World())


@pays
def test_an_ordinary_model_gets_bf16_and_the_figure():
    found = probe().measure(prompts(8))
    assert (found.precision, found.measured) == ("bf16", True)
    assert "nats a token (k3) off fp32" in found.why


@pays
def test_a_model_that_bf16_cannot_hold_falls_back():
    # Logits of hundreds: rounding hidden states alone moves them by whole nats.
    found = probe(weight=300.0).measure(prompts(8))
    assert (found.precision, found.measured) == ("fp32", True)
    assert "in bf16 the model is" in found.why


@pays
def test_numbers_that_are_none_fall_back():
    assert probe(weight=torch.inf).measure(prompts(8)).precision == "fp32"


def test_a_small_model_is_fp32_without_being_loaded():
    def load(precision):
        raise AssertionError("not needed")

    found = PrecisionProbe(load, 1000, World()).measure(prompts(8))
    assert (found.precision, found.measured) == ("fp32", False), "a larger role may have bf16 yet"
    assert "1,000 weights are few" in found.why


@pays
def test_what_cannot_be_measured_is_reported():
    found = probe(num_weights=10**15).measure(prompts(8))
    assert (found.precision, found.measured) == ("bf16", False)
    assert "not measured: in fp32 the model takes" in found.why

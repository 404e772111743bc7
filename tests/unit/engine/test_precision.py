"""Precision: a given one is kept; auto depends on the model and the device."""

from __future__ import annotations

import pytest
import torch

from rlhf.config.engine import EngineConfig
from rlhf.engine.precision import LEAST_WEIGHTS, multiplies_bf16, settled


@pytest.mark.parametrize("precision", ("fp32", "bf16"))
def test_what_was_asked_for_is_kept(precision):
    asked = EngineConfig(precision=precision)
    assert settled(asked, 10**9, "cpu") is asked
    assert settled(asked, 10, "cpu") is asked


def test_small_models_stay_exact():
    assert settled(EngineConfig(), LEAST_WEIGHTS - 1, "cpu").precision == "fp32"


def test_large_models_use_bf16_where_the_device_multiplies_it():
    known = torch.cpu.get_capabilities()
    assert multiplies_bf16("cpu") == bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    wanted = "bf16" if multiplies_bf16("cpu") else "fp32"
    assert settled(EngineConfig(), LEAST_WEIGHTS, "cpu").precision == wanted

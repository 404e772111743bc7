"""Memory: a copy in its own dtype, else in bf16, else an error that names the remedy."""

from __future__ import annotations

import psutil
import pytest
import torch

from rlhf.engine.memory import dtype_that_fits, free_bytes
from rlhf.errors import ModelError

GIB = 2**30


def test_a_copy_keeps_its_dtype_where_it_fits():
    assert dtype_that_fits(GIB, torch.float32, 5 * GIB) is torch.float32
    assert dtype_that_fits(GIB, torch.bfloat16, 3 * GIB) is torch.bfloat16


def test_a_tight_copy_is_made_in_bf16():
    assert dtype_that_fits(GIB, torch.float32, 4 * GIB) is torch.bfloat16


def test_what_does_not_fit_at_all_is_refused_with_a_remedy():
    with pytest.raises(ModelError, match=r"14\.0 GiB in bf16, and 8\.0 GiB are free; use fewer"):
        dtype_that_fits(7 * GIB, torch.float32, 8 * GIB)


def test_the_free_memory_of_this_machine_is_less_than_all_of_it():
    assert 0 < free_bytes("cpu") < psutil.virtual_memory().total

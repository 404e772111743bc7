"""DeepSpeed's errors about raw settings, before a process is started."""

from __future__ import annotations

import pytest

from rlhf.config.engine import EngineConfig
from rlhf.config.raw_deepspeed import SECTIONS
from rlhf.engine.accelerator import import_deepspeed
from rlhf.engine.zero_config import Holding, zero_config
from rlhf.engine.zero_raw import blaming, check_raw
from rlhf.errors import ConfigError


def refused(raw):
    with pytest.raises(ConfigError) as caught:
        check_raw(EngineConfig(deepspeed=raw))
    return str(caught.value).splitlines()


def test_what_deepspeed_knows_passes():
    check_raw(EngineConfig())
    check_raw(
        EngineConfig(
            deepspeed={
                "zero_optimization": {"overlap_comm": True, "reduce_bucket_size": 1000},
                "data_types": {"grad_accum_dtype": "bf16"},
            }
        )
    )


def test_every_unknown_key_and_wrong_value_is_one_line():
    said = refused(
        {
            "zero_optimization": {"overlap_com": True, "reduce_bucket_size": "many"},
            "bf16": {"fast": 1},
        }
    )
    assert sorted(said) == [
        "engine.deepspeed.bf16.fast=1: DeepSpeed refuses it: no such key",
        "engine.deepspeed.zero_optimization.overlap_com=True: DeepSpeed refuses it: no such key",
        "engine.deepspeed.zero_optimization.reduce_bucket_size=many: DeepSpeed refuses it: "
        "Input should be a valid integer, unable to parse string as an integer",
    ]


def test_without_raw_settings_an_error_is_what_it_was():
    with pytest.raises(ValueError, match="mine"), blaming({}):
        raise ValueError("mine")
    said = r"^engine\.deepspeed\.x: DeepSpeed refuses it: mine$"
    with pytest.raises(ConfigError, match=said), blaming({"x": 1}):
        raise AssertionError("mine\nand more")


class Asked(dict):
    """Settings that remember which keys were looked for."""

    looked_for: set[str]

    def get(self, key, default=None):
        self.looked_for.add(key)
        return super().get(key, default)

    def __contains__(self, key):
        self.looked_for.add(key)
        return super().__contains__(key)

    def __copy__(self):
        return self


def test_deepspeed_reads_every_section_that_may_be_set():
    settings = Asked(zero_config(EngineConfig(), Holding(stage=1)))
    settings.looked_for = set()
    import_deepspeed("cpu").runtime.config.DeepSpeedConfig(settings)
    assert set(SECTIONS) <= settings.looked_for

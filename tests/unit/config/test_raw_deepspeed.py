"""engine.deepspeed: what may be laid over, and what is refused with the setting to use instead."""

from __future__ import annotations

import pytest

from rlhf.config.load import keys, load
from rlhf.config.raw_deepspeed import DECIDED, SECTIONS, raw_checks
from rlhf.errors import ConfigError


def nested(path, value=1):
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


@pytest.mark.parametrize(
    "path",
    [
        "zero_optimization.overlap_comm",
        "zero_optimization.reduce_bucket_size",
        "zero_optimization.offload_optimizer.pin_memory",
        "zero_optimization.zero_hpz_partition_size",
        "bf16.bf16_optimizer_states",
        "communication_data_type",
    ],
)
def test_what_experts_may_set(path):
    assert not list(raw_checks(nested(path)))


@pytest.mark.parametrize("path", DECIDED)
def test_what_the_project_decides_is_refused_once_with_what_to_use(path):
    (said,) = raw_checks(nested(path))
    assert said == f"engine.deepspeed.{path}=1 is decided elsewhere; use {DECIDED[path]}"
    (below,) = raw_checks(nested(f"{path}.below"))
    assert below.startswith(f"engine.deepspeed.{path}.below=1 is decided elsewhere; use ")


def test_the_settings_named_instead_exist():
    known = {*keys(), "ROLE.optimizer", *(f"ROLE.{leaf[7:]}" for leaf in keys())}
    known |= {leaf.replace("cluster.policy.", "cluster.ROLE.") for leaf in keys()}
    for instead in DECIDED.values():
        words = instead.replace(",", " ").split()
        named = [w for w in words if "." in w and not w.startswith(("docs/", "(docs/"))]
        assert set(named) <= known, instead


def test_a_section_without_effect_is_reported_with_the_nearest():
    (said,) = raw_checks({"zero_optimisation": {"overlap_comm": True}})
    assert said == (
        "engine.deepspeed.zero_optimisation.overlap_comm=True has no effect here; "
        "nearest: zero_optimization"
    )
    (said,) = raw_checks({"nvme": 3})
    assert said == f"engine.deepspeed.nvme=3 has no effect here; legal: {', '.join(SECTIONS)}"


def test_all_faults_are_reported_with_those_of_other_settings():
    with pytest.raises(ConfigError) as caught:
        load({"engine": {"deepspeed": {"fp16": {"enabled": True}, "x": 1}, "zero_stage": 9}})
    assert len(str(caught.value).splitlines()) == 3


def test_sharding_settings_need_something_sharded():
    raw = {"zero_optimization": {"reduce_bucket_size": 1000}}
    with pytest.raises(ConfigError, match=r"no effect at ZeRO stage 0.*engine\.zero_stage=1"):
        load({"engine": {"deepspeed": raw}})
    load({"engine": {"deepspeed": raw}, "cluster": {"value": {"zero_stage": 2}}})

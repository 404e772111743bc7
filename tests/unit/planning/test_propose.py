"""Propose: what is chosen fits, is the cheapest, and is legal settings."""

from __future__ import annotations

from rlhf.config.experiment import cross_checks
from rlhf.planning.hardware import read_hardware
from rlhf.planning.propose import changes, idle_note, nearest, propose
from rlhf.planning.shapes import role_shapes


def proposed(experiment, hardware):
    return propose(experiment, role_shapes(experiment), read_hardware(hardware))


def test_7b_on_8_h100(planned):
    asked = planned()
    fit = proposed(asked, "8xh100")
    assert fit is not None
    assert fit.fits
    assert not list(cross_checks(fit.experiment))
    told = changes(asked, fit.experiment)
    assert {"cluster.policy.ranks=8", "cluster.gpus_per_rank=1"} <= set(told)
    assert "cluster.value.colocate_with=policy" in told
    assert fit.experiment.cluster.policy.zero_stage == 2


def test_more_memory_takes_a_smaller_stage(planned):
    asked, hardware = planned(), read_hardware("8xmi300x")
    fit = propose(asked, role_shapes(asked), hardware.model_copy(update={"host_gib": 4000.0}))
    assert fit is not None
    assert fit.experiment.cluster.policy.zero_stage is None


def test_a_24_gb_card_keeps_all_it_can_on_the_host(planned):
    fit = proposed(planned(), "1xrtx4090")
    assert fit is not None
    assert fit.experiment.cluster.policy.offload == "optimizer"
    lora = proposed(planned(peft={"method": "lora"}), "1xrtx4090")
    assert lora is not None
    assert lora.experiment.cluster.policy.offload == "none"


def test_70b_cannot_generate_on_80_gib(planned):
    asked = planned("70b")
    shapes, hardware = role_shapes(asked), read_hardware("8xh100")
    assert propose(asked, shapes, hardware) is None
    other = nearest(asked, shapes, hardware)
    assert other is not None
    assert other.hardware.kind.memory_gib == 192
    assert other.fits


def test_idle_ranks_are_reported(planned):
    fit = proposed(planned(), "8x8xh100")
    assert fit is not None
    assert str(idle_note(fit)).startswith("32 of 64 ranks get no row of a minibatch")
    fewer = proposed(planned(), "8xh100")
    assert fewer is not None
    assert idle_note(fewer) is None

"""Every engine can be offloaded and onloaded unchanged; roles on Ray time-share without a wait."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from rlhf.checkpoint.files import read_tensors, write_tensors
from rlhf.errors import DataError, WorkerError
from rlhf.runtime.residency import time_shared
from tests.contract.machines import Machine, ParkedMachine, Troublemaker
from tests.specs import on_every_rank

pytestmark = pytest.mark.ray

ENGINES = [
    ("here", None, "fp32"),
    ("here", None, "bf16"),
    ("one", 3, "fp32"),
    *[("two", stage, "fp32") for stage in (0, 1, 2, 3)],
    *[("two", stage, "bf16") for stage in (1, 3)],
]


def ask(group, method, *arguments):
    return on_every_rank(group, method, *arguments).result()


def assert_equal(one, other):
    assert one.keys() == other.keys()
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different, different


def go_on(group):
    """Learn a little; return all that came of it, in bits, holding no tensor."""
    report = ask(group, "train", 1, 2)
    tensors = {**ask(group, "state"), "logprobs": ask(group, "gathered_logprobs")}
    return report, {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


@pytest.mark.parametrize(("slots", "stage", "precision"), ENGINES)
def test_an_offloaded_engine_has_no_tensors_and_goes_on_bit_for_bit(
    slot, folder, tmp_path, slots, stage, precision
):
    group = slot(slots)
    group.become(Troublemaker)  # lets go of whatever was here, so that only one engine is counted
    group.become(ParkedMachine(folder(), stage, precision))
    ask(group, "train", 0, 1)
    write_tensors(tmp_path / "state.safetensors", ask(group, "state"))
    wanted = go_on(group)
    ask(group, "load_state", read_tensors(tmp_path / "state.safetensors"))
    for held, freed, left in group.call("offload", [()] * group.size).result():
        assert 0 < freed == held
        assert left == 0
    assert ask(group, "offload")[1] == 0
    assert all(group.call("onload", [()] * group.size).result())
    assert ask(group, "onload") == 0
    assert go_on(group) == wanted


@pytest.fixture
def shared(ray_groups):
    """The groups of two ranks and of one, as if they sat on one device."""
    groups = {"policy": ray_groups.two, "reference": ray_groups.one}
    return time_shared(groups, [["policy", "reference"]])


def work(groups, folder):
    """Ask both roles several times before any answer is taken; return the answers."""
    groups["policy"].become(Machine(folder(), 3, "bf16"))
    groups["reference"].become(Machine(folder(), 0))
    asked = [
        on_every_rank(groups[role], method, *arguments)
        for role, method, *arguments in [
            ("policy", "train", 0, 1),
            ("reference", "train", 0, 1),
            ("policy", "gathered_logprobs"),
            ("policy", "train", 1, 2),
            ("reference", "weights"),
            ("policy", "state"),
        ]
    ]
    return [promise.result() for promise in reversed(asked)]


def test_roles_that_time_share_give_the_same_answers_and_never_meet(ray_groups, shared, folder):
    alone = work({"policy": ray_groups.two, "reference": ray_groups.one}, folder)
    ray_groups.timeline.drain()
    state, weights, *others = work(shared, folder)
    assert_equal(state, alone[0])
    assert_equal(weights, alone[1])
    assert others[0] == alone[2]
    assert torch.equal(others[1], alone[3])
    assert others[2:] == alone[4:]
    spans = sorted(ray_groups.timeline.drain(), key=lambda span: span.start)
    # Rank by rank of the policy: one may be at the next call while the other begins with this one.
    for rank in (0, 1):
        mine = [span for span in spans if span.role == "reference" or span.rank == rank]
        assert [(span.role, span.method) for span in mine] == [
            ("policy", "offload"),  # the reference becomes
            *[("reference", "offload"), ("policy", "onload"), ("policy", "train")],
            *[("policy", "offload"), ("reference", "onload"), ("reference", "train")],
            *[("reference", "offload"), ("policy", "onload"), ("policy", "gathered_logprobs")],
            ("policy", "train"),
            *[("policy", "offload"), ("reference", "onload"), ("reference", "weights")],
            *[("reference", "offload"), ("policy", "onload"), ("policy", "state")],
        ]
        for earlier, later in pairwise(mine):
            assert earlier.role == later.role or earlier.end <= later.start


def test_an_error_is_raised_and_the_others_go_on(shared):
    for group in shared.values():
        group.become(Troublemaker)
    failing, echo = (
        on_every_rank(shared["policy"], "ours"),
        on_every_rank(shared["reference"], "echo", "still here"),
    )
    assert echo.result() == (0, "still here")
    with pytest.raises(DataError, match="no prompt"):
        failing.result()
    assert ask(shared["policy"], "echo", 1) == (0, 1)


def test_an_offloaded_role_cannot_be_called_past_its_scheduler(ray_groups, shared):
    for group in shared.values():
        group.become(Troublemaker)
    assert ask(ray_groups.one, "echo") == (0,)
    with pytest.raises(WorkerError, match=r"policy rank . of 2 .* failed in echo: .*offloaded"):
        ask(ray_groups.two, "echo")
    assert ask(shared["policy"], "echo") == (0,)
    ray_groups.one.become(Troublemaker)
    assert ask(ray_groups.one, "echo") == (0,)

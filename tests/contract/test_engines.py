"""One suite for every engine: LocalEngine, and ZeroEngine at each stage on 1, 2 and 4 ranks.

`here` is LocalEngine in this process. All others must do what it does.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlhf.checkpoint.files import read_tensors, write_tensors
from rlhf.errors import ConfigError, TrainingError
from tests.contract.machines import LR, Machine
from tests.routed import is_bias, routed, write_routed
from tests.specs import on_every_rank

pytestmark = pytest.mark.ray

HERE = ("here", None)
ON_RAY = [(slots, stage) for slots in ("one", "two") for stage in (0, 1, 2, 3)]
EVERYWHERE = [HERE, *ON_RAY]
engines = pytest.mark.parametrize(("slots", "stage"), EVERYWHERE)
ON_FOUR = [("four", stage) for stage in (0, 1, 2, 3)]
RAW = {"reduce_bucket_size": 4321, "overlap_comm": True}


def ask(group, method, *arguments):
    """Call a method on all ranks, and take the first rank's answer."""
    return on_every_rank(group, method, *arguments).result()


@pytest.fixture
def build(slot, folder):
    """Put an engine on the ranks; give their group."""

    def make(slots, stage, family="llama", **changes):
        group = slot(slots)
        group.become(Machine(folder(family), stage, **changes))
        return group

    return make


@pytest.fixture(scope="session")
def reference(slot, folder):
    """What LocalEngine does in three updates."""
    group = slot("here")
    group.become(Machine(folder("llama")))
    before = ask(group, "weights")
    return before, ask(group, "train", 0, 3), ask(group, "weights"), ask(group, "logprobs")


def assert_close(one, other, *, rel=1e-5):
    assert set(one) == set(other)
    for name, tensor in one.items():
        scale = float(other[name].abs().max())
        error = float((tensor - other[name]).abs().max())
        assert error <= rel * scale, f"{name}: {error} of {scale}"


def assert_equal(one, other):
    assert set(one) == set(other)
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert not different, different


@pytest.mark.parametrize(("slots", "stage"), [*EVERYWHERE, *ON_FOUR])
def test_three_updates_are_the_same_everywhere(build, reference, slots, stage):
    # correctness 55: one process, and 1, 2 and 4 ranks at ZeRO 0 to 3.
    before, report, after, logprobs_N = reference
    group = build(slots, stage)
    assert_equal(ask(group, "weights"), before)
    got = ask(group, "train", 0, 3)
    torch.testing.assert_close(torch.tensor(got), torch.tensor(report), rtol=1e-5, atol=0)
    weights = ask(group, "weights")
    assert_close(weights, after)
    assert not torch.equal(
        weights["network.model.norm.weight"], before["network.model.norm.weight"]
    )
    torch.testing.assert_close(ask(group, "logprobs"), logprobs_N, rtol=0, atol=2e-5)


@engines
def test_the_norm_is_the_one_before_clipping_and_the_clip_is_global(build, slots, stage):
    # correctness 61: over ranks and shards.
    loose = build(slots, stage, max_grad_norm=1e9)
    norm = ask(loose, "train", 0, 1)[0][1]
    assert norm > 1
    group = build(slots, stage, max_grad_norm=norm / 10)
    assert ask(group, "train", 0, 1)[0][1] == pytest.approx(norm, rel=1e-5)
    squares = [
        float(m.double().square().sum())
        for name, m in ask(group, "state").items()
        if name.startswith("exp_avg/")
    ]
    # After one update the first moment is (1 - beta1) times the gradient as it was applied.
    assert sum(squares) ** 0.5 / 0.1 == pytest.approx(norm / 10, rel=1e-4)


@engines
def test_every_update_is_taken_at_the_rate_it_is_given(build, slots, stage):
    # correctness 57: the schedule's rate, and not the one the optimizer was built with.
    found = {}
    for place in ("here", slots):
        group = build(place, None if place == "here" else stage)
        ask(group, "train", 0, 1, LR / 3)
        first = ask(group, "weights")
        ask(group, "train", 1, 2, 0.0)
        assert_equal(ask(group, "weights"), first)
        ask(group, "train", 2, 3, 2 * LR)
        found[place] = first, ask(group, "weights")
    assert_close(found[slots][0], found["here"][0])
    assert_close(found[slots][1], found["here"][1])


@engines
def test_a_state_may_be_taken_before_the_first_update(build, reference, slots, stage):
    group = build(slots, stage)
    state = ask(group, "state")
    assert_equal(
        {n.partition("/")[2]: t for n, t in state.items() if n.startswith("weight/")}, reference[0]
    )
    assert ask(group, "train", 0, 3)[2] == pytest.approx(reference[1][2], rel=1e-5)
    assert_close(ask(group, "weights"), reference[2])
    group = build(slots, stage)
    ask(group, "load_state", state)
    ask(group, "train", 0, 3)
    assert_close(ask(group, "weights"), reference[2])


@engines
def test_a_restored_engine_goes_on_bit_for_bit(build, slots, stage, tmp_path):
    # correctness 66
    group = build(slots, stage)
    ask(group, "train", 0, 2)
    write_tensors(tmp_path / "state.safetensors", ask(group, "state"))
    wanted = ask(group, "train", 2, 4), ask(group, "weights"), ask(group, "state")
    group = build(slots, stage)
    ask(group, "load_state", read_tensors(Path(tmp_path / "state.safetensors")))
    assert ask(group, "train", 2, 4) == wanted[0]
    assert_equal(ask(group, "weights"), wanted[1])
    assert_equal(ask(group, "state"), wanted[2])


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (("two", 3), ("one", 0)),
        (("one", 0), ("two", 2)),
        (("two", 1), HERE),
        (HERE, ("two", 3)),
        (("four", 3), ("two", 1)),
        (("two", 2), ("four", 3)),
    ],
    ids=lambda place: f"{place[0]}-{place[1]}",
)
def test_state_moves_between_stages_and_numbers_of_ranks(build, reference, written, read):
    group = build(*written)
    ask(group, "train", 0, 2)
    state = ask(group, "state")
    group = build(*read)
    ask(group, "load_state", state)
    again = ask(group, "state")
    assert_equal(again, state)
    assert ask(group, "train", 2, 3)[0] == pytest.approx(reference[1][2], rel=1e-5)
    assert_close(ask(group, "weights"), reference[2])


@pytest.mark.parametrize(("slots", "stage"), [*EVERYWHERE, ("four", 3)])
def test_gathered_weights_are_whole_and_training_goes_on(build, reference, slots, stage):
    # correctness 29: ranks may run gathered weights unequally often.
    group = build(slots, stage)
    ask(group, "train", 0, 1)
    torch.testing.assert_close(
        ask(group, "gathered_logprobs"), ask(group, "logprobs"), rtol=0, atol=1e-5
    )
    ask(group, "train", 1, 3)
    assert_close(ask(group, "weights"), reference[2])
    torch.testing.assert_close(
        ask(group, "gathered_logprobs"), ask(group, "logprobs"), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(("slots", "stage"), [HERE, ("one", 0), ("two", 0), ("two", 3)])
def test_a_frozen_engine_answers_and_gives_its_weights(build, slots, stage):
    learning, frozen = ask(build("here", None), "logprobs"), build(slots, stage, frozen=True)
    torch.testing.assert_close(ask(frozen, "logprobs"), learning, rtol=0, atol=1e-5)
    torch.testing.assert_close(ask(frozen, "gathered_logprobs"), learning, rtol=0, atol=1e-5)
    assert_equal(ask(frozen, "weights"), ask(build("here", None), "weights"))


@engines
def test_a_loss_that_is_not_a_number_is_an_error_and_touches_nothing(build, slots, stage):
    group = build(slots, stage)
    ask(group, "train", 0, 1)
    before = ask(group, "weights")
    with pytest.raises(TrainingError, match="gradient norm"):
        ask(group, "poison")
    assert_equal(ask(group, "weights"), before)


@pytest.mark.parametrize(("slots", "stage"), [("one", 0), ("two", 2), ("two", 3)])
def test_bf16_learns_over_fp32_masters(build, reference, slots, stage):
    group = build(slots, stage, precision="bf16")
    got = ask(group, "train", 0, 3)
    for (loss, norm), (wanted_loss, wanted_norm) in zip(got, reference[1], strict=True):
        assert loss == pytest.approx(wanted_loss, rel=2e-2)
        assert norm == pytest.approx(wanted_norm, rel=1e-1)
    masters = {n: t for n, t in ask(group, "state").items() if n.startswith("weight/")}
    assert {t.dtype for t in masters.values()} == {torch.float32}
    assert any(not torch.equal(t, t.bfloat16().float()) for t in masters.values())


@pytest.mark.parametrize(("slots", "wanted"), [("one", [1, 10, 0]), ("two", [3, 20, 1])])
def test_collectives_span_the_ranks(build, slots, wanted):
    assert ask(build(slots, 0, frozen=True), "total") == wanted


def test_only_the_first_rank_hands_out_tensors(build):
    group = build("two", 3)
    for method in ("weights", "state"):
        first, second = group.call(method, [(), ()]).result()
        assert first
        assert not second


@pytest.mark.parametrize(
    ("slots", "stage", "offload"),
    [
        ("one", 1, "optimizer"),
        ("two", 2, "optimizer"),
        ("two", 3, "optimizer"),
        ("two", 3, "weights"),
        ("four", 3, "weights"),
    ],
)
def test_offload_moves_the_optimizer_and_changes_no_update(
    build, reference, slots, stage, offload, tmp_path
):
    group = build(slots, stage, offload=offload)
    held = ask(group, "held")
    assert held["optimizer"] == "AdamW"
    assert held["optimizer on host"]
    assert held["weights on host"] is (offload == "weights")
    got = ask(group, "train", 0, 2)
    torch.testing.assert_close(torch.tensor(got), torch.tensor(reference[1][:2]), rtol=1e-5, atol=0)
    write_tensors(tmp_path / "state.safetensors", ask(group, "state"))
    torch.testing.assert_close(
        ask(group, "gathered_logprobs"), ask(group, "logprobs"), rtol=0, atol=1e-5
    )
    ask(group, "train", 2, 3)
    assert_close(ask(group, "weights"), reference[2])
    wanted = ask(group, "state")
    # A state saved with offload is restored with and without it.
    for changes in ({"offload": offload}, {}):
        group = build(slots, stage, **changes)
        assert ask(group, "held")["optimizer on host"] is bool(changes)
        ask(group, "load_state", read_tensors(Path(tmp_path / "state.safetensors")))
        ask(group, "train", 2, 3)
        assert_close(ask(group, "state"), wanted, rel=1e-6)


def test_a_frozen_model_may_wait_in_host_memory(build):
    wanted = ask(build("here", None), "logprobs")
    frozen = build("two", 3, frozen=True, offload="weights")
    torch.testing.assert_close(ask(frozen, "logprobs"), wanted, rtol=0, atol=1e-5)
    torch.testing.assert_close(ask(frozen, "gathered_logprobs"), wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("slots", "stage", "raw"),
    [("two", 2, RAW), ("four", 3, {"zero_hpz_partition_size": 2})],
)
def test_raw_settings_arrive_and_change_no_update(build, reference, slots, stage, raw):
    group = build(slots, stage, raw={"zero_optimization": raw})
    held = ask(group, "held")
    assert {key: held[key] for key in raw if key in held} == {k: raw[k] for k in raw if k in RAW}
    ask(group, "train", 0, 3)
    assert_close(ask(group, "weights"), reference[2])


def test_raw_settings_that_deepspeed_refuses_are_an_error_of_the_user(build):
    said = "engine.deepspeed.zero_optimization: DeepSpeed refuses it: .*overlap_comm only with"
    with pytest.raises(ConfigError, match=said):
        build("one", 1, raw={"zero_optimization": {"overlap_comm": True}})


@pytest.mark.parametrize("adapters", (False, True))
@pytest.mark.parametrize(("slots", "stage"), [HERE, ("two", 0), ("two", 2), ("two", 3)])
def test_recomputed_blocks_keep_less_and_change_no_update(build, slots, stage, adapters):
    found = {}
    for recompute in (False, True):
        group = build(slots, stage, adapters=adapters, recompute=recompute)
        found[recompute] = ask(group, "kept_bytes"), ask(group, "train", 0, 3)
        found[recompute] += ask(group, "weights"), ask(group, "gathered_logprobs")
    assert found[True][0] < found[False][0] / 3
    assert found[True][1] == found[False][1]
    assert_equal(found[True][2], found[False][2])
    assert torch.equal(found[True][3], found[False][3])


@pytest.mark.parametrize("precision", ("fp32", "bf16"))
@pytest.mark.parametrize(("slots", "stage"), [HERE, ("one", 0), ("two", 2), ("two", 3)])
def test_buffers_and_what_stays_in_full_precision_come_back_bit_for_bit(
    slot, tmp_path, slots, stage, precision
):
    # The oracle is the network that transformers saved. DeepSeek has a buffer, Ernie a parameter.
    for family in ("deepseek_v3", "ernie4_5_moe"):
        path = write_routed(tmp_path / family, family)
        source = routed(family).state_dict()
        group = slot(slots)
        group.become(Machine(path, stage, precision=precision))
        ask(group, "train", 0, 2)
        weights = {n.removeprefix("network."): t for n, t in ask(group, "weights").items()}
        biases = [name for name in source if is_bias(name)]
        assert biases
        for name in biases:
            assert torch.equal(weights[name], source[name]), name
        others = {name for name in weights if not is_bias(name)}
        assert any(not torch.equal(weights[n].float(), source[n]) for n in others & set(source))

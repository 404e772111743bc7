"""One suite for the ports: roles in this process, on one rank and on two ranks of Ray.

`here` is a role of plain torch in this process. Groups of DeepSpeed ranks must answer the same.
"""

from __future__ import annotations

import pytest
import torch

from rlhf.flow.rollout import joined
from rlhf.models.pretrained import load_causal_lm, load_scalar
from rlhf.roles.reference import PolicyAsReference
from rlhf.roles.reward_sum import RewardSum
from tests.models import (
    classifier,
    demonstrations,
    experience,
    experiment,
    prompts,
    rankings,
    rollout,
    tokenizer,
    write,
)
from tests.specs import listed_mix, on, reward_mix

pytestmark = pytest.mark.ray

SLOTS = ("here", "one", "two")
on_ray = pytest.mark.parametrize("slots", SLOTS[1:])
LORA = {"method": "lora", "rank": 4, "alpha": 8}


def assert_near(one, other, atol=1e-5):
    torch.testing.assert_close(one, other, rtol=0, atol=atol)


def assert_same_metrics(one, other):
    got, wanted = one.means(), other.means()
    assert set(got) == set(wanted)
    wanted.pop("speed/padding_share", None)  # ranks fill bins of their own
    for name, value in wanted.items():
        assert got[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


def assert_same_weights(one, other):
    for (name, got), (_, wanted) in zip(
        one.named_parameters(), other.named_parameters(), strict=True
    ):
        torch.testing.assert_close(got, wanted, rtol=0, atol=1e-5, msg=name)


@on_ray
@pytest.mark.parametrize("stage", (0, 3))
def test_generation_is_the_same_token_for_token(play, slots, stage):
    # correctness 11, 29: ragged ends on 1 and 2 ranks, whole and sharded.
    wanted = joined(play("here", "policy").generate(prompts(), 3))
    got = joined(play(slots, "policy", stage=stage).generate(prompts(), 3))
    assert got.response_tokens() == wanted.response_tokens()
    assert len({len(r) for r in got.response_tokens()}) > 2
    assert torch.equal(got.finished_B, wanted.finished_B)
    assert got.prompts == wanted.prompts
    assert got.columns == wanted.columns
    assert_near(got.sampling_logprobs_BR, wanted.sampling_logprobs_BR)


@on_ray
@pytest.mark.parametrize("num_rows", (7, 1))
def test_logprobs_values_and_scores_come_back_in_row_order(play, slots, num_rows):
    written = rollout(num_rows)
    wanted = play("here", "reference").step_logprobs(written, 0).result()
    got = play(slots, "reference").step_logprobs(written, 0).result()
    assert got.shape == written.sampling_logprobs_BR.shape
    assert_near(got, wanted)
    wanted = play("here", "value").values(written).result()
    assert_near(play(slots, "value").values(written).result(), wanted)


@on_ray
@pytest.mark.parametrize("num_rows", (7, 1))
def test_model_and_function_scores_are_weighted_and_in_row_order(
    play, folder, slots, num_rows, tmp_path
):
    (tmp_path / "judge.py").write_text(
        "def judge(prompts, completions, row):\n    return [float(r) for r in row]\n"
    )
    written = rollout(num_rows)
    fields = {"policy": folder(), "function": f"{tmp_path}/judge.py:judge"}
    here = play("here", "reward", fields=fields)
    alone_BC = here.score_rows(written).result()
    assert here.score_batch(written).result().tolist() == [[row] for row in range(num_rows)]
    there = play(slots, "reward", fields=fields)
    assert_near(there.score_rows(written).result(), alone_BC)
    mix = reward_mix("model", fields["function"], model_weight=2.0, function_weight=0.5)
    score_B, parts_BC = RewardSum(there, mix).score(written)
    assert_near(score_B, 2.0 * alone_BC[:, 0] + 0.5 * torch.arange(num_rows))
    assert_near(parts_BC, torch.stack([torch.arange(num_rows).float(), alone_BC[:, 0]], 1))


@pytest.mark.parametrize("stage", (0, 3))
def test_several_models_and_functions_score_alike_on_two_ranks(play, folder, stage, tmp_path):
    # Whole, and sharded: two engines in one process, which the ranks run equally often.
    (tmp_path / "judge.py").write_text(
        "def rows(row, **columns):\n    return [float(r) for r in row]\n"
        "def sizes(prompts, completions):\n    return [float(len(prompts))] * len(prompts)\n"
    )
    other = write(classifier("gpt2", seed=4), tmp_path / "gpt2")
    tokenizer(["entirely different words are here"] * 3, 280).save_pretrained(other)
    mix = listed_mix(
        {"function": f"{tmp_path}/judge.py:rows", "weight": 0.5},
        {"model": folder("llama", "classifier"), "weight": 2.0},
        {"function": f"{tmp_path}/judge.py:sizes", "weight": -1.0},
        {"model": other},
    )
    written = rollout(7)
    found = []
    for place, at in (("here", 0), ("two", stage)):
        port = play(place, "reward", stage=at, fields={"mix": mix, "policy": folder()})
        found.append(RewardSum(port, mix).score(written))
    (wanted_B, wanted_BC), (got_B, got_BC) = found
    assert wanted_BC[:, 0].tolist() == list(range(7))
    assert set(wanted_BC[:, 2].tolist()) == {7.0}, "a function sees the whole batch"
    assert len(set(wanted_BC[:, 1].tolist())) == len(set(wanted_BC[:, 3].tolist())) == 7
    assert_near(got_BC, wanted_BC)
    assert_near(got_B, wanted_B)


@pytest.fixture(scope="module")
def batch(slot, folder):
    """An experience of 7 ragged rows, scored by the policy and the value in this process."""
    written = rollout(7)
    policy = on(slot("here"), "policy", folder(), experiment())
    old_BR = policy.step_logprobs(written, 1).result()
    value = on(slot("here"), "value", folder("llama", "classifier"), experiment())
    return experience(written, old_BR, value.values(written).result())


@on_ray
@pytest.mark.parametrize("stage", (0, 2, 3))
def test_improving_gives_the_same_metrics_and_weights(play, batch, slots, stage, tmp_path):
    # correctness 55: a whole PPO update.
    reports, folders = [], []
    for place, at in (("here", 0), (slots, stage)):
        port = play(place, "policy", stage=at)
        reports.append(port.improve(batch, 1).result())
        folders.append(tmp_path / place)
        port.save(folders[-1])
    assert reports[0]["policy/ratio_first_max_error"] <= 1e-4
    assert_same_metrics(reports[1], reports[0])
    assert_same_weights(*(load_causal_lm(str(path)) for path in reversed(folders)))


@on_ray
def test_values_learn_the_same(play, batch, slots, tmp_path):
    reports, folders = [], []
    for place in ("here", slots):
        port = play(place, "value")
        reports.append(port.improve(batch, 1).result())
        folders.append(tmp_path / place)
        port.save(folders[-1])
    assert_same_metrics(reports[1], reports[0])
    assert_same_weights(*(load_scalar(str(path), "trained") for path in reversed(folders)))


@on_ray
def test_imitating_gives_the_same_losses(play, slots):
    # correctness 6, 55: on 1 and 2 ranks.
    reports = []
    for place in ("here", slots):
        port = play(place, "sft_policy")
        steps = [port.imitate(demonstrations(seed=seed)).result() for seed in range(3)]
        reports.append((steps, port.imitation_loss(demonstrations()).result()))
    for got, wanted in zip(reports[1][0], reports[0][0], strict=True):
        assert_same_metrics(got, wanted)
    assert_same_metrics(reports[1][1], reports[0][1])


def test_all_zero_stages_on_two_ranks_give_the_same_first_losses(play):
    # correctness 55
    losses = []
    for stage in (0, 1, 2, 3):
        port = play("two", "sft_policy", stage=stage)
        steps = [port.imitate(demonstrations(seed=seed)).result() for seed in range(3)]
        losses.append([step["loss/train"] for step in steps])
    for stage in (1, 2, 3):
        assert losses[stage] == pytest.approx(losses[0], rel=1e-5)
    assert losses[0][0] != pytest.approx(losses[0][1], rel=1e-3)


@on_ray
def test_ranking_gives_the_same_metrics_and_scores(play, slots, tmp_path):
    reports = []
    for place in ("here", slots):
        port = play(place, "reward_trainer")
        steps = [port.rank(rankings(seed=seed)).result() for seed in range(2)]
        port.normalize({"mean": 0.5, "std": 2.0})
        port.save(tmp_path / place)
        reports.append((steps, port.answer_scores(rankings()).result()))
    for got, wanted in zip(reports[1][0], reports[0][0], strict=True):
        assert_same_metrics(got, wanted)
    assert_near(reports[1][1], reports[0][1], atol=5e-5)
    assert reports[1][1].shape == (7, 3)
    saved = load_scalar(str(tmp_path / slots), "trained").config
    assert (saved.rlhf_score_mean, saved.rlhf_score_std) == (0.5, 2.0)


@on_ray
def test_a_saved_state_goes_on_in_the_other_group(play, slots, tmp_path):
    port = play("here", "sft_policy")
    port.imitate(demonstrations(seed=0)).result()
    port.save_state(tmp_path)
    wanted = port.imitate(demonstrations(seed=1)).result()
    again = play(slots, "sft_policy", stage=3)
    again.load_state(tmp_path)
    assert_same_metrics(again.imitate(demonstrations(seed=1)).result(), wanted)


@pytest.mark.parametrize(("slots", "stage"), [("here", 0), ("one", 0), ("two", 3)])
def test_with_lora_the_policys_group_answers_for_the_reference(play, batch, slots, stage):
    written = rollout(7)
    separate = play("here", "reference").step_logprobs(written, 0).result()
    port = play(slots, "policy", stage=stage, peft=LORA)
    reference = PolicyAsReference(port)
    assert_near(reference.step_logprobs(written, 0).result(), separate)
    port.improve(batch, 1).result()
    assert not torch.allclose(port.step_logprobs(written, 0).result(), separate, atol=1e-4)
    assert_near(reference.step_logprobs(written, 0).result(), separate)


@pytest.mark.parametrize(("slots", "stage"), [("one", 0), ("two", 2), ("two", 3)])
def test_texts_beside_and_the_average_are_the_same_on_any_ranks(
    play, batch, slots, stage, tmp_path
):
    # correctness 55, 59, 60: a PTX loss and averaged weights, two steps, saved and gone on with.
    kit = {
        "ppo": {"ptx_coef": 0.5, "ema_decay": 0.6, "loss_aggregation": "seq_mean_token_mean"},
        "data": {"pretraining": "texts.jsonl"},
    }
    reports = []
    for place, at in (("here", 0), (slots, stage)):
        port = play(place, "policy", stage=at, **kit)
        first = port.improve(batch, 1, demonstrations(7)).result()
        port.save_state(tmp_path / place / "state")
        port = play(place, "policy", stage=at, **kit)
        port.load_state(tmp_path / place / "state")
        again = experience(
            rollout(7), port.step_logprobs(rollout(7), 2).result(), batch.old_values_BR
        )
        reports.append((first, port.improve(again, 2, demonstrations(7)).result()))
        port.save(tmp_path / place / "model")
    for got, wanted in zip(reports[1], reports[0], strict=True):
        assert "loss/ptx_avg" in wanted
        assert_same_metrics(got, wanted)
    folders = [str(tmp_path / place / "model") for place in (slots, "here")]
    assert_same_weights(*map(load_causal_lm, folders))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("slots", "stage", "peft"),
    [("one", 0, {}), ("two", 0, {}), ("two", 3, {}), ("two", 2, LORA)],
)
def test_until_the_first_update_ratios_are_one_bit_for_bit(play, slots, stage, peft, precision):
    # correctness 45: in bf16 too, as scoring computes the microbatches that will be learned from.
    sections = {
        "cluster": {"policy": {"ranks": 2 if slots == "two" else 1}},
        "engine": {"precision": precision},
        "peft": peft,
    }
    policy = play(slots, "policy", stage=stage, **sections)
    written = rollout(24)
    old_BR = policy.step_logprobs(written, 3).result()
    report = policy.improve(experience(written, old_BR, torch.zeros(old_BR.shape)), 3).result()
    assert report["policy/num_updates"] > 2
    assert report["policy/ratio_first_max_error"] == 0
    assert report["policy/ratio_first_k3"] == 0


def test_equal_weights_have_no_kl_at_all_on_other_ranks(play):
    # correctness 30: the reference computes the policy's microbatches, whatever its own ranks are.
    sections = {"cluster": {"policy": {"ranks": 2}}}
    written = rollout(24)
    policy = play("two", "policy", **sections)
    reference = play("one", "reference", **sections)
    old_BR = policy.step_logprobs(written, 3).result()
    assert torch.equal(reference.step_logprobs(written, 3).result(), old_BR)
    elsewhere = reference.step_logprobs(written, 4).result()
    assert not torch.equal(elsewhere, old_BR), "among other rows sums are rounded otherwise"
    assert_near(elsewhere, old_BR)

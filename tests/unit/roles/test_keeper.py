"""Keeper: a role's folder is an ordinary Hugging Face folder, adapters merged and beside it."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel

from rlhf.data.tokenizer import fingerprint, load_tokenizer
from rlhf.models.pretrained import load_causal_lm, load_scalar
from rlhf.models.stops import stop_ids
from rlhf.roles.keeper import ADAPTER_FOLDER
from tests.models import causal, demonstrations, rankings, rollout

LORA = {"method": "lora", "rank": 4, "alpha": 8}


@pytest.mark.parametrize("peft", ({}, LORA))
def test_a_saved_policy_is_the_policy(role, folder, tmp_path, peft):
    policy, written = role("pupil", peft=peft), rollout(7)
    policy.imitate(demonstrations())
    policy.save(tmp_path)
    again = role("reference", path=str(tmp_path)).logprobs(written)
    torch.testing.assert_close(again, policy.logprobs(written), rtol=0, atol=1e-5)
    before = role("reference").logprobs(written)
    assert not torch.allclose(again, before, atol=1e-4)
    names = {name for name, _ in load_causal_lm(str(tmp_path)).named_parameters()}
    assert names == {name for name, _ in causal().named_parameters()}
    assert fingerprint(load_tokenizer(str(tmp_path))) == fingerprint(load_tokenizer(folder()))


@pytest.mark.parametrize("peft", ({}, LORA))
def test_the_tokens_that_end_a_response_are_kept(role, folder, tmp_path, peft):
    role("pupil", peft=peft).save(tmp_path)
    words = load_tokenizer(folder())
    assert stop_ids(str(tmp_path), words) == stop_ids(folder(), words)


def test_adapters_alone_lie_beside_the_merged_model(role, folder, tmp_path):
    policy, written = role("pupil", peft=LORA), rollout(3)
    policy.imitate(demonstrations())
    policy.save(tmp_path)
    base = load_causal_lm(folder())
    adapted = PeftModel.from_pretrained(base, str(tmp_path / ADAPTER_FOLDER)).eval()
    with torch.no_grad():
        got = adapted(input_ids=written.tokens_BT).logits
        wanted = load_causal_lm(str(tmp_path))(input_ids=written.tokens_BT).logits
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("peft", ({}, LORA))
def test_a_saved_reward_model_scores_alike(role, tmp_path, peft):
    learner, batch = role("apprentice", peft=peft), rankings(5)
    learner.rank(batch)
    learner.save(tmp_path)
    load_scalar(str(tmp_path), "trained")
    again = role("apprentice", path=str(tmp_path)).answer_scores(batch)
    torch.testing.assert_close(again, learner.answer_scores(batch), rtol=0, atol=1e-5)

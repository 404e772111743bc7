"""ModelSaver: a role's folder is a plain Hugging Face folder, adapters merged and apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM, AutoPeftModelForSequenceClassification, PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from rlhf.data.tokenizer import fingerprint, load_tokenizer
from rlhf.errors import TrainingError
from rlhf.models.pretrained import load_causal_lm, load_scalar
from rlhf.models.stops import stop_ids
from rlhf.roles.saver import ADAPTER_FOLDER
from tests.models import causal, classifier, demonstrations, rankings, rollout
from tests.routed import is_bias, write_routed
from tests.specs import logprobs

LORA = {"method": "lora", "rank": 4, "alpha": 8}


@pytest.mark.parametrize("peft", ({}, LORA))
def test_a_saved_policy_is_the_policy(role, folder, tmp_path, peft):
    policy, written = role("sft_policy", peft=peft), rollout(7)
    policy.imitate(demonstrations())
    policy.save(tmp_path)
    again = logprobs(role("reference", path=str(tmp_path)), written, 0)
    torch.testing.assert_close(again, logprobs(policy, written, 0), rtol=0, atol=1e-5)
    before = logprobs(role("reference"), written, 0)
    assert not torch.allclose(again, before, atol=1e-4)
    names = {name for name, _ in load_causal_lm(str(tmp_path)).named_parameters()}
    assert names == {name for name, _ in causal().named_parameters()}
    assert fingerprint(load_tokenizer(str(tmp_path))) == fingerprint(load_tokenizer(folder()))


@pytest.mark.parametrize("kind", ("sft_policy", "reward_trainer"))
def test_a_model_that_computes_in_bf16_is_saved_in_whole_and_not_refused(role, tmp_path, kind):
    made = role(kind, engine={"backend": "torch", "precision": "bf16"})
    made.save(tmp_path)
    written = load_file(tmp_path / "model.safetensors")
    held = {"sft_policy": causal, "reward_trainer": lambda: classifier(seed=1)}[kind]().state_dict()
    assert all(torch.equal(tensor, held[name]) for name, tensor in written.items())


@pytest.mark.parametrize("peft", ({}, LORA))
def test_the_tokens_that_end_a_response_are_kept(role, folder, tmp_path, peft):
    role("sft_policy", peft=peft).save(tmp_path)
    words = load_tokenizer(folder())
    assert stop_ids(str(tmp_path), words) == stop_ids(folder(), words)


def test_adapters_alone_lie_beside_the_merged_model(role, folder, tmp_path):
    policy, written = role("sft_policy", peft=LORA), rollout(3)
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
    learner, batch = role("reward_trainer", peft=peft), rankings(5)
    learner.rank(batch)
    learner.save(tmp_path)
    load_scalar(str(tmp_path), "trained")
    again = role("reward_trainer", path=str(tmp_path)).answer_scores(batch)
    torch.testing.assert_close(again, learner.answer_scores(batch), rtol=0, atol=1e-5)


def test_a_routed_policy_keeps_its_biases_and_they_decide(role, tmp_path):
    # The oracle is the source folder, and transformers' own forward of it.
    path = write_routed(tmp_path / "source")
    source = load_file(tmp_path / "source/model.safetensors")
    for peft in ({}, LORA):
        policy = role("sft_policy", path=path, peft=peft)
        policy.save(tmp_path / "written")
        written = load_file(tmp_path / "written/model.safetensors")
        assert {n: (t.dtype, t.shape) for n, t in written.items()} == {
            n: (t.dtype, t.shape) for n, t in source.items()
        }
        assert all(torch.equal(written[name], source[name]) for name in source)
        policy.imitate(demonstrations())
        policy.save(tmp_path / "trained")
        trained = load_file(tmp_path / "trained/model.safetensors")
        assert all(torch.equal(trained[n], source[n]) for n in source if is_bias(n))
        assert any(not torch.equal(trained[n], source[n]) for n in source)


def test_a_folder_that_is_not_the_model_is_refused(role, tmp_path):
    policy = role("sft_policy", path=write_routed(tmp_path / "source"))
    network = policy.engine.module.network
    with torch.no_grad():
        # Nothing that a folder keeps: lost on the way, as a buffer would be.
        network.model.norm.register_forward_hook(lambda _, __, hidden: hidden * 1.1)
    with pytest.raises(TrainingError, match="is not the model that was trained"):
        policy.save(tmp_path / "written")


def test_a_reward_models_adapters_load_by_the_library_alone(role, tmp_path):
    learner, batch = (
        role("reward_trainer", model="causal", peft=LORA, fields={"head": "new"}),
        rankings(5),
    )
    learner.rank(batch)
    learner.save(tmp_path)
    merged = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    adapted = AutoPeftModelForSequenceClassification.from_pretrained(tmp_path / ADAPTER_FOLDER)
    assert Path(adapted.peft_config["default"].base_model_name_or_path).is_dir()
    rows_BT = batch.tokens_BKT[:, 0]
    with torch.no_grad():
        got, wanted = (m.eval()(input_ids=rows_BT).logits for m in (adapted, merged))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
    learner.save(tmp_path)  # a later, better model in the same place


def test_a_policys_adapters_load_by_the_library_alone(role, tmp_path):
    policy = role("sft_policy", path=write_routed(tmp_path / "source"), peft=LORA)
    policy.imitate(demonstrations())
    policy.save(tmp_path / "written")
    adapted = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "written" / ADAPTER_FOLDER)
    merged = load_causal_lm(str(tmp_path / "written"))
    tokens_BT = rollout(3).tokens_BT
    with torch.no_grad():
        got, wanted = (m.eval()(input_ids=tokens_BT).logits for m in (adapted, merged))
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)

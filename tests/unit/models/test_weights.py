"""check_weights: what a folder lacks, from its headers alone."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rlhf.errors import ModelError
from rlhf.models.pretrained import load_causal_lm, load_scalar
from rlhf.models.scalar_model import ScalarModel
from rlhf.models.weights import check_weights
from tests.models import causal, tokenizer, write
from tests.routed import ROUTED, write_routed


def test_a_language_model_and_a_classifier_pass_for_what_they_are(folder):
    check_weights(folder(), scored=False)
    check_weights(folder(kind="classifier"), scored=True)


def test_a_language_model_has_no_score(folder):
    with pytest.raises(ModelError, match="no trained score head"):
        check_weights(folder(), scored=True)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="there is no such folder"):
        check_weights(str(tmp_path / "nowhere"), scored=False)


def test_weights_that_are_missing_or_damaged(folder, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(folder(), broken)
    (broken / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(ModelError, match=r"model\.safetensors is damaged"):
        check_weights(str(broken), scored=False)
    (broken / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        check_weights(str(broken), scored=False)
    os.mkfifo(broken / "model.safetensors")  # reading one waits for a writer
    with pytest.raises(ModelError, match="no weights"):
        check_weights(str(broken), scored=False)


@pytest.fixture
def changed(folder, tmp_path):
    """Copy a folder, pass its tensors through a function, change its config."""

    def make(change=dict, kind="causal", **config: object) -> str:
        home = Path(shutil.copytree(folder(kind=kind), tmp_path / "changed", dirs_exist_ok=True))
        tensors = change(load_file(home / "model.safetensors"))
        save_file(tensors, home / "model.safetensors", metadata={"format": "pt"})
        settings = {**json.loads((home / "config.json").read_text()), **config}
        (home / "config.json").write_text(json.dumps(settings))
        return str(home)

    return make


def without(name):
    return lambda tensors: {n: t for n, t in tensors.items() if n != name}


UP = "model.layers.1.mlp.up_proj.weight"
WRONG = {
    "missing": (without(UP), {}, rf"1 missing \({UP}\)"),
    "left over": (lambda t: {**t, "own.weight": torch.ones(2)}, {}, r"1 unexpected \(own.weight\)"),
    "misshapen": (lambda t: {**t, UP: t[UP][:5].clone()}, {}, r"\[5, 32\] for \[48, 32\]"),
    "wrapped": (lambda t: {f"module.{n}": x for n, x in t.items()}, {}, "without its wrapper"),
    "a layer less": (dict, {"num_hidden_layers": 1}, "9 unexpected"),
    "a layer more": (dict, {"num_hidden_layers": 3}, "9 missing"),
    "another family": (dict, {"model_type": "qwen2", "architectures": None}, "6 missing"),
    "another family of the same tensors": (
        dict,
        {"model_type": "gemma"},
        "is of model_type .*llama",
    ),
    "other sizes": (dict, {"intermediate_size": 40}, "6 of another shape"),
}


@pytest.mark.parametrize("kind", ["causal", "classifier"])
@pytest.mark.parametrize(("change", "config", "told"), WRONG.values(), ids=WRONG)
def test_weights_of_another_model_are_named_before_and_at_loading(
    changed, kind, change, config, told
):
    path = changed(change, kind, **config)
    with pytest.raises(ModelError, match=told):
        check_weights(path, scored=kind == "classifier")
    with pytest.raises(ModelError, match=told):
        load_causal_lm(path) if kind == "causal" else load_scalar(path, "trained")
    with pytest.raises(ModelError, match=told):
        load_scalar(path, "new")


def test_what_is_tied_or_of_no_account_may_be_missing_or_there(changed):
    both = changed(lambda t: {**t, "lm_head.weight": t["model.embed_tokens.weight"].clone()})
    check_weights(both, scored=False)
    old = changed(lambda t: {**t, "model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)})
    check_weights(old, scored=False)
    load_causal_lm(old)


def test_a_new_head_needs_none_and_leaves_the_language_models(tmp_path):
    path = write(causal(tie_word_embeddings=False), tmp_path)
    network = load_scalar(path, "new")
    assert network.score.weight.shape == (1, 32)
    with pytest.raises(ModelError, match="no trained score head"):
        load_scalar(path, "trained")


@pytest.mark.parametrize("family", ROUTED)
def test_families_with_buffers_and_renamed_tensors_pass(tmp_path, family):
    check_weights(write_routed(tmp_path, family), scored=False)


def test_a_pickle_of_all_tensors_passes(tmp_path):
    network = causal()
    network.config.save_pretrained(tmp_path)
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    tokenizer().save_pretrained(tmp_path)
    check_weights(str(tmp_path), scored=False)
    kept = dict(network.state_dict())
    kept.pop(UP)
    torch.save(kept, tmp_path / "pytorch_model.bin")
    with pytest.raises(ModelError, match="1 missing"):
        check_weights(str(tmp_path), scored=False)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"attn_implementation": "flex_attention"}, "take it out, and transformers chooses sdpa"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": -5.0}}, "not finite"),
    ],
)
def test_a_small_model_is_run(changed, config, told):
    with pytest.raises(ModelError, match=told):
        check_weights(changed(**config), scored=False)


@pytest.mark.parametrize("kind", [torch.float8_e4m3fn, torch.float8_e5m2, torch.int8])
def test_weights_that_need_scales_are_refused_where_none_are_said(changed, kind):
    small = changed(
        lambda t: {n: x.to(kind) if n.endswith("proj.weight") else x for n, x in t.items()}
    )
    with pytest.raises(ModelError, match="no quantization_config says how to read them"):
        check_weights(small, scored=False)


def test_a_weight_that_is_no_number_is_named_though_few_tokens_meet_it(changed):
    def spoil(tensors):
        tensors["model.embed_tokens.weight"][-1, 0] = torch.inf
        return tensors

    with pytest.raises(ModelError, match=r"model\.embed_tokens\.weight holds numbers that are not"):
        check_weights(changed(spoil), scored=False)


def test_a_policy_that_says_nothing_is_refused(changed):
    """The last norm multiplies by next to nothing, so that softmax gives all tokens one share."""
    faint = changed(
        lambda t: {n: x * 1e-4 if n == "model.norm.weight" else x for n, x in t.items()}
    )
    with pytest.raises(ModelError, match="gives all next tokens one probability"):
        check_weights(faint, scored=False)
    blank = changed(lambda t: {n: x * 0 if n == "model.norm.weight" else x for n, x in t.items()})
    with pytest.raises(ModelError, match="gives the same numbers for all tokens"):
        check_weights(blank, scored=False)


@pytest.mark.parametrize(
    "wrong", [{"rlhf_score_std": -1.0}, {"rlhf_score_std": 0}, {"rlhf_score_mean": "x"}]
)
def test_a_normalisation_that_is_none_is_refused_before_and_at_loading(folder, tmp_path, wrong):
    broken = tmp_path / "broken"
    shutil.copytree(folder(kind="classifier"), broken)
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, **wrong}))
    with pytest.raises(ModelError, match="the second above 0"):
        check_weights(str(broken), scored=True)
    with pytest.raises(ModelError, match="the second above 0"):
        ScalarModel(load_scalar(str(broken), "trained"))

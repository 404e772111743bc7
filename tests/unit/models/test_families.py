"""Families: a folder's text model, the error that refuses it, a scalar head for every family."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BartConfig,
    BertConfig,
    BertLMHeadModel,
    CLIPConfig,
    Gemma3Config,
    Gemma3ForConditionalGeneration,
    Llama4Config,
    Llama4ForConditionalGeneration,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Phi3Config,
    Qwen3VLConfig,
    T5Config,
    ViTConfig,
    WhisperConfig,
    XLNetConfig,
)

from rlhf.errors import ModelError
from rlhf.models.families import base_of, context_of, language_config, left_out
from rlhf.models.language_model import LanguageModel
from rlhf.models.outline import context_length
from rlhf.models.pretrained import load_causal_lm, load_scalar, save_network
from rlhf.models.scalar_model import ScalarModel
from tests.families import tiny
from tests.models import tokenizer

VISION = {
    "hidden_size": 32,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
IDS = torch.arange(30, 50)[None]
LLAMA4 = {"vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32}


def text(family):
    return tiny.config_of(family).to_dict()


MULTIMODAL = {
    "gemma3": lambda: Gemma3ForConditionalGeneration(
        Gemma3Config(text_config=text("gemma3_text"), vision_config=VISION, mm_tokens_per_image=4)
    ),
    "llava": lambda: LlavaForConditionalGeneration(
        LlavaConfig(
            text_config=text("llama"),
            vision_config={"model_type": "clip_vision_model", **VISION},
            image_token_index=280,
        )
    ),
    "mistral3": lambda: Mistral3ForConditionalGeneration(
        Mistral3Config(
            text_config=text("mistral"),
            vision_config={"model_type": "pixtral", "head_dim": 16, **VISION},
            image_token_index=280,
        )
    ),
    "llama4": lambda: Llama4ForConditionalGeneration(
        Llama4Config(text_config=text("llama4_text"), vision_config={**VISION, **LLAMA4})
    ),
}


def logits(network):
    with torch.no_grad():
        return network(input_ids=IDS, use_cache=False).logits


@pytest.mark.parametrize("family", MULTIMODAL)
def test_the_text_part_of_a_folder_says_what_the_whole_says_of_text(family, tmp_path):
    torch.manual_seed(0)
    whole = MULTIMODAL[family]().eval()
    whole.save_pretrained(tmp_path)
    network = load_causal_lm(str(tmp_path))
    assert torch.equal(logits(network), logits(whole))
    scalar = load_scalar(str(tmp_path), "new")
    base, part = dict(scalar.base_model.named_parameters()), base_of(network)
    assert all(torch.equal(base[name], weight) for name, weight in part.named_parameters())
    save_network(network, tmp_path / "out", tokenizer())
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert torch.equal(logits(again), logits(whole)), "transformers reads what was written"


def test_only_tensors_outside_the_text_part_are_left_out(tmp_path):
    MULTIMODAL["llava"]().save_pretrained(tmp_path)
    config = language_config(LlavaConfig.from_pretrained(tmp_path), "F")
    network, info = AutoModelForCausalLM.from_pretrained(
        tmp_path,
        config=config,
        key_mapping={r"^(?:model\.)?(?:language_model|text_model)\.(?:model\.)?": "model."},
        output_loading_info=True,
    )
    odd = ["model.layers.9.mlp.weight", "lm_head.bias"]
    assert set(left_out(network, [*info["unexpected_keys"], *odd])) == {
        name for name in info["unexpected_keys"] if "vision" in name or "projector" in name
    }
    assert left_out(tiny.causal("llama"), odd) == []


@pytest.mark.parametrize(
    ("config", "why"),
    [
        (T5Config(), "t5 .* is an encoder-decoder"),
        (BartConfig(), "bart .* is an encoder-decoder"),
        (WhisperConfig(), "whisper .* is an encoder-decoder"),
        (BertConfig(), "bert .* is an encoder"),
        (XLNetConfig(), "xlnet .* reads a text from both sides"),
        (ViTConfig(), "vit .* has no causal language model"),
        (CLIPConfig(), "clip .* has no causal language model"),
        (Qwen3VLConfig(), "qwen3_vl .* has no causal language model"),
    ],
    ids=lambda value: getattr(value, "model_type", ""),
)
def test_what_is_no_causal_language_model_is_refused_by_its_config_alone(config, why, tmp_path):
    config.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=f"{tmp_path}: {why}.*give a decoder-only") as raised:
        context_length(str(tmp_path))
    assert "\n" not in str(raised.value)


def test_a_bert_that_decodes_is_taken_and_one_that_only_says_so_is_not():
    sizes = {**tiny.config_of("bert").to_dict(), "is_decoder": True}
    decoder = BertConfig(**sizes)
    assert language_config(decoder, "F") is decoder
    LanguageModel(BertLMHeadModel(decoder).eval())
    both_sides = BertLMHeadModel(BertConfig(**{**sizes, "is_decoder": False})).eval()
    with pytest.raises(ModelError, match="changes with the tokens behind it"):
        LanguageModel(both_sides)


@pytest.mark.parametrize("family", ("cohere", "mamba", "lfm2", "bart_decoder", "llama4_text"))
def test_a_family_without_a_classifier_gets_one_over_its_base(family, tmp_path):
    network = tiny.causal(family.removesuffix("_decoder"))
    network.save_pretrained(tmp_path)
    made = load_scalar(str(tmp_path), "new")
    model = ScalarModel(made)
    with torch.no_grad():
        base = getattr(network, made.base_model_prefix)
        hidden_TH = base(input_ids=IDS, use_cache=False)[0][0]
        wanted_T = hidden_TH @ made.score.weight[0]
        found_T = model(IDS, torch.arange(IDS.shape[1]))
    torch.testing.assert_close(found_T, wanted_T, rtol=1e-5, atol=1e-5)
    save_network(made, tmp_path / "reward", tokenizer())
    assert torch.equal(
        ScalarModel(load_scalar(str(tmp_path / "reward"), "trained"))(IDS, torch.tensor([19])),
        model(IDS, torch.tensor([19])),
    )
    read = AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward").eval()
    assert read.config.architectures == [type(made).__name__]
    torch.testing.assert_close(logits(read)[0], wanted_T[-1:], rtol=1e-5, atol=1e-5)


def test_past_its_first_context_a_longrope_is_not_read():
    rope = {
        "rope_type": "longrope",
        "rope_theta": 1e4,
        "short_factor": [1.0] * 4,
        "long_factor": [4.0] * 4,
    }
    first = {"original_max_position_embeddings": 16}
    sizes = {"hidden_size": 32, "num_attention_heads": 4, "max_position_embeddings": 64}
    assert context_of(Phi3Config(**sizes, **first, rope_parameters=rope)) == 16
    assert context_of(Phi3Config(**sizes)) == 64
    assert context_of(tiny.config_of("gpt2")) == tiny.CONTEXT
    assert context_of(tiny.config_of("mamba")) is None


@pytest.mark.parametrize("kind", ["internlm3", "iquestcoder"])
def test_a_family_with_anothers_language_model_may_have_a_scalar_head_on_it(kind):
    config = AutoConfig.for_model(kind, architectures=["LlamaForSequenceClassification"])
    assert language_config(config, "folder") is config

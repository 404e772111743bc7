"""Trials find a backend's errors, by whole forwards; rounding is not an error."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import AutoModelForCausalLM, GPTNeoConfig, LlamaConfig

from rlhf.errors import ModelError
from rlhf.generation import continuous, sampler
from rlhf.generation.sampler import choose
from rlhf.generation.trial import disagreement, edges, gap, trial_rows
from rlhf.models.language_model import LanguageModel
from tests.models import causal, prompts
from tests.unit.generation.rows import how

WINDOW = 12


def a_neo():
    """GPT-Neo, whose every other layer sees a window that is no sliding attention by name."""
    torch.manual_seed(0)
    config = GPTNeoConfig(
        vocab_size=290,
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=WINDOW,
        max_position_embeddings=128,
        initializer_range=0.3,
    )
    return LanguageModel(AutoModelForCausalLM.from_config(config).eval())


class Forgetful(LanguageModel):
    """Its cached steps are wrong where a row is longer than the window in its config."""

    def logits(self, *arguments, position_ids=None, **options):
        if position_ids is not None:
            options["position_ids"] = position_ids
        found_NV = super().logits(*arguments, **options)
        window = self.network.config.window_size
        if position_ids is None or int(position_ids.max()) < window:
            return found_NV
        return found_NV.roll(1, -1)


def test_a_window_that_the_longest_row_passes_is_passed_in_the_trial():
    asked, longest = prompts(), int(prompts().lengths_B.max()) + 100
    model = Forgetful(causal(window_size=longest - 40))
    choice = choose(model, how(max_new_tokens=100), asked)
    assert choice.backend == "padded"
    assert "nats a token off a whole forward" in choice.reason
    model.network.config.window_size = longest + 1
    assert choose(model, how(max_new_tokens=100), asked).backend == "continuous"


def test_the_choice_is_right_by_the_whole_forward_of_transformers_itself():
    model, asked = a_neo(), prompts(5)
    asked_how = how(max_new_tokens=16)
    choice = choose(model, asked_how, asked)
    for chunk in sampler.sample(model, asked, asked_how, 3, choice.backend):
        for row in range(len(chunk)):
            start, end = int(chunk.prompt_lengths_B[row]), int(chunk.lengths_B[row])
            ids = chunk.tokens_BT[row : row + 1, :end]
            logits = model.network(input_ids=ids, use_cache=False).logits[0] / 0.8
            truth = logits.log_softmax(-1)[start - 1 : end - 1].gather(1, ids[0, start:, None])
            told = chunk.sampling_logprobs_BR[row, : end - start]
            torch.testing.assert_close(told, truth.squeeze(1), rtol=0, atol=1e-4)


def test_where_no_way_is_right_the_error_names_each_and_what_else_to_do():
    model, asked = LanguageModel(causal()), prompts()
    real = model.forward

    def wrong(*arguments):
        logprobs_N, entropy_N = real(*arguments)
        return logprobs_N - 0.5, entropy_N

    model.forward = wrong
    with pytest.raises(ModelError, match=r"continuous: .* padded: .*engine.precision=fp32"):
        choose(model, how(), asked)


def test_a_network_that_cannot_be_decoded_so_gets_another_backend():
    class Fussy(LanguageModel):
        def logits(self, *arguments, past_key_values=None, **options):
            raise RuntimeError("no cache of this kind")

    choice = choose(Fussy(causal()), how(), prompts())
    assert choice.backend == "padded"
    assert "fails with RuntimeError: no cache of this kind" in choice.reason


@pytest.mark.parametrize("family", ("llama", "gpt2", "gemma2"))
def test_in_bf16_rounding_is_not_taken_for_a_fault(family):
    model = LanguageModel(causal(family).bfloat16())
    assert choose(model, how(), prompts()).backend == "continuous"


def test_rows_reach_both_sides_of_every_edge_and_the_longest_text_of_the_run():
    model = LanguageModel(
        AutoModelForCausalLM.from_config(
            LlamaConfig(
                vocab_size=290,
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                rope_parameters={
                    "rope_type": "yarn",
                    "rope_theta": 10000.0,
                    "factor": 4.0,
                    "original_max_position_embeddings": 50,
                },
            )
        )
    )
    asked = prompts()
    rows, short = trial_rows(model, asked, how(max_new_tokens=100))
    reach = rows.lengths_B + short.max_new_tokens
    assert int(reach.max()) == int(asked.lengths_B.max()) + 100
    crosses = (rows.lengths_B < 50) & (reach > 50)
    assert bool(crosses.any()), "a rope that changes with the length changes while it writes"
    assert short.batch_size < len(rows)
    assert len(set(rows.lengths_B.tolist())) > 3


def test_edges_are_found_wherever_a_config_has_them():
    config = {
        "sliding_window": 4096,
        "text_config": {"attention_chunk_size": 8192, "rope_parameters": {"factor": 8.0}},
        "rope_scaling": {"original_max_position_embeddings": 2048},
        "window_size": None,
        "hidden_size": 64,
    }
    assert edges(config) == [2048, 4096, 8192]


def test_a_gap_is_that_of_the_worst_row_and_numbers_that_are_none_are_infinitely_far():
    mask_BR = torch.tensor([[True, True], [True, False]])
    one_BR = torch.zeros(2, 2)
    other_BR = torch.tensor([[0.1, 0.3], [-0.5, 7.0]])
    found = gap(one_BR, other_BR, mask_BR)
    assert found.mean == pytest.approx(0.3)
    assert found.worst_row == pytest.approx(0.5)
    k3 = sum(float(torch.tensor(x).exp()) - 1 - x for x in (0.1, 0.3, -0.5)) / 3
    assert found.k3 == pytest.approx(k3, rel=1e-5)
    assert gap(one_BR, other_BR.fill_(torch.nan), mask_BR).worst_row == torch.inf


def test_a_trial_needs_no_more_than_one_prompt_of_one_token():
    model, one = LanguageModel(causal()), prompts(1)
    single = replace(one, tokens_BP=one.tokens_BP[:, :1], lengths_B=torch.ones(1).long())

    def write(rows, short):
        return sampler.sample(model, rows, short, 0, "continuous")

    assert disagreement(model, single, how(max_new_tokens=1), write) is None
    assert continuous.refusal(model) is None

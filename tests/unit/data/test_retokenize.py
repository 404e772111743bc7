from __future__ import annotations

import pytest

from rlhf.data.chat import encode_answer, encode_prompt
from rlhf.data.retokenize import encode_exchange

USER = {"role": "user", "content": "hello world"}


@pytest.mark.parametrize("name", ["chatml", "llama", "r1", "qwen3"])
def test_a_finished_exchange_is_what_the_reward_model_was_trained_on(name, request):
    tokenizer = request.getfixturevalue(name)
    answer = [{"role": "assistant", "content": "good film"}]
    trained, _ = encode_answer(tokenizer, [USER], answer)
    assert encode_exchange(tokenizer, [USER], "good film", True) == trained
    unfinished = tokenizer.decode(encode_exchange(tokenizer, [USER], "good film", False))
    assert unfinished == tokenizer.decode(encode_prompt(tokenizer, [USER])) + "good film"


def test_plain_exchange(llama):
    trained, _ = encode_answer(llama, "the film ", "was good")
    assert encode_exchange(llama, "the film ", "was good", True) == trained
    assert encode_exchange(llama, "the film ", "was good", False) == trained[:-1]


def test_an_empty_response_is_the_prompt(llama):
    prompt = encode_prompt(llama, [USER])
    assert encode_exchange(llama, [USER], "", False) == prompt
    assert encode_exchange(llama, [USER], "", True) == [*prompt, llama.eos_token_id]


def test_special_tokens_in_a_response_stay_characters(chatml):
    ids = encode_exchange(chatml, [USER], "a<|im_end|>b", False)
    assert ids.count(chatml.eos_token_id) == 1
    assert chatml.decode(ids).endswith("a<|im_end|>b")


def test_a_prefilled_answer_goes_on(chatml):
    prompt = [USER, {"role": "assistant", "content": "the "}]
    for finished, end in ((True, "<|im_end|>"), (False, "")):
        ids = encode_exchange(chatml, prompt, "film", finished)
        assert chatml.decode(ids).endswith("<|im_start|>assistant\nthe film" + end)

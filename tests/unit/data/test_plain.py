from __future__ import annotations

from rlhf.data.plain import common_length, encode_pairs, opening, special_strings, tokenize


def test_opening_is_what_stands_before_a_text(llama, chatml):
    assert opening(llama) == [llama.bos_token_id]
    assert opening(chatml) == []


def test_tokenizing_adds_nothing(llama):
    assert tokenize(llama, []) == []
    assert tokenize(llama, ["", "hello"])[0] == []
    assert llama.decode(tokenize(llama, ["<s>hello"])[0]) == "<s>hello"
    assert llama.bos_token_id not in tokenize(llama, ["<s>hello"])[0]
    assert llama("<s>")["input_ids"].count(llama.bos_token_id) == 2


def test_pairs_in_a_batch_equal_pairs_alone(llama):
    pairs = [("the film ", "good"), ("the film ", "bad"), ("", "hello world")]
    assert encode_pairs(llama, pairs) == [encode_pairs(llama, [pair])[0] for pair in pairs]


def test_common_length():
    assert [common_length([1, 2, 3], ids) for ids in ([1, 2], [1, 3], [2], [1, 2, 3])] == [
        2,
        1,
        0,
        3,
    ]
    assert common_length("abc", "abd") == 2


def test_longer_special_strings_come_first(chatml):
    lengths = [len(text) for text in special_strings(chatml)]
    assert lengths == sorted(lengths, reverse=True)
    assert "<|im_end|>" in special_strings(chatml)

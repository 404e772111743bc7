from __future__ import annotations

import logging

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from rlhf.data.tokenizer import fingerprint, load_tokenizer, train_tokenizer
from rlhf.errors import ModelError

TEXTS = ["the film was good", "the film was bad", "hello there"] * 5


def test_training_is_deterministic_and_bounded():
    first, second = train_tokenizer(TEXTS, 280), train_tokenizer(iter(TEXTS), 280)
    assert first.get_vocab() == second.get_vocab()
    assert fingerprint(first) == fingerprint(second)
    assert 259 < len(first) <= 280


def test_a_trained_tokenizer_round_trips_any_text_and_keeps_pad_from_eos():
    # correctness 1, 2: a pad token of its own; decoding gives the text back.
    tokenizer = train_tokenizer(TEXTS, 280)
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    text = "caf\u00e9  \U0001f600\n\ttab"
    ids = tokenizer(text)["input_ids"]
    assert ids[0] == tokenizer.bos_token_id
    assert tokenizer.bos_token_id not in ids[1:]
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_fingerprint_survives_saving_and_tells_tokenizers_apart(tmp_path):
    tokenizer = train_tokenizer(TEXTS, 280)
    tokenizer.save_pretrained(tmp_path / "one")
    again = load_tokenizer(str(tmp_path / "one"))
    again.save_pretrained(tmp_path / "two")
    assert fingerprint(again) == fingerprint(tokenizer)
    assert fingerprint(load_tokenizer(str(tmp_path / "two"))) == fingerprint(tokenizer)
    assert again.chat_template == tokenizer.chat_template
    again(["pads"], padding="max_length", max_length=9)
    assert fingerprint(again) == fingerprint(tokenizer)
    assert fingerprint(train_tokenizer(TEXTS, 270)) != fingerprint(tokenizer)
    again.chat_template = "{{ messages }}"
    assert fingerprint(again) != fingerprint(tokenizer)


def bare(folder, **tokens):
    backend = Tokenizer(models.WordLevel({"a": 0, "</s>": 1, "<u>": 2}, unk_token="<u>"))
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<u>", **tokens).save_pretrained(
        folder
    )
    return str(folder)


def test_no_pad_token_takes_eos_with_a_warning(tmp_path, caplog):
    path = bare(tmp_path, eos_token="</s>")
    with caplog.at_level(logging.WARNING):
        tokenizer = load_tokenizer(path)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 1
    assert "no pad token" in caplog.text


def test_no_eos_token_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="no EOS token"):
        load_tokenizer(bare(tmp_path))


def test_nothing_to_load_is_an_error(tmp_path):
    with pytest.raises(ModelError, match="no tokenizer loads"):
        load_tokenizer(str(tmp_path))
    with pytest.raises(ModelError, match=r"x\.gguf"):
        load_tokenizer(str(tmp_path / "x.gguf"))

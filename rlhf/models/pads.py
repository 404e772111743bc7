"""Pads: a pad token that ends no text, for software that looks for the end of a text by its pads.

Transformers' sequence classifiers read the last token that is not the config's `pad_token_id`
(`GenericForSequenceClassification`). Where pad and EOS are one token they read one token early.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def with_own_pad(tokenizer: PreTrainedTokenizerBase, num_rows: int) -> PreTrainedTokenizerBase:
    """Return a tokenizer that pads with a token which is no EOS: itself, where it does already.

    Else a copy, which pads with a special token that no text ends with, or (where a vocabulary
    has none) with its last word.

    Args:
        tokenizer: The model's tokenizer.
        num_rows: Rows of the model's embedding; the pad is one of them.
    """
    ends = _ends(tokenizer)
    tokens = tokenizer.convert_ids_to_tokens(list(_candidates(tokenizer, num_rows)))
    pad = next(token for token in tokens if token not in ends)
    if pad == tokenizer.pad_token:
        return tokenizer
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.pad_token = pad
    return tokenizer


def _ends(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """Return EOS, and the tokens that the chat template names: one may end a turn."""
    template = str(tokenizer.chat_template or "")
    named = {token for token in tokenizer.all_special_tokens if token in template}
    return (named - {str(tokenizer.bos_token)}) | {str(tokenizer.eos_token)}


def _candidates(tokenizer: PreTrainedTokenizerBase, num_rows: int) -> Iterator[int]:
    """Yield ids, the best pad first."""
    special = {
        index: token.content
        for index, token in sorted(tokenizer.added_tokens_decoder.items())
        if token.special and index < num_rows
    }
    own = (index for index in (tokenizer.pad_token_id,) if isinstance(index, int))
    yield from (index for index in own if index < num_rows)
    yield from (index for index, content in special.items() if "pad" in content.lower())
    yield from (index for index in special if index == tokenizer.bos_token_id)
    yield from reversed(special)
    yield from sorted((i for i in tokenizer.get_vocab().values() if i < num_rows), reverse=True)

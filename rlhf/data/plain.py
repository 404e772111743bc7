"""Plain text to ids: no text becomes a special token, and a prompt's end is found on ids."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar, cast

from transformers import PreTrainedTokenizerBase

Learned = tuple[list[int], list[bool]]
"""Token ids, and the mask that is true where a token is to be learned."""

# A letter or digit of a script with spaces between words: not Thai, Burmese, Khmer, Chinese, kana.
_WORD = re.compile(r"[^\W_\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\uabff\uf900-\ufaff]")

_T = TypeVar("_T", str, list[int])


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return the ids of texts, no BOS or EOS added; `<|eos|>` in a text stays seven characters."""
    if not texts:
        return []
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    return cast("list[list[int]]", encoded["input_ids"])


def opening(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return what the tokenizer puts before a text: usually [BOS] or nothing."""
    bare = tokenizer("a", add_special_tokens=False)["input_ids"]
    dressed = tokenizer("a")["input_ids"]
    starts = range(len(dressed) - len(bare) + 1)
    start = next((s for s in starts if dressed[s : s + len(bare)] == bare), 0)
    return list(dressed[:start])


def closing(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the id that ends a response."""
    return cast("int", tokenizer.eos_token_id)


def special_strings(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return the spellings of all special tokens, longest first."""
    return _specials(tokenizer, str(tokenizer.special_tokens_map))[0]


def special_pattern(tokenizer: PreTrainedTokenizerBase) -> re.Pattern[str]:
    """Return a pattern that finds the spelling of any special token."""
    return _specials(tokenizer, str(tokenizer.special_tokens_map))[1]


@lru_cache(maxsize=8)
def _specials(
    tokenizer: PreTrainedTokenizerBase,
    named: str,
) -> tuple[list[str], re.Pattern[str]]:
    """Return both; Gemma has 6,000 and every row asks. `named` tells apart what was set later."""
    added = [str(t) for t in tokenizer.added_tokens_decoder.values() if t.special]
    every = {*tokenizer.all_special_tokens, *added}
    spellings = sorted(every, key=lambda text: (-len(text), text))
    return spellings, re.compile("|".join(map(re.escape, spellings)) or r"(?!)")


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]
) -> list[Learned]:
    """Encode (prompt, answer) texts as BOS + prompt and answer + EOS; an empty prompt is allowed.

    Prompt and answer are tokenized as one text, as a reader would see it. Learned is what follows
    the longest common prefix of that and the prompt's own ids, so a token that merges over the
    border counts as answer. Position 0 is never learned: nothing predicts it. An answer that
    already ends with the EOS token's spelling does not get a second one.
    """
    start, end = opening(tokenizer), closing(tokenizer)
    spelling = str(tokenizer.eos_token)
    wholes = tokenize(tokenizer, [p + a.removesuffix(spelling) for p, a in pairs])
    prompts = _tokenize_each_once(tokenizer, [prompt for prompt, _ in pairs])
    encoded: list[Learned] = []
    for (prompt, _), whole in zip(pairs, wholes, strict=True):
        ids = [*start, *whole, end]
        border = max(1, len(start) + common_length(prompts[prompt], whole))
        encoded.append((ids, [False] * border + [True] * (len(ids) - border)))
    return encoded


def glued(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]], encoded: Sequence[Learned]
) -> list[int]:
    """Return which answers run into their prompts, by index: a prompt alone reads otherwise.

    Two words became one there ("w2" + "w3"), or a token spans the border, so that the prompt that
    a policy is asked is not what stands before the answer in training.
    """
    start, prompts = len(opening(tokenizer)), _tokenize_each_once(tokenizer, [p for p, _ in pairs])
    found: list[int] = []
    for index, ((prompt, answer), (_, mask)) in enumerate(zip(pairs, encoded, strict=True)):
        merged = prompt and mask.index(True) < start + len(prompts[prompt])
        if merged or (_WORD.fullmatch(prompt[-1:]) and _WORD.fullmatch(answer[:1])):
            found.append(index)
    return found


def _tokenize_each_once(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> dict[str, list[int]]:
    unique = list(dict.fromkeys(texts))
    return dict(zip(unique, tokenize(tokenizer, unique), strict=True))


def common_length(left: _T, right: _T) -> int:
    """Return the length of the longest common prefix."""
    shorter = min(len(left), len(right))
    if left[:shorter] == right[:shorter]:
        return shorter
    return next(i for i in range(shorter) if left[i] != right[i])

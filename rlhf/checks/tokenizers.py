"""Whether policy, reference, reward model and value model read the same tokens, pads and ends."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from rlhf.catalog.stages import SFT
from rlhf.checks.check import CheckWarning
from rlhf.checks.context import CheckContext, reward_models
from rlhf.data.chat import encode_conversation, encode_ending
from rlhf.data.columns import options_of
from rlhf.data.retokenize import encode_exchange
from rlhf.data.tokenizer import TextTokenizer, fingerprint, load_tokenizer
from rlhf.errors import DataError, ModelError
from rlhf.models.outline import context_length, stated
from rlhf.models.stops import special_ids, stop_ids

if TYPE_CHECKING:
    from rlhf.data.template import Text

READERS = ("reference.path", "value.path")
"""Models that are given the policy's token ids as they are."""


def check_tokenizers(context: CheckContext) -> str:
    """Compare the tokenizers of all models with each other and with their weights.

    Raises:
        ModelError: one line for each model that cannot read what it will be given.
    """
    policy, models = context.inputs.tokenizer, context.models
    problems = list(_vocabulary("policy.path", context, policy))
    warnings = [*_turn_ends(context), *_ids_without_a_row(context)]
    for name in READERS:
        if name in models:
            problems += _reads_ids(name, context)
            problems += _vocabulary(name, context, load_tokenizer(models[name]))
    text = f"{len(policy):,} tokens, EOS {policy.eos_token!r}, pad {policy.pad_token!r}"
    for name, path in reward_models(context).items():
        own = load_tokenizer(path)
        problems += _vocabulary(name, context, own)
        problems += _reward_template(name, context, own)
        warnings += _pad(name, path, own)
        text += f"; {_reads(name, context, own)}"
    if problems:
        raise ModelError("\n".join(problems))
    return CheckWarning("\n".join(warnings)) if warnings else text


def _vocabulary(name: str, context: CheckContext, tokenizer: TextTokenizer) -> Iterator[str]:
    """Check that every id of a tokenizer, and the pad id, has a row in the model's embedding."""
    path = context.models.get(name)
    size = stated(path, "vocab_size") if path is not None else None
    if path is None or size is None:
        return
    highest = max(tokenizer.get_vocab().values())
    if highest >= size:
        yield (
            f"{name}={path}: its tokenizer has ids up to {highest}, its embedding {size} rows; "
            "put the tokenizer of its training back, or enlarge the embedding"
        )
    pad = stated(path, "pad_token_id")
    if pad is not None and not -size <= pad < size:
        yield (
            f"{name}={path}: pad_token_id={pad} in its config.json is no row of its embedding of "
            f"{size}; legal: {tokenizer.pad_token_id}"
        )


def _ids_without_a_row(context: CheckContext) -> Iterator[str]:
    """Check that ids of special tokens, by which other software and samplers go, are tokens."""
    for name, path in context.models.items():
        size = stated(path, "vocab_size")
        if size is None:
            continue
        for file, key, token in special_ids(path):
            if token >= size and (file, key) != ("config.json", "pad_token_id"):
                effect = ", so it never ends a response" if key == "eos_token_id" else ""
                yield (
                    f"{name}={path}: {key}={token} in its {file} is no row of its embedding of "
                    f"{size}{effect}; name a token of its tokenizer, or take it out"
                )


def _reads_ids(name: str, context: CheckContext) -> Iterator[str]:
    """Check that the model reads the policy's ids alike; chat template and EOS do not matter."""
    path, policy = context.models[name], context.inputs.tokenizer
    own = load_tokenizer(path)
    own.chat_template, own.eos_token = policy.chat_template, policy.eos_token
    if fingerprint(own) != fingerprint(policy):
        yield (
            f"{name}={path}: its tokenizer is not the policy's, whose token ids it is given; "
            "give a model with the same tokenizer"
        )
    yield from _fits(name, context, context.experiment.generation.max_new_tokens)


def _fits(name: str, context: CheckContext, more: int) -> Iterator[str]:
    """Check that the longest prompt and so many tokens more fit in a model's context."""
    path, prompts = context.models[name], context.inputs.prompts
    window = context_length(path)
    if window is None or prompts is None or not len(prompts.train):
        return
    longest = int(prompts.train.lengths_B.max()) + more
    if longest > window:
        yield (
            f"{name}={path}: its context is {window}, the longest prompt and response have "
            f"{longest} tokens; lower generation.max_new_tokens by {longest - window}"
        )


def _reads(name: str, context: CheckContext, own: TextTokenizer) -> str:
    """Return whether a reward model reads the policy's tokens, in words."""
    path, several = reward_models(context)[name], len(reward_models(context)) > 1
    same = fingerprint(own) == fingerprint(context.inputs.tokenizer)
    reads = "reads these tokens" if same else "has tokens of its own, texts are encoded again"
    return f"the reward model {path} {reads}" if several else f"the reward model {reads}"


def _reward_template(name: str, context: CheckContext, own: TextTokenizer) -> Iterator[str]:
    """Check that a reward model's template can format every prompt."""
    path = reward_models(context)[name]
    same = fingerprint(own) == fingerprint(context.inputs.tokenizer)
    if _has_messages(context) and not own.chat_template:
        yield (
            f"{name}={path}: data.prompts are messages, and its tokenizer has no chat "
            "template; add its chat_template.jinja"
        )
        return
    refused = list(_refused(own, context, same=same)) if _has_messages(context) else []
    if refused:
        yield (
            f"{name}={path}: its chat template refuses {len(refused):,} of "
            f"data.prompts, the first is {refused[0]}; leave such prompts out, or give a reward "
            "model whose template takes them"
        )
    elif same:
        yield from _fits(name, context, _longest_exchange(context, own))


def _longest_exchange(context: CheckContext, own: TextTokenizer) -> int:
    """Return the tokens of a response whose stop gave way to what ends a row of training."""
    most, prompts = context.experiment.generation.max_new_tokens, context.inputs.prompts
    if prompts is None or not _has_messages(context):
        return most
    asked = next(p for p in prompts.train.prompts if not isinstance(p, str))
    return most - 1 + len(encode_ending(own, cast("Text", asked)))


def _refused(own: TextTokenizer, context: CheckContext, *, same: bool) -> Iterator[str]:
    """Try prompts with an answer: all, or one a form where the policy has the same template."""
    assert context.inputs.prompts is not None
    prompts = context.inputs.prompts.train
    forms: set[str] = set()
    for prompt, columns in zip(prompts.prompts, prompts.columns, strict=True):
        form = _form(cast("Text", prompt))
        if same and form in forms:
            continue
        try:
            encode_exchange(
                own, cast("Text", prompt), "a", finished=True, options=options_of(columns)
            )
        except DataError as error:
            yield f"{str(prompt)[:60]!r} ({error})"
        else:
            forms.add(form)


def _form(prompt: Text) -> str:
    """Return the form of messages: roles and kinds of content, without the text."""
    if isinstance(prompt, str):
        return "text"
    return str([(m["role"], sorted(m), type(m.get("content")).__name__) for m in prompt])


def _pad(name: str, path: str, own: TextTokenizer) -> Iterator[str]:
    pad = stated(path, "pad_token_id")
    if pad is not None and pad != own.pad_token_id:
        yield (
            f"{name}={path}: pad_token_id={pad} in its config.json is not its "
            f"tokenizer's {own.pad_token_id}; lengths are used here, but software that finds the "
            "end of a text by its pads reads other scores"
        )


def _turn_ends(context: CheckContext) -> Iterator[str]:
    """Check that the token which the chat template puts after an answer ends a response."""
    policy, path = context.inputs.tokenizer, context.models.get("policy.path")
    if path is None:
        return
    stops = stop_ids(path, policy)
    if not _has_messages(context) or SFT in context.stages:
        return
    turns = [{"role": role, "content": "a"} for role in ("user", "assistant", "user")]
    try:
        ids, learned = encode_conversation(policy, turns)
    except DataError:
        return
    written = {token for token, mine in zip(ids, learned, strict=True) if mine}
    if not written & set(stops):
        yield (
            f"policy.path={path}: its chat template ends a turn with none of the tokens that end a "
            f"response ({', '.join(map(repr, policy.convert_ids_to_tokens(list(stops))))}), so "
            "responses may run to generation.max_new_tokens; name its own end in eos_token_id of "
            "generation_config.json"
        )


def _has_messages(context: CheckContext) -> bool:
    prompts = context.inputs.prompts
    return prompts is not None and any(not isinstance(p, str) for p in prompts.train.prompts)

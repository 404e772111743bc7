"""Retokenize: an exchange written by the policy, in the reward model's own tokens.

Needed when the two tokenizers differ (rlhf.data.tokenizer.fingerprint): both share the text only.
"""

from __future__ import annotations

from transformers import PreTrainedTokenizerBase

from rlhf.data.chat import continued, encode_answer, encode_prompt
from rlhf.data.plain import closing
from rlhf.data.template import Message, Options, Template, Text


def encode_exchange(
    tokenizer: PreTrainedTokenizerBase,
    prompt: Text,
    response: str,
    finished: bool,  # noqa: FBT001 - a fact of the response, not a switch
    options: Options | None = None,
) -> list[int]:
    """Return the ids of prompt and response as the reward model met them in its training.

    Args:
        tokenizer: the reward model's; its BOS and its chat template count.
        prompt: as the user wrote it.
        response: the policy's text, without special tokens; may be empty.
        finished: whether the response ended by itself; only then do the ids end with EOS.
        options: `tools` and template variables of the row, for messages.

    Raises:
        DataError: when the prompt is messages and the tokenizer has no chat template.
    """
    if not response.strip():
        ids = encode_prompt(tokenizer, prompt, options)
        return [*ids, closing(tokenizer)] if finished else ids
    if isinstance(prompt, str):
        ids, _ = encode_answer(tokenizer, prompt, response)
        return ids if finished else ids[:-1]
    answer: list[Message] = [{"role": "assistant", "content": response}]
    if finished:
        return encode_answer(tokenizer, prompt, answer, options)[0]
    return _unfinished(Template(tokenizer, options), prompt, answer)


def _unfinished(template: Template, prompt: list[Message], answer: list[Message]) -> list[int]:
    """Render the finished exchange and cut it where the response's text ends."""
    asked, said = template.guard(prompt), template.guard(answer)
    if asked[-1]["role"] == "assistant":
        asked, said = asked[:-1], [continued(asked[-1], said[0])]
    text = template.render([*asked, *said])
    content = content_text(said[0])
    return template.ids(text[: text.rfind(content) + len(content)])

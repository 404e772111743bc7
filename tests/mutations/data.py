"""Mutations of rlhf/data: which tokens are learned, which row is which, and who sees what."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

PLAIN = "rlhf/data/plain.py"
TURNS = "rlhf/data/turns.py"
STREAM = "rlhf/data/stream.py"
SPLIT = "rlhf/data/split.py"
PREFERENCES = "rlhf/data/preferences.py"

CHAT_TESTS = ("tests/unit/data/test_chat.py",)
STREAM_TESTS = ("tests/unit/data/test_stream.py",)
SPLIT_TESTS = ("tests/unit/data/test_split.py",)
PREFERENCE_TESTS = ("tests/unit/data/test_preferences.py",)

LAYOUT_TESTS = ("tests/unit/data/layouts/test_recognise.py",)
CANONICAL_TESTS = ("tests/unit/data/test_canonical.py",)

MUTATIONS = (
    Mutation(
        "a-row-is-its-own-example",
        "data.few_shot shows a row its own answer",
        "rlhf/data/few_shot.py",
        "keys, found = {key}, list[Example]()",
        'keys, found = {""}, list[Example]()',
        ("tests/unit/data/test_few_shot.py",),
    ),
    Mutation(
        "conversations-without-their-rows-tools",
        "SFT on messages is not shown tools and chat_template_kwargs",
        "rlhf/data/encode.py",
        "encode_conversation(tokenizer, answer, options)",
        "encode_conversation(tokenizer, answer)",
        ("tests/unit/data/test_demonstrations.py",),
    ),
    Mutation(
        "overlap-learned-twice",
        "what windows of a document share is learned in both",
        "rlhf/data/documents.py",
        "known = overlap if start else 1",
        "known = 1",
        ("tests/unit/data/test_documents.py",),
    ),
    Mutation(
        "windows-of-a-document-on-both-sides",
        "the side of a window hangs on its own tokens, so what windows share leaks",
        "rlhf/data/documents.py",
        "Member(example.asked.key, content,",
        "Member(content, content,",
        ("tests/unit/data/test_documents.py",),
    ),
    Mutation(
        "preview-shows-what-is-read-as-learned",
        "rlhf data marks what is read, not what is learned",
        "rlhf/data/preview/segments.py",
        "kinds = [(mine, token in special)",
        "kinds = [(not mine, token in special)",
        ("tests/unit/data/preview/test_segments.py",),
    ),
    Mutation(
        "the-worse-of-two-preferred",
        "SHP's labels are read the other way round",
        "rlhf/data/layouts/pairs.py",
        'first, second = "AB" if',
        'first, second = "BA" if',
        LAYOUT_TESTS,
    ),
    Mutation(
        "bad-completions-imitated",
        "KTO rows whose label is false are demonstrations",
        "rlhf/data/layouts/kto.py",
        '(kind == "demonstrations" and is_good)',
        'kind == "demonstrations"',
        LAYOUT_TESTS,
    ),
    Mutation(
        "held-out-prompts-leak",
        "the side of a conversation hangs on more than what the user says first",
        "rlhf/data/canonical.py",
        "return key_of(said) if said.strip() else _whole(prompt)",
        "return _whole(prompt)",
        CANONICAL_TESTS,
    ),
    Mutation(
        "sft-learns-the-prompt",
        "the loss is taken over prompt and answer",
        PLAIN,
        "encoded.append((ids, [False] * border + [True] * (len(ids) - border)))",
        "encoded.append((ids, [False] + [True] * (len(ids) - 1)))",
        CHAT_TESTS,
    ),
    Mutation(
        "eos-not-learned",
        "the mask leaves the EOS of an answer out, so the model never learns to stop",
        PLAIN,
        "[False] * border + [True] * (len(ids) - border)",
        "[False] * border + [True] * (len(ids) - border - 1) + [False]",
        CHAT_TESTS,
    ),
    Mutation(
        "no-eos-at-the-end",
        "answers are learned without an end",
        PLAIN,
        "ids = [*start, *whole, end]",
        "ids = [*start, *whole]",
        CHAT_TESTS,
    ),
    Mutation(
        "bos-lost",
        "plain texts are learned without the BOS that prompts are sampled with",
        PLAIN,
        "ids = [*start, *whole, end]",
        "ids = [*whole, end]",
        CHAT_TESTS,
    ),
    Mutation(
        "eos-doubled",
        "an answer that already ends with the EOS gets a second one",
        PLAIN,
        "[p + a.removesuffix(spelling) for p, a in pairs]",
        "[p + a for p, a in pairs]",
        CHAT_TESTS,
    ),
    Mutation(
        "users-write-special-tokens",
        "the EOS that a user typed becomes one",
        PLAIN,
        "split_special_tokens=True",
        "split_special_tokens=False",
        CHAT_TESTS,
    ),
    Mutation(
        "turns-learned-without-their-end",
        "the end-of-turn token of a conversation is not learned",
        TURNS,
        "return start, _last_end(template, text, (start, span[1]))",
        "return start, start + len(text[start : span[1]].rstrip()) - 1",
        CHAT_TESTS,
    ),
    Mutation(
        "turns-of-the-prompt-learned",
        "assistant turns before the answer are learned too",
        TURNS,
        "for index in range(first, len(messages)):",
        "for index in range(len(messages)):",
        CHAT_TESTS,
    ),
    Mutation(
        "one-order-for-all-epochs",
        "every epoch shows the rows in the order of the first",
        STREAM,
        'f"{self._label}/{epoch}".encode()',
        'f"{self._label}".encode()',
        STREAM_TESTS,
    ),
    Mutation(
        "epochs-start-anew-at-row-0",
        "a batch that crosses into the next epoch skips rows",
        STREAM,
        "epoch, start = epoch + 1, 0",
        "epoch, start = epoch + 1, start",
        STREAM_TESTS,
    ),
    Mutation(
        "prompts-on-both-sides",
        "a prompt with several answers is trained on and tested on",
        SPLIT,
        'keys = [m.key if config.split_by == "prompt" else m.content for m in members]',
        "keys = [m.content for m in members]",
        SPLIT_TESTS,
    ),
    Mutation(
        "validation-rows-trained-on",
        "train takes what validation holds out",
        SPLIT,
        'return "validation" if place < config.test_fraction + config.validation_fraction',
        'return "validation" if place < config.validation_fraction',
        SPLIT_TESTS,
    ),
    Mutation(
        "chosen-and-rejected-swapped",
        "the worse answer is learned to be the better one",
        PREFERENCES,
        "texts = (str(chosen), str(rejected))\n"
        "        return Asked(None, (chosen, rejected), key_of(_shared_lines(*texts)))",
        "texts = (str(chosen), str(rejected))\n"
        "        return Asked(None, (rejected, chosen), key_of(_shared_lines(*texts)))",
        PREFERENCE_TESTS,
    ),
    Mutation(
        "named-answers-swapped",
        "rejected is read before chosen",
        PREFERENCES,
        '{name: text_of(values, name) for name in ("chosen", "rejected")}',
        '{name: text_of(values, name) for name in ("rejected", "chosen")}',
        PREFERENCE_TESTS,
    ),
    Mutation(
        "margins-lost",
        "the column is read and forgotten",
        PREFERENCES,
        "    return float(margin)",
        "    return 0.0 * float(margin)",
        PREFERENCE_TESTS,
    ),
    Mutation(
        "answers-as-long-as-the-longest",
        "the lengths of answers count their padding",
        PREFERENCES,
        "lengths = [[len(answer) for answer in answers] for answers in filled]",
        "lengths = [[len(answer) and flat.shape[1] for answer in answers] for answers in filled]",
        PREFERENCE_TESTS,
    ),
)

"""Tokenizers: loaded from a folder, a hub name or a GGUF file, fingerprinted, or trained afresh."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias, cast

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from rlhf.config.section import absent
from rlhf.errors import ModelError

_log = logging.getLogger(__name__)

TextTokenizer: TypeAlias = PreTrainedTokenizerBase
"""A tokenizer of transformers, under a name for packages that do not import transformers."""

PAD, BOS, EOS = "<|pad|>", "<|bos|>", "<|eos|>"

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{{ message['role'] + '\\n' + message['content'] + eos_token + '\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant\\n' }}{% endif %}"
)
"""ChatML (role, newline, content, end token, newline) in a new model's special tokens."""

_PROBES = ("Hello  World", "a 1234 \u00e9\u4e2d\U0001f600\n\tb", " lead", "it's <x>")


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer; one without a pad token gets EOS as pad, with a warning.

    Batches here are padded with zeros and carry lengths, so which id pads never matters.

    Args:
        path: local folder, hub name, or FOLDER/FILE.gguf.

    Raises:
        ModelError: when nothing loads, or there is no EOS token to end a response with.
    """
    if gone := absent(path):
        raise ModelError(gone)
    tokenizer = _loaded(path)
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise ModelError(f"{path}: its tokenizer has no vocabulary; put its tokenizer.json back")
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"{path}: its tokenizer has no EOS token, so no response could end; "
            "set eos_token in its tokenizer_config.json"
        )
    if tokenizer.pad_token_id is None:
        _log.warning("%s: no pad token; using the EOS token %r as pad", path, tokenizer.eos_token)
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _loaded(path: str) -> PreTrainedTokenizerBase:
    """Load a tokenizer, and encode a few texts with it: some damaged ones fail only there."""
    name, options = path, dict[str, str]()
    if path.endswith(".gguf"):
        name, options = str(Path(path).parent), {"gguf_file": Path(path).name}
    try:
        tokenizer = cast(
            "PreTrainedTokenizerBase",
            AutoTokenizer.from_pretrained(name, trust_remote_code=False, **options),
        )
        for probe in _PROBES:
            tokenizer.decode(tokenizer(probe)["input_ids"])
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # whatever the libraries raise over damaged files, panics too
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(
            f"{path}: no tokenizer loads from it: {reason}; "
            "give a model folder, a hub name or FOLDER/FILE.gguf"
        ) from error
    return tokenizer


def fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return a sha256 hex that two tokenizers share when they turn the same row into the same ids.

    Covers the vocabulary, the merges, BOS, EOS and unknown ids, the chat template, and the ids of
    a few probe texts (they show normalizers, pre-tokenizers and post-processors). The pad id is
    left out: it is never read. Stable over save and reload.
    """
    parts = {
        "vocab": sorted(tokenizer.get_vocab().items()),
        "merges": _merges(tokenizer),
        "special": [tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id],
        "probes": [tokenizer(probe)["input_ids"] for probe in _PROBES],
        "chat": tokenizer.chat_template,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _merges(tokenizer: PreTrainedTokenizerBase) -> list[object]:
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        return []
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    return [list(m) if isinstance(m, list) else m for m in model.get("merges", [])]


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer; the same texts give the same tokenizer.

    Args:
        texts: what it learns its merges from.
        vocab_size: most tokens it may have, the 256 bytes and 3 special tokens included; short
            texts give fewer.

    Returns:
        A tokenizer that puts one BOS before a text, has pad != EOS, and a chat template.
    """
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer=trainer)
    backend.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A",
        pair=f"{BOS} $A $B",
        special_tokens=[(BOS, backend.token_to_id(BOS))],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )

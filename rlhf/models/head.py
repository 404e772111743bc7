"""Head: whether a reward model's score head was trained, as far as its numbers show."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from rlhf.errors import ModelError
from rlhf.models.outline import stated
from rlhf.models.pretrained import load_scalar
from rlhf.models.scalar_model import ScalarModel

SMALL_BYTES = 64 * 2**20
"""Files up to this size are loaded to see two texts scored."""
TEXT_TOKENS = 8


def check_head(path: str) -> str:
    """Check the stored head of a reward model, and two scores where it is small.

    Args:
        path: Local folder, or a hub name, of which nothing is downloaded.

    Returns:
        The findings, in a few words.

    Raises:
        ModelError: when the head has not one output, is all one number, is not finite, or gives
            two different texts the same score.
    """
    folder = Path(path)
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        return f"{path}: looked at once it is loaded"
    head = _stored(files)
    if head is None:
        return f"{path}: a head of another name, looked at once it is loaded"
    _check_numbers(path, head)
    seen = f"{path}: head {list(head.shape)}, standard deviation {float(head.std()):.3g}"
    if sum(file.stat().st_size for file in files) > SMALL_BYTES:
        return f"{seen}; too large to score a text with here"
    return f"{seen}; {_scores(path)}"


def _stored(files: list[Path]) -> Tensor | None:
    for file in files:
        with safe_open(file, "pt") as opened:
            for name in opened.keys():  # noqa: SIM118 - no dictionary, it has no iterator
                if name.endswith("score.weight"):
                    return opened.get_tensor(name).float()
    return None


def _check_numbers(path: str, head: Tensor) -> None:
    if head.shape[0] != 1:
        raise ModelError(
            f"{path}: its score head has {head.shape[0]} outputs; a reward model has one "
            "(num_labels=1)"
        )
    if not bool(head.isfinite().all()):
        raise ModelError(f"{path}: its score head holds numbers that are not finite; train it anew")
    if float(head.max()) == float(head.min()):
        raise ModelError(
            f"{path}: its score head is {float(head[0, 0]):g} throughout, so it was never trained; "
            "train it with `rlhf reward_model`, or give a trained one"
        )


def _scores(path: str) -> str:
    size = stated(path, "vocab_size") or 2 * TEXT_TOKENS
    tokens_BT = torch.arange(2 * TEXT_TOKENS).reshape(2, TEXT_TOKENS) % size
    ends_B = torch.tensor([TEXT_TOKENS - 1, 2 * TEXT_TOKENS - 1])
    with torch.no_grad():
        first, second = ScalarModel(load_scalar(path, "trained"))(tokens_BT, ends_B).tolist()
    # Also refuses scores that are not finite.
    if not abs(first - second) > 0:
        raise ModelError(
            f"{path}: scores two different texts {first:g} and {second:g}, so its scores mean "
            "nothing; train it with `rlhf reward_model`, or give a trained one"
        )
    return f"two texts get {first:.3g} and {second:.3g}"

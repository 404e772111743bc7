"""Weights: what a model folder holds, read from its headers alone, before anything loads it."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from rlhf.errors import ModelError
from rlhf.models.pretrained import context_length


def check_weights(path: str, *, scored: bool) -> None:
    """Check that a folder holds a model with whole weights; a hub name is only asked its config.

    Args:
        path: Local folder or hub name.
        scored: Whether a trained scalar head must be among the weights.

    Raises:
        ModelError: saying what is missing or damaged.
    """
    context_length(path)
    folder = Path(path)
    if not folder.is_dir() or any(folder.glob("*.bin")):
        return
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{path}: holds a config.json but no *.safetensors; give a whole model")
    names = {name for file in files for name in _names(file)}
    if scored and not any("score" in name or "classifier" in name for name in names):
        raise ModelError(
            f"{path}: no trained score head (score.weight is missing from its weights), so its "
            "scores would be noise; train it with `rlhf reward_model`, or give a trained one"
        )


def _names(file: Path) -> list[str]:
    try:
        with safe_open(file, "pt") as opened:
            return list(opened.keys())
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{file} is damaged: {error}; fetch or train the model again") from error

"""Proof: a saved folder and the model it was saved from give the same numbers.

Axes: B rows, T tokens, N positions of all rows laid side by side.
What rounding may explain is measured where it is not next to nothing: how far the folder in bf16
is from itself in fp32, or in fp32 from itself in fp64. Layers that are run over and over (HRM) make
the last digit of a merged weight a difference of 1e-4.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from rlhf.errors import TrainingError
from rlhf.models.families import num_logits
from rlhf.models.language_model import LanguageModel
from rlhf.models.pretrained import load_causal_lm, load_scalar
from rlhf.models.scalar_model import ScalarModel

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

TEXTS = (
    "The film was good, and I would see it again tomorrow with my friends. What did you think?",
    "Question: what is 12 + 30? Answer: it is 42, as far as I know; please ask somebody else.",
)
TOKENS = 16
"""Most tokens of each text."""
TARGETS = 4
"""Tokens whose log-probability is asked at each position."""
EXACT = 1e-5
"""Largest difference in fp32, over the largest number there is (1 at least)."""
ROUNDING, SHARE = 4.0, 0.02
"""How often a folder's own rounding error (root mean square), and the share of the numbers' spread
that is allowed at least in bf16, at most in fp32."""


class Proof:
    """A few tokens of real text, and a model's numbers on them."""

    def __init__(
        self, model: LanguageModel | ScalarModel, tokenizer: PreTrainedTokenizerBase
    ) -> None:
        """Encode the texts, the same for every model of this one's kind."""
        self._kind: type[LanguageModel | ScalarModel] = type(model)
        config = model.network.config.get_text_config()
        tokens_BT = _encoded(tokenizer, config)
        self._inputs: tuple[Any, ...] = (tokens_BT, torch.arange(tokens_BT.numel()))
        if isinstance(model, LanguageModel):
            self._inputs = (*_targets(tokens_BT, num_logits(config)), 1.0)

    def ask(self, model: Callable[..., Any], device: str = "cpu") -> Tensor:
        """Return a model's numbers, float64, on the CPU: log-probabilities, or scalars.

        Args:
            model: A LanguageModel, a ScalarModel, or an engine of one.
            device: The device it is on.
        """
        inputs = [x.to(device) if isinstance(x, Tensor) else x for x in self._inputs]
        with torch.no_grad():
            answer = model(*inputs)
        numbers = torch.cat(answer) if isinstance(answer, tuple) else answer
        return numbers.double().cpu()

    def ask_network(self, network: PreTrainedModel) -> Tensor:
        """Return the numbers of a network on the CPU that is in no engine."""
        return self.ask(self._kind(network.eval()))

    def check(self, folder: Path, live: Tensor, *, rounded: bool) -> None:
        """Load the saved folder, and compare.

        Args:
            folder: Folder of the saved model.
            live: The result of `ask` for the model it was saved from.
            rounded: Whether that model computes in bf16.

        Raises:
            TrainingError: when the two are different models.
        """
        written = self.ask_network(self._load(folder, "fp32"))
        apart, allowed = _apart(live, written), EXACT * max(1.0, float(live.abs().max()))
        if rounded or not apart <= allowed:
            own, spread = self._rounding(folder, written, rounded), _rms(written - written.mean())
            if own is not None:
                within = max if rounded else min
                apart, allowed = _rms(live - written), within(ROUNDING * own, SHARE * spread)
        if not apart <= allowed:  # also refuses what is no number
            raise TrainingError(
                f"{folder}: the written folder is not the model that was trained: their numbers "
                f"differ by {apart:.3g} on the same tokens (rule: at most {allowed:.3g}); it is "
                "not published; please report the model's family, as some of its tensors are lost"
            )

    def _rounding(self, folder: Path, written: Tensor, rounded: bool) -> float | None:  # noqa: FBT001
        """Return how far the folder is from itself in bf16, or in fp64 where that can be had."""
        if rounded:
            return _rms(self.ask_network(self._load(folder, "bf16")) - written)
        try:
            return _rms(self.ask_network(self._load(folder, "fp32").double()) - written)
        except RuntimeError:  # a kernel of its family, such as that of experts, has no fp64
            return None

    def _load(self, folder: Path, precision: str) -> PreTrainedModel:
        if self._kind is LanguageModel:
            return load_causal_lm(str(folder), precision)
        return load_scalar(str(folder), "trained", precision)


def evaluating(module: nn.Module) -> Callable[[], None]:
    """Put a module and all below it into evaluation mode; return a function that undoes it."""
    training = [below for below in module.modules() if below.training]
    module.eval()

    def restore() -> None:
        for below in training:
            below.training = True

    return restore


def _encoded(tokenizer: PreTrainedTokenizerBase, config: Any) -> Tensor:
    rows = [list(tokenizer(text)["input_ids"]) for text in TEXTS]  # type: ignore[arg-type]
    context = config.to_dict().get("max_position_embeddings") or TOKENS
    width = min(TOKENS, context, *(len(row) for row in rows))
    return torch.tensor([row[:width] for row in rows]) % config.vocab_size


def _targets(tokens_BT: Tensor, vocab_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return (tokens_BT, positions_N, targets_N): a few targets at each position."""
    positions_N = torch.arange(tokens_BT.numel()).repeat_interleave(TARGETS)
    steps_N = torch.arange(TARGETS).repeat(tokens_BT.numel()) * (vocab_size // TARGETS)
    targets_N = (tokens_BT.flatten().roll(-1).repeat_interleave(TARGETS) + steps_N) % vocab_size
    return tokens_BT, positions_N, targets_N


def _apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


def _rms(numbers: Tensor) -> float:
    return float(numbers.square().mean().sqrt())

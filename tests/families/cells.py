"""Cells: what one family does in every stage, against plain transformers on rows read alone.

Axes: B rows, R response tokens, T tokens, V vocabulary.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from rlhf.data.tokenizer import train_tokenizer
from rlhf.engine.world import World
from rlhf.errors import RLHFError
from rlhf.flow.rollout import Experience, Rollout, joined
from rlhf.flow.tensors import length_mask
from rlhf.flow.text import Demonstrations, PromptBatch, Rankings
from tests.families import tiny
from tests.models import experiment
from tests.specs import assigned, logprobs

CLOSE, CLOSE_AFTER_SAVING = 2e-4, 1e-5
"""Nats (or units of a score) that fp32 may be apart; logits of a written folder."""
MOST_SAMPLED = 0.02
"""Nats that a single drawn token may be apart: cached states of some families round more."""
LORA = {"method": "lora", "rank": 4, "alpha": 8}
TEXTS = ["the film was good", "a bad film about the world", "what a good world this is"] * 3
NUM_TOKENS = 280
"""Of the tokenizer: fewer than the model has rows."""


def tokenizer() -> PreTrainedTokenizerFast:
    """Train a small tokenizer of bytes and a few merges."""
    return train_tokenizer(TEXTS, NUM_TOKENS)


class Wrong(AssertionError):
    """What came out is not what transformers says."""


def near(found: Tensor, wanted: Tensor, most: float, what: str) -> None:
    """Raise Wrong where two tensors are farther apart than `most`, or not finite."""
    apart = float((found.double() - wanted.double()).abs().max())
    if not apart <= most:
        raise Wrong(f"{what}: off by {apart:.2g}")


def rows(num_rows: int, lengths: list[int], seed: int) -> tuple[Tensor, Tensor]:
    """Return (tokens_BT right-padded, lengths_B), of ids the tokenizer has."""
    draw = torch.Generator().manual_seed(seed)
    lengths_B = torch.tensor((lengths * num_rows)[:num_rows])
    tokens_BT = torch.randint(30, NUM_TOKENS - 20, (num_rows, int(lengths_B.max())), generator=draw)
    return tokens_BT * length_mask(lengths_B, tokens_BT.shape[1]), lengths_B


class Family:
    """One family: its tiny folder, its oracle, and the cells of its row."""

    def __init__(self, name: str, home: Path) -> None:
        self.name, self.home = name, home
        self.path = str(home / "model")

    @cached_property
    def oracle(self) -> PreTrainedModel:
        """The model itself, as transformers runs it."""
        return tiny.causal(self.name)

    def write(self) -> None:
        """Write the folder: the config alone, where that is refused already."""
        from rlhf.models.outline import language_config_of

        config = tiny.config_of(self.name)
        config.architectures = [tiny.NAMES[self.name]]
        config.save_pretrained(self.path)
        language_config_of(self.path)
        tiny.write(self.oracle, config, self.path)
        tokenizer().save_pretrained(self.path)

    def role(self, kind: str, path: str | None = None, head: str = "trained", **sections):
        """Build a role as a run would."""
        sections = {"generation": {"max_new_tokens": 10, "batch_size": 3}, **sections}
        sections["engine"] = {"precision": "fp32", **sections.get("engine", {})}
        fields = {"head": head} if kind in ("reward_trainer", "value") else {}
        return assigned(kind, path or self.path, experiment(**sections), **fields)(World())

    @torch.no_grad()
    def response_logprobs(self, rollout: Rollout) -> Tensor:
        """Read every row alone, without padding or cache; at temperature 0.8."""
        found = torch.zeros(rollout.response_mask_BR.shape)
        for row, tokens_T in enumerate(rollout.tokens_BT):
            start, end = int(rollout.prompt_lengths_B[row]), int(rollout.lengths_B[row])
            ids_T = tokens_T[:end]
            logits_TV = self.oracle(input_ids=ids_T[None], use_cache=False).logits[0] / 0.8
            chosen_T1 = logits_TV[:-1].log_softmax(-1).gather(1, ids_T[1:, None])
            found[row, : end - start] = chosen_T1[start - 1 :, 0]
        return found

    def texts(self) -> Demonstrations:
        tokens_BT, lengths_B = rows(5, [40, 7, 23, 12, 3], seed=3)
        mask_BT = length_mask(lengths_B, tokens_BT.shape[1])
        mask_BT[:, 0] = False
        return Demonstrations(tokens_BT=tokens_BT, lengths_B=lengths_B, loss_mask_BT=mask_BT)

    def prompts(self) -> PromptBatch:
        tokens_BP, lengths_B = rows(8, [3, 20, 9, 5, 20, 12, 7], seed=4)
        return PromptBatch(
            tokens_BP=tokens_BP,
            lengths_B=lengths_B,
            sample_B=torch.arange(8),
            prompts=("p",) * 8,
            columns=({},) * 8,
        )

    # The cells.

    def sft(self) -> str:
        """One update: the loss and the gradient's norm are those of plain cross entropy."""
        texts = self.texts()
        wanted, norm = self._likelihood(texts)
        found = self.role("sft_policy").imitate(texts)
        near(torch.tensor(found["loss/train"]), wanted, CLOSE, "SFT loss")
        near(torch.tensor(found["grad_norm"]) / norm, torch.tensor(1.0), 1e-3, "SFT gradient")
        return ""

    def _likelihood(self, texts: Demonstrations) -> tuple[Tensor, Tensor]:
        self.oracle.zero_grad()
        total = torch.zeros(())
        count = int(texts.loss_mask_BT[:, 1:].sum())
        for tokens_T, length in zip(texts.tokens_BT, texts.lengths_B.tolist(), strict=True):
            ids_T = tokens_T[:length]
            logits_TV = self.oracle(input_ids=ids_T[None], use_cache=False).logits[0]
            loss = cross_entropy(logits_TV[:-1].float(), ids_T[1:], reduction="sum") / count
            loss.backward()
            total += loss.detach()
        grads = [p.grad for p in self.oracle.parameters() if p.grad is not None]
        return total, torch.stack([grad.norm() for grad in grads]).norm()

    def recomputing(self) -> str:
        """With gradient checkpointing: the same loss and gradient."""
        texts = self.texts()
        engine = {"backend": "torch", "gradient_checkpointing": True}
        wanted, norm = self._likelihood(texts)
        found = self.role("sft_policy", engine=engine).imitate(texts)
        near(torch.tensor(found["loss/train"]), wanted, CLOSE, "SFT loss, recomputed")
        near(
            torch.tensor(found["grad_norm"]) / norm, torch.tensor(1.0), 1e-3, "gradient, recomputed"
        )
        return ""

    def reward(self) -> str:
        """One update, then a folder that transformers scores alike."""
        tokens_NT, lengths_N = rows(6, [30, 6, 18, 11, 4, 25], seed=5)
        rankings = Rankings(
            tokens_BKT=tokens_NT.reshape(3, 2, -1),
            lengths_BK=lengths_N.reshape(3, 2),
            margin_B=torch.zeros(3),
        )
        apprentice = self.role("reward_trainer", head="new")
        apprentice.rank(rankings)
        folder = self.home / "reward"
        apprentice.save(folder)
        scores_BK = apprentice.answer_scores(rankings)
        read = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        with torch.no_grad():
            texts = [row[None, :n] for row, n in zip(tokens_NT, lengths_N.tolist(), strict=True)]
            wanted_N = torch.cat([read(input_ids=ids).logits[0] for ids in texts])
        near(scores_BK.flatten(), wanted_N, CLOSE, "scores")
        if float(scores_BK.std()) < 1e-4:
            raise Wrong("all scores are one")
        return ""

    def ppo(self, **sections) -> str:
        """One step: log-probabilities, first ratio, and a value model's update."""
        policy = self.role("policy", **sections)
        written = self._rollout()
        old_BR = logprobs(policy, written, 0)
        near(old_BR, self.response_logprobs(written), CLOSE, "log-probabilities")
        value = self.role("value", head="zero", **sections)
        values_BR = value.values(written)
        draw = torch.Generator().manual_seed(2)
        mask_BR = written.response_mask_BR
        experience = Experience(
            tokens_BT=written.tokens_BT,
            prompt_lengths_B=written.prompt_lengths_B,
            response_lengths_B=written.response_lengths_B,
            old_logprobs_BR=old_BR,
            old_values_BR=values_BR,
            advantages_BR=torch.randn(mask_BR.shape, generator=draw) * mask_BR,
            returns_BR=torch.randn(mask_BR.shape, generator=draw) * mask_BR,
        )
        metrics = policy.improve(experience, 0)
        near(
            torch.tensor(metrics["policy/ratio_first_max_error"]), torch.tensor(0.0), CLOSE, "ratio"
        )
        value.improve(experience, 0)
        if torch.equal(value.values(written), values_BR):
            raise Wrong("the value model does not learn")
        if float((logprobs(policy, written, 0) - old_BR).abs().max()) < 1e-5:
            raise Wrong("the policy does not learn")
        self._export(policy, sections)
        return ""

    def lora(self) -> str:
        """The same with adapters."""
        return self.ppo(peft=LORA)

    def _export(self, policy, sections) -> None:
        """The written folder and the live model give the same logits."""
        folder = self.home / ("lora" if sections else "policy")
        policy.save(folder)
        read = AutoModelForCausalLM.from_pretrained(folder).eval()
        ids_T = self.texts().tokens_BT[:1]
        live = policy.engine.module
        with torch.no_grad():
            found = live.logits(ids_T, torch.arange(ids_T.shape[1]), use_cache=False)
            wanted = read(input_ids=ids_T, use_cache=False).logits[0]
        near(
            wanted.log_softmax(-1),
            found.log_softmax(-1),
            CLOSE_AFTER_SAVING * (100 if sections else 10),
            "written folder",
        )
        if sections:
            return
        absent = set(self.oracle.state_dict()) - set(read.state_dict())
        if absent and not tiny.reads_more(self.name):
            raise Wrong(f"the written folder lacks {sorted(absent)[0]}")

    def _rollout(self) -> Rollout:
        tokens_BT, lengths_B = rows(8, [30, 12, 41, 9, 22, 17, 5, 36], seed=6)
        prompt_lengths_B = lengths_B // 2
        response_lengths_B = lengths_B - prompt_lengths_B
        return Rollout(
            tokens_BT=tokens_BT,
            prompt_lengths_B=prompt_lengths_B,
            response_lengths_B=response_lengths_B,
            finished_B=torch.arange(8) % 2 == 0,
            sampling_logprobs_BR=torch.zeros(8, int(response_lengths_B.max())),
            prompts=("p",) * 8,
            columns=({},) * 8,
        )

    def auto(self) -> str:
        """The sampler that a run takes."""
        return self._samples("auto")

    def padded(self) -> str:
        """The sampler of generation.backend=padded."""
        return self._samples("padded")

    def _samples(self, backend: str) -> str:
        generation = {"max_new_tokens": 12, "batch_size": 3, "temperature": 0.8, "backend": backend}
        writer = self.role("sampler", generation=generation)
        name = writer.chosen_backend(self.prompts()).partition(",")[0]
        written = joined(list(writer.generate(self.prompts(), 0)))
        apart_BR = (written.sampling_logprobs_BR - self.response_logprobs(written)).abs()
        mean = float(apart_BR.sum() / written.response_lengths_B.sum())
        if not (mean <= CLOSE and float(apart_BR.max()) <= MOST_SAMPLED):
            raise Wrong(
                f"{name} sampler: off by {mean:.2g} on average, {apart_BR.max():.2g} at most"
            )
        if int(written.tokens_BT.max()) >= len(tokenizer()):
            raise Wrong(f"{name} sampler draws ids that the tokenizer lacks")
        return name


CELLS: dict[str, Callable[[Family], str]] = {
    "SFT": Family.sft,
    "recomputed": Family.recomputing,
    "reward model": Family.reward,
    "PPO, export": Family.ppo,
    "LoRA": Family.lora,
    "sampler": Family.auto,
    "padded sampler": Family.padded,
}


def row(name: str) -> dict[str, str]:
    """Run every cell of a family: ok (or what it says), `refused: ...`, `wrong: ...`, `stops: ...`.

    A cell says whatever stopped it, so that one family never ends the run of all.
    """
    with tempfile.TemporaryDirectory() as home:
        family = Family(name, Path(home))
        try:
            family.write()
        except RLHFError as error:
            return {"all": f"refused: {_line(error, family)}"}
        except Exception as error:  # noqa: BLE001
            return {"all": f"stops: {type(error).__name__} {_line(error, family)}"}
        return {cell: _cell(run, family) for cell, run in CELLS.items()}


def _cell(run: Callable[[Family], str], family: Family) -> str:
    try:
        return run(family) or "ok"
    except RLHFError as error:
        return f"refused: {_line(error, family)}"
    except Wrong as error:
        return f"wrong: {error}"
    except Exception as error:  # noqa: BLE001
        return f"stops: {type(error).__name__} {_line(error, family)}"


def _line(error: Exception, family: Family) -> str:
    text = str(error).strip().partition("\n")[0]
    return text.removeprefix(f"{family.path}: ").replace(str(family.home), "FOLDER")

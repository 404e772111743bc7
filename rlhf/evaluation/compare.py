"""Compare two policies on the same prompts with the same draws, with a confidence interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rlhf.algo.diagnostics import bootstrap_mean_interval, distinct_n, wilson_interval
from rlhf.data.tokenizer import TextTokenizer
from rlhf.flow.rollout import joined
from rlhf.flow.text import PromptBatch
from rlhf.observe.samples import Sample
from rlhf.roles.ports import SamplerPort
from rlhf.stages.samples import SAMPLE_STEP, as_samples

SHOWN_PAIRS = 24
"""Prompts whose two answers are kept for the report."""
TIE = 0.5
"""What a pair counts that the judge scores alike."""


class Judge(Protocol):
    """Scores answers; higher is better."""

    @property
    def agreement(self) -> Mapping[str, float]:
        """How well it agrees with people, by name; empty when that is not known."""
        ...

    def score(
        self,
        prompts: Sequence[object],
        completions: Sequence[str],
        columns: Sequence[Mapping[str, object]],
    ) -> list[float]:
        """Return one number a response."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Answers:
    """One policy's answers with the judge's scores."""

    samples: list[Sample]
    token_lists: list[list[int]]
    scores: list[float]

    def summary(self) -> dict[str, float]:
        """Return mean score and length, share of distinct word pairs, and EOS rate."""
        count = len(self.samples)
        return {
            "mean_score": sum(self.scores) / count,
            "mean_length": sum(sample.length for sample in self.samples) / count,
            "distinct_2": distinct_n(self.token_lists, 2),
            "eos_rate": sum(sample.finished for sample in self.samples) / count,
        }


def answer(
    sampler: SamplerPort, prompts: PromptBatch, judge: Judge, tokenizer: TextTokenizer
) -> Answers:
    """Return a policy's answers with the judge's scores."""
    rollout = joined(sampler.generate(prompts, SAMPLE_STEP))
    samples = as_samples(rollout, tokenizer)
    responses = [sample.response for sample in samples]
    scores = judge.score(prompts.prompts, responses, prompts.columns)
    return Answers(samples=samples, token_lists=rollout.response_tokens(), scores=scores)


def preference(candidate: float, baseline: float) -> float:
    """Return 1 when the judge prefers the candidate, 0 when the baseline, 1/2 for a tie.

    A pair is put to the judge in both orders and the two verdicts are averaged, so that a
    preference for the first place could not decide.
    """
    first = 1.0 if candidate > baseline else 0.5 if candidate == baseline else 0.0
    second = 1.0 - (1.0 if baseline > candidate else 0.5 if baseline == candidate else 0.0)
    return (first + second) / 2


def compare(
    candidate: Answers, baseline: Answers, name: str, judge: Judge, seed: int
) -> dict[str, object]:
    """Return the figures of RUN/evaluation.json: win rate with a 95 % interval.

    The interval is over prompts, not answers: answers to one prompt are alike. It is None where
    every pair is a tie: nothing is decided then.
    """
    wins = [preference(c, b) for c, b in zip(candidate.scores, baseline.scores, strict=True)]
    by_prompt = _by_prompt(candidate.samples, wins)
    return {
        "judge": name,
        "judge_agreement": dict(judge.agreement) or None,
        "num_prompts": len(by_prompt),
        "num_answers": len(wins),
        "win_rate": sum(wins) / len(wins),
        "interval": None if set(wins) == {TIE} else list(_interval(by_prompt, seed)),
        "ties": sum(win == TIE for win in wins) / len(wins),
        "candidate": candidate.summary(),
        "baseline": baseline.summary(),
        "pairs": _pairs(candidate, baseline),
    }


def _interval(by_prompt: Sequence[float], seed: int) -> tuple[float, float]:
    """Return the bootstrap's interval; Wilson's where all prompts agree: the other has no width."""
    if len(set(by_prompt)) == 1:
        return wilson_interval(sum(by_prompt), len(by_prompt))
    return bootstrap_mean_interval(by_prompt, seed)


def _by_prompt(samples: Sequence[Sample], wins: Sequence[float]) -> list[float]:
    """Return the mean win of each prompt; every prompt has as many answers."""
    found: dict[str, list[float]] = {}
    for sample, win in zip(samples, wins, strict=True):
        found.setdefault(str(sample.prompt), []).append(win)
    return [sum(own) / len(own) for own in found.values()]


def _pairs(candidate: Answers, baseline: Answers) -> Sequence[dict[str, object]]:
    rows = zip(candidate.samples, baseline.samples, candidate.scores, baseline.scores, strict=True)
    return [
        {
            "prompt": new.prompt,
            "baseline": old.response,
            "candidate": new.response,
            "baseline_score": old_score,
            "candidate_score": new_score,
        }
        for new, old, new_score, old_score in list(rows)[:SHOWN_PAIRS]
    ]

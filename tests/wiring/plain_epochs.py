"""SFT, the reward model, its report and the evaluation once more, row by row.

As plain_ppo.py, from the run's folder and the data files, and without an import of the package.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
)

from tests.wiring.plain_ppo import Learner, function_of, seed_of, side_of, streamed, uniform, whole

Row = dict[str, Any]


def rows_of(home: Path, config: Row, kind: str) -> dict[str, list[Row]]:
    """Return the rows of each side, in the order of the file."""
    found: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    for line in (home / config["data"][kind]).open():
        row = json.loads(line)
        found[side_of(row["prompt"], config["data"])].append(row)
    own = config["data"].get(f"test_{kind}")
    return {**found, "test": lines(home / own)} if own else found


def lines(path: Path) -> list[Row]:
    """Return the rows of a JSON Lines file."""
    return [json.loads(line) for line in path.open()]


class Stage(ABC):
    """One model that learns from rows, a batch a step; the best of them is kept."""

    def __init__(self, run: Path, home: Path, name: str, start: Path) -> None:
        self.config = json.loads((run / "manifest.json").read_text())["config"]
        self.how, self.name, self.seed = self.config[name], name, self.config["seed"]
        self.tokenizer = AutoTokenizer.from_pretrained(start)
        kind = "demonstrations" if name == "sft" else "preferences"
        self.sides = rows_of(home, self.config, kind)
        self.network = self.load(start)
        batches = -(-len(self.sides["train"]) // self.how["batch_size"])
        self.total = math.ceil(self.how["num_epochs"] * batches)
        self.learner = Learner(self.network, self.how["optimizer"], self.total)
        self.figures: list[dict[str, float]] = []
        self.best: tuple[float, dict[str, Tensor]] = (math.inf, {})

    @abstractmethod
    def load(self, start: Path) -> nn.Module:
        """Return the network at its start."""

    @abstractmethod
    def learn(self, rows: list[Row]) -> dict[str, float]:
        """Add the gradient of a batch, and report on it."""

    @abstractmethod
    def validate(self, rows: list[Row]) -> dict[str, float]:
        """Report on rows held out."""

    def run(self) -> dict[str, Tensor]:
        """Take every step; return the best weights."""
        waited = 0
        for step in range(self.total):
            size = self.how["batch_size"]
            rows = streamed(self.sides["train"], size, self.seed, self.name, step)
            figures = self.learn(rows)
            figures["grad_norm"], figures["lr"] = self.learner.update()
            if not (step + 1) % self.how["validate_every"] or step + 1 == self.total:
                with torch.no_grad():
                    figures |= self.validate(self.sides["validation"])
                better = figures["loss/validation"] < self.best[0]
                waited = 0 if better else waited + 1
                if better or self.how.get("keep") == "last":
                    self.best = figures["loss/validation"], whole(self.network)
            self.figures.append(figures)
            if waited >= self.how["patience"] and self.how.get("keep") != "last":
                break
        return self.best[1]


class PlainSFT(Stage):
    """Next-token loss on the completion and its end."""

    def load(self, start: Path) -> nn.Module:
        """Return a language model."""
        return AutoModelForCausalLM.from_pretrained(start).eval()

    def loss(self, row: Row) -> tuple[Tensor, int, int]:
        """Return the summed loss of a row, the tokens it is over, and all its tokens."""
        prompt = self.tokenizer(row["prompt"])["input_ids"]
        answer = self.tokenizer(row["completion"], add_special_tokens=False)["input_ids"]
        ids = torch.tensor([*prompt, *answer, self.tokenizer.eos_token_id])
        logs = self.network(ids[None]).logits[0, :-1].log_softmax(-1)
        losses = -logs.gather(-1, ids[1:, None])[len(prompt) - 1 :]
        return losses.sum(), len(losses), len(ids)

    def learn(self, rows: list[Row]) -> dict[str, float]:
        """Mean over the tokens of all rows."""
        found = [self.loss(row) for row in rows]
        count = sum(n for _, n, _ in found)
        loss = sum(part for part, _, _ in found) / count
        loss.backward()
        return {"loss/train": loss.item(), "num_tokens": float(sum(n for _, _, n in found))}

    def validate(self, rows: list[Row]) -> dict[str, float]:
        """Report the same mean."""
        found = [self.loss(row) for row in rows]
        total = sum(float(part) for part, _, _ in found)
        return {"loss/validation": total / sum(n for _, n, _ in found)}


class PlainRewardModel(Stage):
    """Bradley-Terry on pairs, with margins and a centre."""

    def load(self, start: Path) -> nn.Module:
        """Return a classifier with a new head (Stiennon et al. 2020)."""
        kind = AutoModelForSequenceClassification
        network = kind.from_pretrained(start, num_labels=1).eval()
        width = network.score.weight.shape[1]
        draw = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            noise = torch.randn(network.score.weight.shape, generator=draw)
            network.score.weight.copy_(noise / math.sqrt(width + 1))
        return network

    def ids(self, row: Row, name: str) -> list[int]:
        """Return prompt, answer and end."""
        return [
            *self.tokenizer(row["prompt"] + row[name])["input_ids"],
            self.tokenizer.eos_token_id,
        ]

    def pair(self, row: Row) -> tuple[Tensor, Tensor]:
        """Return the raw scores of the better and of the worse answer."""
        better, worse = (
            self.network.score(
                self.network.base_model(torch.tensor([self.ids(row, name)]))[0][0, -1]
            )[0]
            for name in ("chosen", "rejected")
        )
        return better, worse

    def losses(self, rows: list[Row], centre: float) -> tuple[Tensor, list[float]]:
        """Return the mean loss, and the gap of every row."""
        total, gaps = torch.zeros(()), list[float]()
        for row in rows:
            better, worse = self.pair(row)
            wanted = self.how["margin_coef"] * row.get("margin", 0.0)
            total = total - nn.functional.logsigmoid(better - worse - wanted)
            total = total + centre * (better + worse).square()
            gaps.append(float((better - worse).detach()))
        return total / len(rows), gaps

    def learn(self, rows: list[Row]) -> dict[str, float]:
        """Take the loss with its centre."""
        loss, gaps = self.losses(rows, self.how["center_coef"])
        loss.backward()
        lengths = [len(self.ids(row, name)) for row in rows for name in ("chosen", "rejected")]
        return {
            "loss/train": loss.item(),
            "accuracy/train": fmean(map(order, gaps)),
            "margin": fmean(gaps),
            "num_tokens": float(sum(lengths)),
        }

    def validate(self, rows: list[Row]) -> dict[str, float]:
        """Take the loss without it."""
        loss, gaps = self.losses(rows, 0.0)
        return {"loss/validation": loss.item(), "accuracy/validation": fmean(map(order, gaps))}

    @torch.no_grad()
    def finish(self) -> tuple[float, float, dict[str, Any]]:
        """Return mean and deviation of training scores, and the report on rows never seen."""
        self.network.load_state_dict(self.best[1])
        rows = self.sides["train"][:512]
        scores = [float(score) for row in rows for score in self.pair(row)]
        unseen = self.sides["test"] or self.sides["validation"]
        gaps = [float(better - worse) for better, worse in map(self.pair, unseen)]
        lengths = [float(len(self.ids(r, "chosen")) - len(self.ids(r, "rejected"))) for r in unseen]
        margins = [row.get("margin", 0.0) for row in unseen]
        return fmean(scores), pstdev(scores), report(gaps, lengths, margins)


def order(gap: float) -> float:
    """Return 1 where the better answer scores higher, 1/2 for a tie."""
    return 1.0 if gap > 0 else 0.5 if gap == 0 else 0.0


def wilson(share: float, n: int) -> list[float]:
    """Return the 95 % interval of a share (Wilson 1927)."""
    z = 1.96
    middle, scale = share + z * z / 2 / n, 1 + z * z / n
    half = z * math.sqrt(share * (1 - share) / n + z * z / 4 / n / n)
    return [max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)]


def report(gaps: list[float], lengths: list[float], margins: list[float]) -> dict[str, Any]:
    """Return the figures of reward_model.json for rows of two answers."""
    right = [order(gap) for gap in gaps]
    longer = fmean(map(order, lengths))
    sure = [1 / (1 + math.exp(-abs(gap))) for gap in gaps]
    bins = []
    for edge in range(10):
        inside = [i for i, p in enumerate(sure) if min(9, int(p * 10)) == edge]
        if inside:
            bins.append(
                {
                    "confidence": fmean(sure[i] for i in inside),
                    "accuracy": fmean(right[i] for i in inside),
                    "count": len(inside),
                }
            )
    error = sum(b["count"] * abs(b["confidence"] - b["accuracy"]) for b in bins) / len(gaps)
    return {
        **accuracy(right),
        "pairs": len(gaps),
        "length_baseline_accuracy": max(longer, 1 - longer),
        "length_baseline_prefers": "longer" if longer >= 0.5 else "shorter",
        "calibration_error": error,
        "bins": bins,
        "by_margin": grouped(margins, right),
        "by_ranks_apart": [],
        "by_length_difference": grouped(lengths, right),
        "by_score_gap": grouped([abs(gap) for gap in gaps], right),
    }


def accuracy(right: list[float]) -> dict[str, Any]:
    """Return the share of pairs in order, with its interval; without ties a pair is a row."""
    return {"accuracy": fmean(right), "interval": wilson(fmean(right), len(right))}


def grouped(keys: Sequence[float], right: Sequence[float]) -> list[dict[str, Any]]:
    """Return the accuracy by quarter of a key, or by each of up to four values."""
    ranked, values = sorted(keys), sorted(set(keys))
    if len(values) < 2:
        return []
    starts = values
    if len(values) > 4:
        starts = sorted({ranked[len(keys) * quarter // 4] for quarter in range(4)})
    found = []
    for start, end in zip(starts, [*starts[1:], math.inf], strict=True):
        inside = [i for i, key in enumerate(keys) if start <= key < end]
        low, high = (f"{pick(keys[i] for i in inside):.3g}" for pick in (min, max))
        label = low if low == high else f"{low} to {high}"
        own = [right[i] for i in inside]
        found.append({"label": label, **accuracy(own), "count": len(own)})
    return found


@torch.no_grad()
def answers(folder: Path, config: Row, asked: list[Row]) -> list[Row]:
    """Let a model folder answer prompts with the draws of samples and evaluation."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    network = AutoModelForCausalLM.from_pretrained(folder).eval()
    ends = GenerationConfig.from_pretrained(folder).eos_token_id
    stops = {tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
    generation, seed = config["generation"], seed_of(config["seed"], "generate", -1)
    found = []
    for sample, row in enumerate(asked):
        prompt, ids = tokenizer(row["prompt"])["input_ids"], list[int]()
        while len(ids) < generation["max_new_tokens"] and not (ids and ids[-1] in stops):
            logits = network(torch.tensor([prompt + ids])).logits[0, -1].double()
            sums = (logits / generation["temperature"]).softmax(-1).cumsum(-1)
            ids.append(int((sums > uniform(seed, sample, len(ids))).nonzero()[0]))
        text = tokenizer.decode(ids, skip_special_tokens=True)
        found.append(
            {"row": row, "text": text, "ids": ids, "prompt": prompt, "finished": ids[-1] in stops}
        )
    return found


def asked_of(rows: dict[str, list[Row]], number: int, each: int = 1) -> list[Row]:
    """Return the fixed prompts: of the test side, no prompt twice, each several times."""
    unseen = rows["test"] or rows["validation"] or rows["train"]
    first = {row["prompt"]: row for row in reversed(unseen)}
    return [row for row in reversed(first.values()) for _ in range(each)][: number * each]


def judged(home: Path, spec: str, found: list[Row]) -> list[float]:
    """Score answers by the judge, a Python function that sees them stripped."""
    file, name = spec.rsplit(":", 1)
    rows = [answer["row"] for answer in found]
    columns = {key: [row[key] for row in rows] for key in rows[0] if key != "prompt"}
    texts = [answer["text"].strip() for answer in found]
    return function_of(home / file, name)([row["prompt"] for row in rows], texts, columns)


def summary(found: list[Row], scores: list[float]) -> dict[str, float]:
    """Return one policy's half of evaluation.json."""
    pairs = [p for a in found for p in zip(a["ids"], a["ids"][1:], strict=False)]
    return {
        "mean_score": fmean(scores),
        "mean_length": fmean(float(len(a["ids"])) for a in found),
        "distinct_2": len(set(pairs)) / len(pairs) if pairs else 0.0,
        "eos_rate": fmean(float(a["finished"]) for a in found),
    }


def bootstrap(values: list[float], seed: int) -> list[float]:
    """Return the 95 % percentile interval of a mean over 2,000 resamples."""
    n = len(values)
    means = [
        fmean(values[int(uniform(seed, resample, column) * n)] for column in range(n))
        for resample in range(2000)
    ]
    edges = torch.tensor([0.025, 0.975], dtype=torch.float64)
    return torch.tensor(means, dtype=torch.float64).quantile(edges).tolist()


def evaluation(home: Path, config: Row, folders: dict[str, Path]) -> dict[str, Any]:
    """Return evaluation.json: both policies, the same prompts, the same draws."""
    how = config["evaluation"]
    rows = rows_of(home, config, "prompts")
    asked = asked_of(rows, how["num_prompts"], how["samples_per_prompt"])
    found = {side: answers(folder, config, asked) for side, folder in folders.items()}
    scores = {side: judged(home, how["judge"], told) for side, told in found.items()}
    wins = [order(c - b) for c, b in zip(scores["candidate"], scores["baseline"], strict=True)]
    each: Callable[[int], list[float]] = lambda at: wins[at : at + how["samples_per_prompt"]]  # noqa: E731
    by_prompt = [fmean(each(at)) for at in range(0, len(wins), how["samples_per_prompt"])]
    return {
        "judge": how["judge"],
        "judge_agreement": None,
        "num_prompts": len(by_prompt),
        "num_answers": len(wins),
        "win_rate": fmean(wins),
        "interval": bootstrap(by_prompt, config["seed"]),
        "ties": fmean(float(win == 0.5) for win in wins),
        **{side: summary(found[side], scores[side]) for side in ("candidate", "baseline")},
        "pairs": [
            {
                "prompt": row["prompt"],
                "baseline": found["baseline"][at]["text"].strip(),
                "candidate": found["candidate"][at]["text"].strip(),
                "baseline_score": scores["baseline"][at],
                "candidate_score": scores["candidate"][at],
            }
            for at, row in enumerate(asked[:24])
        ],
    }

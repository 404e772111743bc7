"""PPO once more, row by row, without padding: a plain program that reads a run's folder and data.

It imports nothing of the package. What it knows is what docs/walkthrough.md, docs/metrics.md and
docs/decisions/0007 say; it is slow, and short enough to be read against them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
)

Row = dict[str, Any]
"""One response: prompt, columns, ids, and by and by everything that is known of it."""
WORD = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15


@dataclass
class Replayed:
    """What a run should have come to."""

    figures: list[dict[str, float]]
    """Of each step, by the names of docs/metrics.md."""
    policy: dict[str, Tensor]
    value: dict[str, Tensor]
    rows: list[list[Row]]
    """The responses of each step."""


def seed_of(*key: int | str) -> int:
    """Hash a key: each part's kind, its length in bytes and its text."""
    told = "".join(f"{'s' if isinstance(p, str) else 'i'}{len(str(p))}:{p}" for p in key)
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big") >> 1


def uniform(seed: int, sample: int, position: int) -> float:
    """SplitMix64 over (seed, sample, position): a number in [0, 1)."""

    def mix(x: int) -> int:
        x = ((x ^ x >> 30) * 0xBF58476D1CE4E5B9) & WORD
        x = ((x ^ x >> 27) * 0x94D049BB133111EB) & WORD
        return x ^ x >> 31

    stream = mix((mix(seed) + sample * GOLDEN) & WORD)
    return (mix(stream ^ mix(((position + 1) * GOLDEN) & WORD)) >> 11) * 2.0**-53


def streamed(rows: list[Any], number: int, seed: int, name: str, step: int) -> list[Any]:
    """Give a step's window over endless epochs, each a permutation of its own."""
    found: list[Any] = []
    for at in range(step * number, (step + 1) * number):
        epoch, place = divmod(at, len(rows))
        digest = hashlib.sha256(f"{seed}/{name}/{epoch}".encode()).digest()
        draw = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        found.append(rows[int(torch.randperm(len(rows), generator=draw)[place])])
    return found


def side_of(key: str, data: Mapping[str, Any]) -> str:
    """Tell on which side of the split a prompt lies."""
    digest = hashlib.sha256(f"side\0{key}".encode()).digest()
    place = (int.from_bytes(digest[:8], "big") >> 11) / 2**53
    edge = data["test_fraction"]
    return (
        "test"
        if place < edge
        else "validation"
        if place < edge + data["validation_fraction"]
        else "train"
    )


def rate(update: int, how: Mapping[str, Any], total: int) -> float:
    """Learning rate of an update, from 0."""
    warm = how["warmup_steps"]
    if update < warm:
        return how["lr"] * (update + 1) / warm
    done = min(1.0, (update - warm) / max(1, total - warm))
    curve = {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}
    return how["lr"] * curve[how["schedule"]]


class Learner:
    """AdamW as Loshchilov & Hutter write it, after a clip of the global norm."""

    def __init__(self, network: nn.Module, how: Mapping[str, Any], total: int) -> None:
        self.how, self.total, self.updates = how, total, 0
        self.learned = [p for p in network.parameters() if p.requires_grad]
        self.first = [torch.zeros_like(p) for p in self.learned]
        self.second = [torch.zeros_like(p) for p in self.learned]

    @torch.no_grad()
    def update(self) -> tuple[float, float]:
        """Take an optimizer step on the gradients there are; give norm and rate."""
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.learned]
        norm = math.sqrt(sum(float(g.double().square().sum()) for g in grads))
        shrink, lr = (
            min(1.0, self.how["max_grad_norm"] / (norm + 1e-6)),
            rate(self.updates, self.how, self.total),
        )
        self.updates += 1
        one, two = self.how["betas"]
        for p, g, m, v in zip(self.learned, grads, self.first, self.second, strict=True):
            m.mul_(one).add_((1 - one) * g * shrink)
            v.mul_(two).add_((1 - two) * (g * shrink).square())
            root = (v / (1 - two**self.updates)).sqrt() + self.how["eps"]
            p.mul_(1 - lr * self.how["weight_decay"]).sub_(lr * m / (1 - one**self.updates) / root)
            p.grad = None
        return norm, lr


class Program:
    """Reads the settings, the models and the data of a run that has ended."""

    def __init__(self, run: Path, home: Path) -> None:
        self.home, self.config = home, json.loads((run / "manifest.json").read_text())["config"]
        config, start = self.config, home / self.config["policy"]["path"]
        self.ppo, self.seed, self.temperature = (
            config["ppo"],
            config["seed"],
            config["generation"]["temperature"],
        )
        self.tokenizer = AutoTokenizer.from_pretrained(start)
        stops = GenerationConfig.from_pretrained(start).eos_token_id
        self.stops = {self.tokenizer.eos_token_id, *(stops if isinstance(stops, list) else [stops])}
        rows = [json.loads(line) for line in (home / config["data"]["prompts"]).open()]
        self.prompts = [row for row in rows if side_of(row["prompt"], config["data"]) == "train"]
        self.policy = self._adapted(AutoModelForCausalLM.from_pretrained(start), "CAUSAL_LM")
        reference = config["reference"]["path"]
        self.reference = AutoModelForCausalLM.from_pretrained(
            home / reference if reference else start
        )
        self.sources = self._sources(config["reward"], config["reward_model"]["path"])
        models = [source["model"] for source in self.sources if "model" in source]
        value = config["value"]["path"] or (models[0] if models else None)
        scalar = self._scalar(value or config["policy"]["path"], zero=not value)
        self.moments = (
            getattr(scalar.config, "rlhf_score_mean", 0.0),
            getattr(scalar.config, "rlhf_score_std", 1.0),
        )
        self.value = self._adapted(scalar, "SEQ_CLS")
        number = self.ppo["rollout_batch_size"] * self.ppo["samples_per_prompt"]
        total = (
            self.ppo["num_steps"] * self.ppo["num_epochs"] * (number // self.ppo["minibatch_size"])
        )
        each = total // self.ppo["num_steps"]
        # PPO's warm-up counts turns of the loop.
        how = {
            role: {**of, "warmup_steps": of["warmup_steps"] * each}
            for role, of in ((r, config[r]["optimizer"]) for r in ("policy", "value"))
        }
        self.learners = {
            role: Learner(net, how[role], total)
            for role, net in (("policy", self.policy), ("value", self.value))
        }
        self.kl_coef, self.scores, self.average = self.ppo["kl_coef"], list[float](), None

    def _sources(self, how: Mapping[str, Any], model: str | None) -> list[Row]:
        """Give the reward's sources, each with its name, its weight, and its model, if it has one.

        A name that is not given is the last part of what the source is; where another has it
        already, with a number.
        """
        found = [dict(source) for source in how["sources"] or ()]
        if how["function"] is not None:
            found.append({"function": how["function"], "weight": how["function_weight"]})
        if model is not None:
            found.append({"model": model, "weight": how["model_weight"]})
        taken = [source["name"] for source in found if "name" in source]
        for source in found:
            if "name" not in source:
                last = re.split("[/:]", source.get("function") or source["model"])[-1]
                number = 1
                while (name := f"{last}_{number}" if number > 1 else last) in taken:
                    number += 1
                source["name"] = name
                taken.append(name)
            if "model" in source:
                source["network"] = self._scalar(source["model"])
                source["reader"] = AutoTokenizer.from_pretrained(self.home / source["model"])
        return found

    def _scalar(self, path: str, *, zero: bool = False) -> nn.Module:
        network = AutoModelForSequenceClassification.from_pretrained(self.home / path, num_labels=1)
        if zero:
            nn.init.zeros_(network.score.weight)
        return network.eval()

    def _adapted(self, network: Any, task: str) -> Any:
        peft = self.config["peft"]
        network.eval()
        if peft["method"] == "none":
            return network
        torch.manual_seed(self.seed)
        asked = peft["target_modules"]
        modules = asked if asked == "all-linear" else asked.split(",")
        lora = LoraConfig(
            r=peft["rank"], lora_alpha=peft["alpha"], target_modules=modules, task_type=task
        )
        return get_peft_model(network, lora).eval()

    def run(self) -> Replayed:
        """Take every step."""
        figures: list[dict[str, float]] = []
        rows: list[list[Row]] = []
        for step in range(self.ppo["num_steps"]):
            written = self.write(step)
            seen = self.judged(written)
            figures.append(
                {**seen, **self.learn_value(written, step), **self.learn_policy(written, step)}
            )
            self.steer(seen["objective/kl"], len(written))
            rows.append(written)
        policy = self.average or whole(self.policy)
        return Replayed(figures, policy, whole(self.value), rows)

    def steer(self, kl: float, number: int) -> None:
        """Move the price of KL (Ziegler et al. 2019, section 2.2)."""
        if self.ppo["kl_target"] is not None:
            error = max(-0.2, min(0.2, kl / self.ppo["kl_target"] - 1))
            self.kl_coef *= 1 + error * number / self.ppo["kl_horizon"]

    @torch.no_grad()
    def write(self, step: int) -> list[Row]:
        """Draw every token by inverting the distribution function."""
        each, longest = self.ppo["samples_per_prompt"], self.config["generation"]["max_new_tokens"]
        chosen = streamed(self.prompts, self.ppo["rollout_batch_size"], self.seed, "ppo", step)
        seed, rows = seed_of(self.seed, "generate", step), list[Row]()
        for place in range(len(chosen) * each):
            asked = chosen[place // each]
            prompt, ids = self.tokenizer(asked["prompt"])["input_ids"], list[int]()
            while len(ids) < longest and not (ids and ids[-1] in self.stops):
                logits = (
                    self.policy(torch.tensor([prompt + ids])).logits[0, -1].double()
                    / self.temperature
                )
                sums, number = (
                    logits.softmax(-1).cumsum(-1),
                    uniform(seed, step * len(chosen) * each + place, len(ids)),
                )
                ids.append(int((sums > number).nonzero()[0]))
            rows.append(
                {"asked": asked, "prompt": prompt, "ids": ids, "finished": ids[-1] in self.stops}
            )
        return rows

    def logprobs(self, network: nn.Module, row: Row, temperature: float) -> tuple[Tensor, Tensor]:
        """Give log-probabilities of a row's response, and entropies, in nats."""
        whole_row, n = row["prompt"] + row["ids"], len(row["prompt"])
        logits = network(torch.tensor([whole_row])).logits[0, n - 1 : -1].float() / temperature
        logs = logits.log_softmax(-1)
        chosen = logs.gather(-1, torch.tensor(row["ids"])[:, None])[:, 0]
        return chosen, -(logs.exp() * logs).sum(-1)

    def values(self, row: Row) -> Tensor:
        """Give what the value role expects before each token."""
        base = getattr(self.value, "base_model", self.value)
        network = base.model if hasattr(self.value, "peft_config") else self.value
        hidden = network.base_model(torch.tensor([row["prompt"] + row["ids"]]))[0][0]
        raw = network.score(hidden[len(row["prompt"]) - 1 : -1])[:, 0]
        return (raw - self.moments[0]) / self.moments[1]

    def score(self, rows: list[Row]) -> list[float]:
        """Note in every row what each source says; give the sum of all, each by its weight."""
        total = [0.0] * len(rows)
        for source in self.sources:
            of = self.by_function if "function" in source else self.by_model
            for at, (row, said) in enumerate(zip(rows, of(source, rows), strict=True)):
                row.setdefault("said", {})[source["name"]] = said
                total[at] += source["weight"] * said
        return total

    def by_function(self, source: Row, rows: list[Row]) -> list[float]:
        """Ask a function about texts and columns."""
        file, name = source["function"].rsplit(":", 1)
        columns = {k: [row["asked"][k] for row in rows] for k in rows[0]["asked"] if k != "prompt"}
        prompts = [row["asked"]["prompt"] for row in rows]
        texts = [self.tokenizer.decode(row["ids"], skip_special_tokens=True) for row in rows]
        return list(function_of(self.home / file, name)(prompts, texts, columns))

    def by_model(self, source: Row, rows: list[Row]) -> list[float]:
        """Read the score at the last token: of the policy's own, or of the text in the model's."""
        network, reader, scores = source["network"], source["reader"], list[float]()
        told = ("mean", 0.0), ("std", 1.0)
        mean, std = (getattr(network.config, f"rlhf_score_{k}", d) for k, d in told)
        for row in rows:
            ids = row["prompt"] + row["ids"]
            if reader.get_vocab() != self.tokenizer.get_vocab():
                text = self.tokenizer.decode(row["ids"], skip_special_tokens=True)
                ids = reader(row["asked"]["prompt"] + text)["input_ids"]
                ids += [reader.eos_token_id] if row["finished"] else []
            hidden = network.base_model(torch.tensor([ids]))[0][0, -1]
            scores.append((float(network.score(hidden)) - mean) / std)
        return scores

    @torch.no_grad()
    def judged(self, rows: list[Row]) -> dict[str, float]:
        """Shape rewards, estimate advantages; note them in the rows, and give the first figures."""
        longest, buffer = self.config["generation"]["max_new_tokens"], self.ppo["overlong_buffer"]
        for row, score in zip(rows, self.score(rows), strict=True):
            row["old"] = self.logprobs(self.policy, row, self.temperature)[0]
            row["reference"] = self.logprobs(self.reference, row, self.temperature)[0]
            row["values"], row["score"] = self.values(row), score
            row["kl"] = (row["old"] - row["reference"]).double()
        self.scores += [row["score"] for row in rows]
        for row in rows:
            shaped = (
                row["score"] / (pstdev(self.scores) or 1.0)
                if self.ppo["scale_scores"]
                else row["score"]
            )
            shaped -= 0 if row["finished"] else self.ppo["missing_eos_penalty"]
            over = (len(row["ids"]) - longest + buffer) / max(1, buffer)
            shaped -= self.ppo["overlong_penalty"] * min(1.0, max(0.0, over))
            row["rewards"] = -self.kl_coef * row["kl"]
            row["rewards"][-1] += shaped
        self.estimate(rows)
        return self.seen(rows)

    def estimate(self, rows: list[Row]) -> None:
        """Note advantages and returns."""
        ppo, name = self.ppo, self.ppo["advantage_estimator"]
        other = ppo["gae_lambda"] if ppo["value_gae_lambda"] is None else ppo["value_gae_lambda"]
        for at, row in enumerate(rows):
            values = row["values"].double() if name == "gae" else torch.zeros_like(row["rewards"])
            first = at // ppo["samples_per_prompt"] * ppo["samples_per_prompt"]
            group = torch.stack(
                [r["rewards"].sum() for r in rows[first : first + ppo["samples_per_prompt"]]]
            )
            gap, size = row["rewards"].sum() - group.mean(), len(group)
            by_group = {
                "rloo": lambda g=gap, s=size: g * s / (s - 1),
                "dr_grpo": lambda g=gap: g,
                "grpo": lambda g=gap, b=group: g / (b.std() + 1e-6),
            }
            row["values"] = row["values"] if name == "gae" else torch.zeros(len(row["ids"]))
            row["returns"] = lambda_sum(row["rewards"], values, ppo["discount"], other) + values
            flat = torch.ones_like(values)
            row["raw"] = (
                flat * by_group[name]()
                if name in by_group
                else lambda_sum(
                    row["rewards"],
                    values,
                    ppo["discount"],
                    ppo["gae_lambda"] if name == "gae" else 1.0,
                )
            )
        every = torch.cat([row["raw"] for row in rows])
        for row in rows:
            white = (row["raw"] - every.mean()) / (every.var(correction=0) + 1e-8).sqrt()
            row["advantages"] = white if ppo["whiten_advantages"] else row["raw"]

    def seen(self, rows: list[Row]) -> dict[str, float]:
        """Give the figures of a step that are known before anything is learned."""
        lengths, scores = [float(len(r["ids"])) for r in rows], [r["score"] for r in rows]
        kls, rewards = (
            [float(r["kl"].sum()) for r in rows],
            [float(r["rewards"].sum()) for r in rows],
        )
        pairs = [pair for r in rows[:64] for pair in zip(r["ids"], r["ids"][1:], strict=False)]
        raw, values, returns = (
            torch.cat([r[k].double() for r in rows]) for k in ("raw", "values", "returns")
        )
        found = {
            "objective/scores": fmean(scores),
            "objective/scores_std": pstdev(scores),
            **{
                f"reward/{source['name']}/{figure}": of([r["said"][source["name"]] for r in rows])
                for source in self.sources
                for figure, of in (("score", fmean), ("score_std", pstdev))
            },
            "objective/rlhf_reward": fmean(rewards),
            "objective/rlhf_reward_std": pstdev(rewards),
            "objective/non_score_reward": -self.kl_coef * fmean(kls),
            "objective/kl": fmean(kls),
            "objective/kl_per_token": sum(kls) / sum(lengths),
            "objective/kl_coef": self.kl_coef,
            "objective/score_length_correlation": correlation(scores, lengths),
            "num_tokens": float(sum(len(r["prompt"]) + len(r["ids"]) for r in rows)),
            "completions/mean_length": fmean(lengths),
            "completions/eos_rate": fmean(float(r["finished"]) for r in rows),
            "completions/distinct_2": len(set(pairs)) / len(pairs),
            "sampling/logprob_difference_max": 0.0,
            "sampling/k3_mean": 0.0,
            "advantages/mean": float(raw.mean()),
            "advantages/std": float(raw.std(correction=0)),
        }
        if self.ppo["advantage_estimator"] != "gae":
            return found
        for quarter in range(4):
            inside = [
                float(v)
                for r in rows
                for j, v in enumerate(r["values"])
                if 4 * j // len(r["ids"]) == quarter
            ]
            found |= {f"value/quarter_{quarter + 1}": fmean(inside)} if inside else {}
        return found | {
            "returns/mean": float(returns.mean()),
            "value/mean": float(values.mean()),
            "value/first": fmean(float(r["values"][0]) for r in rows),
            "value/explained_variance": 1
            - float((returns - values).var(correction=0) / returns.var(correction=0)),
        }

    def minibatches(self, rows: list[Row], step: int) -> list[list[int]]:
        """Give the rows of each minibatch of each epoch."""
        found: list[list[int]] = []
        for epoch in range(self.ppo["num_epochs"]):
            seed, size = seed_of(self.seed, "minibatches", step, epoch), self.ppo["minibatch_size"]
            order = sorted(range(len(rows)), key=lambda at, seed=seed: uniform(seed, at, 0))
            found += [order[at : at + size] for at in range(0, len(order), size)]
        return found

    def learn_value(self, rows: list[Row], step: int) -> dict[str, float]:
        """Fit the returns: half the squared error, the worse of plain and clipped."""
        if self.ppo["advantage_estimator"] != "gae":
            return {}
        reports: list[dict[str, float]] = []
        for batch in self.minibatches(rows, step):
            count, bound, loss, clipped = (
                sum(len(rows[i]["ids"]) for i in batch),
                self.ppo["value_clip_range"],
                0.0,
                0,
            )
            for row in (rows[i] for i in batch):
                new, old, wanted = self.values(row), row["values"], row["returns"].float()
                plain = (new - wanted).square()
                near = (torch.min(torch.max(new, old - bound), old + bound) - wanted).square()
                part = torch.max(plain, near).sum() / 2 / count
                part.backward()
                loss, clipped = loss + part.item(), clipped + int((near > plain).sum())
            norm, lr = self.learners["value"].update()
            reports.append(
                {
                    "loss/value_avg": loss,
                    "value/clipfrac_avg": clipped / count,
                    "value/grad_norm": norm,
                    "value/lr": lr,
                }
            )
        return means(reports)

    def learn_policy(self, rows: list[Row], step: int) -> dict[str, float]:
        """Take the step's epochs on the clipped surrogate (Schulman et al. 2017, eq. 7)."""
        if step < self.ppo["value_warmup_steps"]:
            return {}
        if self.ppo["ema_decay"] is not None and self.average is None:
            self.average = whole(self.policy)
        texts, reports = self.texts(len(rows), step), list[dict[str, float]]()
        for batch in self.minibatches(rows, step):
            report = self.surrogate([rows[i] for i in batch])
            if texts:
                report["loss/ptx_avg"] = self.imitate([texts[i] for i in batch])
            report["policy/grad_norm"], report["lr"] = self.learners["policy"].update()
            reports.append(report)
            if (
                self.ppo["max_approx_kl"] is not None
                and report["policy/approxkl_avg"] > self.ppo["max_approx_kl"]
            ):
                break
        if self.average is not None:
            decay = self.ppo["ema_decay"]
            self.average = {
                k: decay * self.average[k] + (1 - decay) * now
                for k, now in whole(self.policy).items()
            }
        found = means(reports)
        found["policy/ratio_first_max_error"] = reports[0]["far"]
        found["policy/ratio_first_k3"] = reports[0]["k3"]
        found["policy/ratio_max"] = max(r["policy/ratio_max"] for r in reports)
        found["policy/num_updates"] = float(len(reports))
        del found["far"], found["k3"]
        return found

    def surrogate(self, batch: list[Row]) -> dict[str, float]:
        """Add the gradient of one minibatch, and report on it."""
        ppo, mode, longest = (
            self.ppo,
            self.ppo["loss_aggregation"],
            self.config["generation"]["max_new_tokens"],
        )
        low, high = (
            ppo["clip_range"],
            ppo["clip_range"] if ppo["clip_range_high"] is None else ppo["clip_range_high"],
        )
        count, loss, ratios, logs, entropy, bound, held = (
            sum(len(r["ids"]) for r in batch),
            0.0,
            [],
            [],
            0.0,
            0,
            0,
        )
        for row in batch:
            new, nats = self.logprobs(self.policy, row, self.temperature)
            n = len(row["ids"])
            weight = {
                "token_mean": 1 / count,
                "seq_mean_token_mean": 1 / (len(batch) * n),
                "seq_mean_token_sum": 1 / len(batch),
                "seq_mean_token_sum_norm": 1 / (len(batch) * longest),
            }[mode]
            gain, log = row["advantages"].float(), new - row["old"]
            ratio = log.exp()
            plain, clipped = (
                -gain * ratio,
                -gain * torch.min(torch.max(ratio, torch.tensor(1 - low)), torch.tensor(1 + high)),
            )
            worse = torch.max(plain, clipped)
            most = gain.abs() * (math.inf if ppo["dual_clip"] is None else ppo["dual_clip"])
            part = (torch.where(worse > most, most, worse) * weight).sum()
            part.backward()
            loss, entropy = loss + part.item(), entropy + nats.sum().item()
            bound, held = bound + int((clipped > plain).sum()), held + int((worse > most).sum())
            ratios.append(ratio.detach().double())
            logs.append(log.detach().double())
        every, log = torch.cat(ratios), torch.cat(logs)
        return {
            "loss/policy_avg": loss,
            "policy/approxkl_avg": float(log.square().mean()) / 2,
            "policy/clipfrac_avg": bound / count,
            "policy/dual_clipfrac_avg": held / count,
            "policy/entropy_avg": entropy / count,
            "policy/log_ratio_clamped": float((log.abs() > 20).double().mean()),
            "policy/ratio": float(every.mean()),
            "policy/ratio_var": float(every.var(correction=0)),
            "policy/ratio_max": float(every.max()),
            "far": float(log.abs().max()),
            "k3": float((every - 1 - log).mean()),
        }

    def texts(self, number: int, step: int) -> list[list[int]]:
        """Give the texts of a step's PTX loss, a row a response."""
        if not self.ppo["ptx_coef"]:
            return []
        rows = [
            json.loads(line)["text"]
            for line in (self.home / self.config["data"]["pretraining"]).open()
        ]
        ids = [[*self.tokenizer(row)["input_ids"], self.tokenizer.eos_token_id] for row in rows]
        return streamed(ids, number, self.seed, "ptx", step)

    def imitate(self, texts: list[list[int]]) -> float:
        """Add the gradient of the language-model loss, at temperature 1."""
        count, loss = sum(len(ids) - 1 for ids in texts), 0.0
        for ids in texts:
            part = (
                self.logprobs(self.policy, {"prompt": ids[:1], "ids": ids[1:]}, 1.0)[0].sum()
                / -count
            )
            (self.ppo["ptx_coef"] * part).backward()
            loss += part.item()
        return loss


def function_of(path: Path, name: str) -> Callable[[list[Any], list[str], Row], list[float]]:
    """Load the user's reward function."""
    spec = importlib.util.spec_from_file_location("plain_reward", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda prompts, texts, columns: getattr(module, name)(
        prompts=prompts, completions=texts, **columns
    )


def lambda_sum(rewards: Tensor, values: Tensor, discount: float, lam: float) -> Tensor:
    """Generalised advantages (Schulman et al. 2016, eq. 16), summed forwards from each token."""
    after = torch.cat([values[1:], torch.zeros(1, dtype=values.dtype)])
    deltas = rewards + discount * after - values
    n = len(deltas)
    return torch.stack(
        [sum((discount * lam) ** (j - t) * deltas[j] for j in range(t, n)) for t in range(n)]
    )


def correlation(x: list[float], y: list[float]) -> float:
    """Pearson's; 0 where one of them does not vary."""
    if len(set(x)) < 2 or len(set(y)) < 2:
        return 0.0
    return float(torch.corrcoef(torch.tensor([x, y], dtype=torch.float64))[0, 1])


def means(reports: list[dict[str, float]]) -> dict[str, float]:
    """Mean over updates, name by name."""
    return {name: fmean(r[name] for r in reports) for name in reports[0]}


def whole(network: Any) -> dict[str, Tensor]:
    """Copy the weights under plain names, adapters merged."""
    if hasattr(network, "peft_config"):
        network.merge_adapter()
        merged = network.get_base_model().state_dict()
        found = {
            k.replace(".base_layer", "").replace(
                "score.modules_to_save.default", "score"
            ): v.clone()
            for k, v in merged.items()
            if "lora_" not in k and "original_module" not in k
        }
        network.unmerge_adapter()
        return found
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}

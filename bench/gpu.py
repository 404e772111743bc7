"""What one CUDA device is used for: `python bench/gpu.py [decode|rollout|update ...]`.

decode: bytes a decode step has to read (weights, and keys and values of the tokens there are) over
its time, as a share of a measured device-to-device copy (bytes read and written), 1.5B shape, 64
and 256 rows; `step` is the forward alone, `sample` a whole rollout of equal lengths, its prefill,
draws and captures included. rollout: useful tokens a second of the continuous sampler against
transformers' padded `generate`, 0.5B shape, 256 rows, skewed lengths. update: model FLOPs a second
of an optimizer step, as a share of a measured bf16 matmul, 1.5B shape, fp32 master weights. All in
bfloat16 with random weights; neither ray nor deepspeed is needed. On a machine without CUDA it
refuses; --tiny runs the same code there on toy shapes.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM
from transformers.utils import logging as transformers_logging

from bench.kit import alternate, hold_in, line, machine, medians, prompts, ratio, rounded, stop_ids
from bench.rollout import Task, continuous, padded
from rlhf.algo.seeding import derive_seed, uniforms
from rlhf.config.optimizer import OptimizerConfig
from rlhf.engine.adamw import build_adamw
from rlhf.engine.local import LocalEngine
from rlhf.engine.world import World
from rlhf.flow.rollout import joined
from rlhf.flow.tensors import length_mask
from rlhf.flow.text import Demonstrations
from rlhf.generation.sampler import sample
from rlhf.generation.sampling import Sampling, draw
from rlhf.generation.slots import SlotCache
from rlhf.generation.steps import Steps
from rlhf.models.language_model import LanguageModel
from rlhf.roles.imitation import Imitation
from rlhf.roles.learner import Learner

Shape = dict[str, int]
HALF: Shape = {
    "hidden": 896,
    "layers": 24,
    "heads": 14,
    "kv_heads": 2,
    "wide": 4864,
    "vocabulary": 151936,
}
LARGE: Shape = {
    "hidden": 1536,
    "layers": 28,
    "heads": 12,
    "kv_heads": 2,
    "wide": 8960,
    "vocabulary": 151936,
}
TOY: Shape = {
    "hidden": 32,
    "layers": 2,
    "heads": 4,
    "kv_heads": 2,
    "wide": 48,
    "vocabulary": 512,
}
BYTES = 2
"""Of a bfloat16 number."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How large everything is."""

    device: str
    half: Shape
    large: Shape
    decode_rows: tuple[int, ...]
    decode_prompt: int
    decode_steps: int
    rollout_prompts: int
    rollout_rows: int
    rollout_longest: int
    update_rows: int
    update_length: int
    max_tokens: int
    copy_bytes: int
    matmul: int
    rounds: int


REAL = Plan(
    device="cuda",
    half=HALF,
    large=LARGE,
    decode_rows=(64, 256),
    decode_prompt=256,
    decode_steps=256,
    rollout_prompts=1024,
    rollout_rows=256,
    rollout_longest=512,
    update_rows=64,
    update_length=512,
    max_tokens=8192,
    copy_bytes=2**32,
    matmul=8192,
    rounds=3,
)
TINY = Plan(
    device="cpu",
    half=TOY,
    large=TOY,
    decode_rows=(2, 3),
    decode_prompt=5,
    decode_steps=3,
    rollout_prompts=6,
    rollout_rows=3,
    rollout_longest=6,
    update_rows=3,
    update_length=7,
    max_tokens=16,
    copy_bytes=2**16,
    matmul=32,
    rounds=1,
)


class MasterEngine(LocalEngine):
    """Plain torch on one device: bfloat16 weights, and fp32 ones that AdamW moves."""

    def __init__(self, module: nn.Module, optimizer: OptimizerConfig, device: str) -> None:
        """Copy the weights in full precision."""
        super().__init__(module)
        self.world = World(device=device)
        self._masters = [p.detach().float().clone() for p in module.parameters()]
        self._adamw = build_adamw(self._masters, optimizer)
        self._largest = optimizer.max_grad_norm

    def step(self, lr: float) -> float:
        """Clip, update the fp32 weights, round them into the model."""
        parameters = list(self.module.parameters())
        for master, parameter in zip(self._masters, parameters, strict=True):
            assert parameter.grad is not None
            master.grad, parameter.grad = parameter.grad.float(), None
        norm = float(nn.utils.clip_grad_norm_(self._masters, self._largest))
        for group in self._adamw.param_groups:
            group["lr"] = lr
        self._adamw.step()
        self._adamw.zero_grad()
        with torch.no_grad():
            for master, parameter in zip(self._masters, parameters, strict=True):
                parameter.copy_(master)
        return norm


def qwen(shape: Shape, device: str) -> Qwen2ForCausalLM:
    """Return a Qwen2 of this shape with fresh bfloat16 weights, made on the device."""
    config = Qwen2Config(
        vocab_size=shape["vocabulary"],
        hidden_size=shape["hidden"],
        intermediate_size=shape["wide"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv_heads"],
        max_position_embeddings=4096,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    torch.manual_seed(0)
    with torch.device(device):
        network = Qwen2ForCausalLM(config).eval()
    hold_in(network, torch.bfloat16)
    return network


def seconds_of(run: Callable[[], object], device: str, times: int) -> list[float]:
    """Return what each of some runs took, after one that is not kept; the device is waited for."""
    taken: list[float] = []
    for _ in range(times + 1):
        wait(device)
        began = time.perf_counter()
        run()
        wait(device)
        taken.append(time.perf_counter() - began)
    return taken[1:]


def wait(device: str) -> None:
    """Wait until the device has done all it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def copy_rate(plan: Plan) -> float:
    """Return the bytes a second a copy on the device reads and writes."""
    source = torch.zeros(plan.copy_bytes, dtype=torch.uint8, device=plan.device)
    target = torch.empty_like(source)
    return 2 * plan.copy_bytes / min(seconds_of(lambda: target.copy_(source), plan.device, 10))


def matmul_rate(plan: Plan) -> float:
    """Return the FLOPs a second of a bfloat16 matmul."""
    size = (plan.matmul, plan.matmul)
    left = torch.randn(size, device=plan.device, dtype=torch.bfloat16)
    right = torch.randn(size, device=plan.device, dtype=torch.bfloat16)
    taken = seconds_of(lambda: left @ right, plan.device, 10)
    return 2 * plan.matmul**3 / median(taken)


def decode(plan: Plan) -> dict[str, object]:
    """Return how much of the memory's speed decoding uses, for every number of rows."""
    network = qwen(plan.large, plan.device)
    rate, model = copy_rate(plan), LanguageModel(network)
    found = {str(rows): _decode_rows(plan, model, rows, rate) for rows in plan.decode_rows}
    return {"copy_bytes_per_s": rate, "rows": found}


@torch.no_grad()
def _decode_rows(plan: Plan, model: LanguageModel, rows: int, rate: float) -> dict[str, object]:
    shape, start, count = plan.large, plan.decode_prompt, plan.decode_steps
    weights = sum(p.numel() for p in model.network.parameters()) * BYTES
    width = shape["hidden"] // shape["heads"] * shape["kv_heads"]
    token = 2 * shape["layers"] * width * BYTES
    taken = {
        "step": _steps(plan, model, rows, draws=False),
        "step_and_draw": _steps(plan, model, rows, draws=True),
        "sample": _whole_rollouts(plan, model, rows),
    }
    read = weights + rows * token * (start + (count + 1) / 2)
    return {
        "bytes_per_step": read,
        "seconds_per_step": taken,
        "share_of_copy": {name: rounded(read / median(t) / rate) for name, t in taken.items()},
        "tokens_per_s": {name: rounded(rows / median(t)) for name, t in taken.items()},
    }


def _steps(plan: Plan, model: LanguageModel, rows: int, *, draws: bool) -> list[float]:
    """Return the seconds a step of rows that grow from the prompt's length."""
    start, count, device = plan.decode_prompt, plan.decode_steps, plan.device
    asked = prompts(rows, plan.large["vocabulary"], (start, start))
    cache = SlotCache(plan.large["layers"], rows, start + count)
    numbers_N = torch.arange(rows, device=device)
    cache.prefill(numbers_N, numbers_N)
    tokens_BP = asked.tokens_BP.to(device)
    last_N = numbers_N * start + start - 1
    first_N = model.logits(tokens_BP, last_N, past_key_values=cache, use_cache=True).argmax(-1)
    step = Steps(model, cache, rounded=True)

    def run() -> None:
        tokens_N, columns_N = first_N, torch.full_like(numbers_N, start)
        for number in range(count):
            logits_NV = step(tokens_N, columns_N, start + number + 1)
            columns_N = columns_N + 1
            if draws:
                tokens_N, _ = draw(logits_NV, 1.0, uniforms(1, numbers_N, number))

    return [seconds / count for seconds in seconds_of(run, device, plan.rounds)]


def _whole_rollouts(plan: Plan, model: LanguageModel, rows: int) -> list[float]:
    """Return the seconds a step of rollouts of equal lengths, all that a rollout does included."""
    asked = prompts(rows, plan.large["vocabulary"], (plan.decode_prompt, plan.decode_prompt))
    how = Sampling(max_new_tokens=plan.decode_steps, temperature=1.0, batch_size=rows, stop_ids=())
    seed = derive_seed(0, "generate", 0)
    taken = seconds_of(
        lambda: joined(sample(model, asked, how, seed, "continuous")), plan.device, plan.rounds
    )
    return [seconds / plan.decode_steps for seconds in taken]


def rollout(plan: Plan) -> dict[str, object]:
    """Return useful tokens a second of the continuous sampler and of padded `generate`."""
    network, vocabulary = qwen(plan.half, plan.device), plan.half["vocabulary"]
    model = LanguageModel(qwen(plan.half, plan.device))  # it changes how its network rounds
    rows, longest = plan.rollout_rows, plan.rollout_longest
    stops = stop_ids(vocabulary, longest)

    def task(num_prompts: int, most: int) -> Task:
        how = Sampling(max_new_tokens=most, temperature=1.0, batch_size=rows, stop_ids=stops)
        return Task(prompts(num_prompts, vocabulary), how)

    brief, asked = task(rows, min(8, longest)), task(plan.rollout_prompts, longest)
    for side in (continuous(model, brief), padded(network, brief)):
        side(0)
    sides = {"continuous": continuous(model, asked), "padded": padded(network, asked)}
    samples = alternate(sides, plan.rounds)
    return {
        "samples": samples,
        "medians": medians(samples),
        "ratio": {"to_padded": ratio(samples, "continuous", "padded")},
    }


def update(plan: Plan) -> dict[str, object]:
    """Return how much of a matmul's speed an update reaches."""
    rate = matmul_rate(plan)
    optimizer = OptimizerConfig(lr=1e-6)
    model = LanguageModel(qwen(plan.large, plan.device))
    engine = MasterEngine(model, optimizer, plan.device)
    learner = Learner(engine, optimizer, max_tokens=plan.max_tokens, total_updates=1000)
    rows = _texts(plan)
    objective = Imitation(engine, plan.max_tokens).objective(rows)
    taken = seconds_of(lambda: learner.update(objective), plan.device, plan.rounds)
    optimizing = seconds_of(lambda: _empty_step(engine), plan.device, plan.rounds)
    flops = _update_flops(plan, model, rows)
    return {
        "matmul_flops_per_s": rate,
        "flops": flops,
        "num_tokens": int(rows.lengths_B.sum()),
        "seconds": taken,
        "optimizer_seconds": optimizing,
        "tokens_per_s": rounded(int(rows.lengths_B.sum()) / median(taken)),
        "share_of_matmul": rounded(flops / median(taken) / rate),
    }


def _empty_step(engine: MasterEngine) -> None:
    """Take the optimizer's part of an update alone."""
    for parameter in engine.module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    engine.step(0.0)


def _texts(plan: Plan) -> Demonstrations:
    """Return rows of equal lengths; all tokens but the first are learned."""
    length, rows = plan.update_length, plan.update_rows
    lengths_B = torch.full((rows,), length)
    asked: Tensor = prompts(rows, plan.large["vocabulary"], (length, length)).tokens_BP
    mask_BT = length_mask(lengths_B, length)
    mask_BT[:, 0] = False
    return Demonstrations(tokens_BT=asked, lengths_B=lengths_B, loss_mask_BT=mask_BT)


def _update_flops(plan: Plan, model: LanguageModel, rows: Demonstrations) -> float:
    """Return the FLOPs an update needs: 6 a weight and token, and causal attention.

    The output embedding is the input one: it multiplies once, at tokens that are learned.
    Recomputed logits are not counted.
    """
    shape, tokens = plan.large, float(rows.lengths_B.sum())
    head = shape["vocabulary"] * shape["hidden"]
    body = sum(p.numel() for p in model.network.parameters()) - head
    pairs = float(rows.lengths_B.double().square().sum()) / 2
    attention = 12 * shape["layers"] * shape["hidden"] * pairs
    return 6 * (body * tokens + head * float(rows.loss_mask_BT.sum())) + attention


PARTS: dict[str, Callable[[Plan], dict[str, object]]] = {
    "decode": decode,
    "rollout": rollout,
    "update": update,
}


def main(words: list[str] | None = None) -> str:
    """Measure the parts that the words name, all if none; return the JSON line."""
    parser = argparse.ArgumentParser(description="What one CUDA device is used for.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--tiny", action="store_true", help="toy shapes on the CPU")
    asked = parser.parse_args(words)
    wrong = set(asked.parts) - set(PARTS)
    if wrong:
        parser.error(f"no part {', '.join(sorted(wrong))}; there are {', '.join(PARTS)}")
    if not asked.tiny and not torch.cuda.is_available():
        print("bench/gpu.py measures a CUDA device, and there is none; --tiny", file=sys.stderr)
        raise SystemExit(2)
    plan = TINY if asked.tiny else REAL
    transformers_logging.set_verbosity_error()
    found = {part: PARTS[part](plan) for part in asked.parts or PARTS}
    return line({**machine(), "device": _device(plan)}, {"settings": vars(plan), **found})


def _device(plan: Plan) -> str:
    return torch.cuda.get_device_name() if plan.device == "cuda" else "cpu"


if __name__ == "__main__":
    print(main(), flush=True)

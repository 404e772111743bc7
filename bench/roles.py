"""A PPO stage of the project over fresh models in a folder, for the scripts that time whole steps.

One id ends a response, as the other side of a comparison knows only one. Its probability is set by
a constant that both sides share: coordinate 0 of every token's embedding is the same large number,
so coordinate 0 of the last hidden state is about constant, and the stop id's row of the (tied)
output embedding holds as much more of it as makes every step stop with the probability wanted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import LlamaForCausalLM, LlamaForSequenceClassification

from bench.kit import llama_config, prompts
from rlhf.config.cluster import RoleName
from rlhf.config.experiment import Experiment
from rlhf.config.load import load
from rlhf.config.observe import TrackingConfig
from rlhf.data.tokenizer import train_tokenizer
from rlhf.observe.log import RunLog
from rlhf.rewards.mix import Mix
from rlhf.rewards.sources import model_source
from rlhf.roles.reward_sum import RewardSum
from rlhf.runtime.runtime import Processes
from rlhf.runtime.specs import PolicySpec, ReferenceSpec, RewardSpec, ValueSpec
from rlhf.stages.ppo import PPO
from rlhf.stages.run import build_terms, prompt_source

ROLES: tuple[RoleName, ...] = ("policy", "reference", "reward", "value")
CONSTANT = 0.5
"""Coordinate 0 of every embedding; the others have a standard deviation of 0.02."""
NEVER = 20.0
"""Nats by which the padding id is made less likely, so that no side mistakes text for padding."""
FITS = 5
LEARNING_RATE, KL_COEF, CLIP = 1e-6, 0.05, 0.2


@dataclass(frozen=True, kw_only=True)
class Work:
    """What one PPO step has to do, on either side."""

    shape: Mapping[str, int]
    rows: int = 64
    longest_prompt: int = 32
    longest: int = 64
    """Response tokens."""
    minibatch_size: int = 32
    epochs: int = 4


@dataclass(frozen=True)
class Folders:
    """Models as plain Hugging Face folders, with one tokenizer."""

    policy: Path
    """Also the reference."""
    reward: Path
    """Also where the value model starts."""


def write_models(folder: Path, work: Work) -> Folders:
    """Write a policy that stops with probability 3 / longest a step, and a reward model."""
    tokenizer = train_tokenizer(["a few words to learn an alphabet from"], 300)
    stop, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    assert isinstance(stop, int) and isinstance(pad, int)
    ids = {"eos_token_id": stop, "pad_token_id": pad, "bos_token_id": tokenizer.bos_token_id}
    torch.manual_seed(0)
    policy = LlamaForCausalLM(llama_config(work.shape, **ids)).eval()
    set_stop(policy, stop, pad, 3 / work.longest)
    reward = LlamaForSequenceClassification(llama_config(work.shape, num_labels=1, **ids)).eval()
    folders = Folders(folder / "policy", folder / "reward")
    for network, path in ((policy, folders.policy), (reward, folders.reward)):
        network.save_pretrained(path)
        tokenizer.save_pretrained(path)
    return folders


@torch.no_grad()
def set_stop(network: LlamaForCausalLM, stop: int, pad: int, probability: float) -> None:
    """Make a step stop with about this probability, and never write padding."""
    embedding_VH = network.get_input_embeddings().weight
    assert isinstance(embedding_VH, torch.Tensor)
    embedding_VH[:, 0] = CONSTANT
    draw = torch.Generator().manual_seed(0)
    tokens_BT = torch.randint(3, len(embedding_VH), (16, 32), generator=draw)
    hidden_BTH = network.base_model(input_ids=tokens_BT)[0]
    level = float(hidden_BTH[..., 0].mean())
    for _ in range(FITS):  # the odds are a mean of exponentials: no one step sets them
        found = float(network.lm_head(hidden_BTH).softmax(-1)[..., stop].mean())
        embedding_VH[stop, 0] += (_logit(probability) - _logit(found)) / level
    embedding_VH[pad, 0] -= NEVER / level


def settings(work: Work, ranks: int, precision: str, *, on_ray: bool) -> Experiment:
    """Return the settings of a run: every role on as many ranks, one thread a rank."""
    optimizer = {"optimizer": {"lr": LEARNING_RATE, "warmup_steps": 0}}
    roles = {role: {"ranks": ranks} for role in ROLES}
    return load(
        {
            "engine": {"backend": "deepspeed" if on_ray else "torch", "precision": precision},
            "cluster": {
                "backend": "ray" if on_ray else "in_process",
                "address": "local",
                "timeout_s": 300.0,
                **roles,
            },
            "generation": {"max_new_tokens": work.longest, "batch_size": work.rows},
            "ppo": {
                "num_steps": 1000,
                "rollout_batch_size": work.rows,
                "minibatch_size": work.minibatch_size,
                "num_epochs": work.epochs,
                "kl_coef": KL_COEF,
                "clip_range": CLIP,
                "missing_eos_penalty": 0.0,
            },
            "policy": optimizer,
            "value": optimizer,
        }
    )


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


@contextmanager
def ppo(folder: Path, models: Folders, work: Work, experiment: Experiment) -> Iterator[PPO]:
    """Give a PPO stage whose roles are up; they end with the context."""
    log = RunLog(folder, TrackingConfig(console=False), config={})
    with Processes(experiment, list(ROLES), log) as processes:
        assign = processes.runtime.assign
        mix = Mix((model_source(models.reward),))
        reward = assign(RewardSpec(mix=mix, policy=models.policy))
        asked = prompts(work.rows, work.shape["vocabulary"], (8, work.longest_prompt))
        yield PPO(
            prompts=prompt_source(asked, experiment.ppo, experiment.seed),
            policy=assign(PolicySpec(path=models.policy)),
            reference=assign(ReferenceSpec(path=models.policy)),
            reward=RewardSum(reward, mix),
            value=assign(ValueSpec(path=models.reward, head="trained")),
            terms=build_terms(experiment),
        )

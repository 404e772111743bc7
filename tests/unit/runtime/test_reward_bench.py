"""RewardBench: each reward model is held in a precision, and read in tokens, of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rlhf.data.tokenizer import load_tokenizer
from rlhf.engine.offload import Offloader
from rlhf.engine.precision import multiplies_bf16
from rlhf.runtime.context import RoleContext
from rlhf.runtime.reward_bench import RewardBench
from rlhf.runtime.specs import Assignment, RewardSpec
from tests import models
from tests.specs import listed_mix


def bench(folder, **engine):
    experiment = models.experiment(engine=engine, reward={"timeout_s": 7.0})
    context = RoleContext(experiment, models.alone(), "reward")
    return RewardBench(context, load_tokenizer(folder()))


def test_the_time_limit_is_the_configured_one(folder):
    assert bench(folder).timeout_s == 7.0


def test_models_beside_each_other_score_as_alone(folder, tmp_path):
    other = models.write(models.classifier("gpt2", seed=5), tmp_path / "gpt2")
    asked, written = bench(folder), models.rollout(5)
    paths = (folder(kind="classifier"), other)
    together = [asked.model_scorer(path) for path in paths]
    scores = [scorer.score(written) for scorer in together]
    for path, score_B in zip(paths, scores, strict=True):
        assert torch.equal(bench(folder).model_scorer(path).score(written), score_B)
    assert not torch.allclose(*scores)


def test_only_a_model_with_other_tokens_reads_the_text_again(folder, tmp_path):
    other = models.write(models.classifier(seed=5), tmp_path / "other")
    models.tokenizer(["entirely different words are here"] * 3, 280).save_pretrained(other)
    asked = bench(folder)
    rereads = [
        asked.model_scorer(path)._policy_tokenizer is not None
        for path in (folder(kind="classifier"), other)
    ]
    assert rereads == [False, True]


@pytest.mark.skipif(not multiplies_bf16("cpu"), reason="bf16 never pays on this processor")
def test_auto_goes_by_the_size_of_each_model(folder, tmp_path):
    shape = {"vocab_size": 80_000, "hidden_size": 64, "tie_word_embeddings": False}
    large = models.write(models.classifier(**shape), tmp_path / "large")
    asked = bench(folder, precision="auto")
    found = [asked.model_scorer(path).engine._bf16 for path in (folder(kind="classifier"), large)]
    assert found == [False, True]


def test_all_models_leave_a_shared_device_with_the_role(folder, tmp_path):
    other = models.write(models.classifier("gpt2", seed=5), tmp_path / "gpt2")
    paths = (folder(kind="classifier"), other)
    spec = RewardSpec(mix=listed_mix(*({"model": p} for p in paths)), policy=Path(folder()))
    role = Assignment(spec, models.experiment())(models.alone())
    weights = [p for scorer in role._by_rows for p in scorer.engine.module.parameters()]
    for weight in weights:
        weight.data = weight.data.clone()  # What was read is memory of a mapped file.
    least = sum(weight.numel() * weight.element_size() for weight in weights)
    offloader, written = Offloader(role, "cpu"), models.rollout(3)
    before_BC = role.score_rows(written)
    assert offloader.offload() >= least
    offloader.onload()
    assert torch.equal(role.score_rows(written), before_BC)

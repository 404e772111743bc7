"""Every figure a run leaves is made once more from raw rows, by programs that know the docs alone.

PPO's own are in test_second_step.py. What is here follows one pipeline through SFT, reward model,
samples and evaluation; test_every_metric_is_recomputed holds all of it to docs/metrics.md.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from tests.wiring import kit
from tests.wiring import plain_epochs as plain
from tests.wiring.plain_ppo import Program
from tests.wiring.table import HERE, optimizer
from tests.wiring.test_second_step import SMALL

WHOLE = (
    *HERE,
    *SMALL,
    "policy.path=models/policy",
    "data.demonstrations=demonstrations.jsonl",
    "data.preferences=preferences.jsonl",
    "data.test_fraction=0.3",
    "sft.batch_size=8",
    "sft.num_epochs=2.5",
    "sft.validate_every=2",
    *optimizer("sft"),
    "reward_model.batch_size=6",
    "reward_model.validate_every=2",
    "reward_model.margin_coef=0.5",
    "reward_model.center_coef=0.1",
    *optimizer("reward_model"),
    "reward_model.optimizer.lr=2e-3",
    "reward_model.optimizer.warmup_steps=1",
    "reward_model.optimizer.schedule=cosine",
    "reward_model.optimizer.betas=[0.8,0.9]",
    "reward_model.optimizer.weight_decay=0.3",
    "reward_model.optimizer.max_grad_norm=0.4",
    "reward.function=reward.py:wanted",
    "reward.function_weight=0.5",
    "data.pretraining=texts.jsonl",
    "ppo.ptx_coef=0.2",
    "evaluation.judge=reward.py:letters",
    "evaluation.num_prompts=5",
    "evaluation.samples_per_prompt=2",
    "tracking.sample_prompts=3",
    "generation.temperature=0.9",
    "seed=2",
)
MEASURED = (
    r"time/\w+|busy/\w+|idle/\w+",
    "speed/tokens_per_s",
    "speed/padding_share",
)
"""Of clocks and of packing, which the unit tests of observe and of the learner have."""


@pytest.fixture(scope="module")
def whole(home):
    """One pipeline."""
    ran = home.run("pipeline", *WHOLE)
    assert ran.code == 0, ran.err
    return ran


def assert_same(got, wanted, path=""):
    """Compare nested figures; numbers to five digits."""
    if isinstance(wanted, dict):
        assert set(got) == set(wanted), path
        for name, value in wanted.items():
            assert_same(got[name], value, f"{path}/{name}")
    elif isinstance(wanted, list):
        assert len(got) == len(wanted), path
        for at, value in enumerate(wanted):
            assert_same(got[at], value, f"{path}/{at}")
    elif isinstance(wanted, float):
        assert got == pytest.approx(wanted, rel=1e-4, abs=1e-5), path
    else:
        assert got == wanted, path


@pytest.fixture(scope="module")
def sft(whole, home):
    """SFT once more."""
    stage = plain.PlainSFT(whole.folder, home.folder, "sft", home.folder / "models/policy")
    return stage, stage.run()


@pytest.fixture(scope="module")
def reward_model(whole, home):
    """The reward model once more, from the run's own SFT."""
    start = whole.folder / "sft"
    stage = plain.PlainRewardModel(whole.folder, home.folder, "reward_model", start)
    return stage, stage.run()


def test_sft_is_the_plain_programs(whole, sft):
    stage, weights = sft
    assert_same(without_packing(whole.steps("sft")), stage.figures)
    got = whole.weights("sft")
    assert set(got) == set(weights)
    assert max(float((got[name] - weights[name]).abs().max()) for name in got) < 1e-5


def test_the_reward_model_is_the_plain_programs_and_normalised_on_training_rows(
    whole, reward_model
):
    stage, weights = reward_model
    assert_same(without_packing(whole.steps("reward_model")), stage.figures)
    got, config = whole.weights("reward_model"), whole.config("reward_model")
    assert max(float((got[name] - weights[name]).abs().max()) for name in weights) < 1e-5
    mean, deviation, _ = stage.finish()
    assert config["rlhf_score_mean"] == pytest.approx(mean, abs=1e-5)
    assert config["rlhf_score_std"] == pytest.approx(deviation, rel=1e-4)


def test_its_report_is_of_rows_never_seen_and_of_raw_scores(whole, reward_model):
    stage, _ = reward_model
    report = stage.finish()[2]
    assert report["pairs"] == len(stage.sides["test"]) > len(stage.sides["validation"])
    assert_same(whole.json("reward_model.json"), report)


def without_packing(steps):
    """Leave out what no plain program has."""
    return [{k: v for k, v in step.items() if k != "speed/padding_share"} for step in steps]


def test_ppo_after_them_is_the_plain_programs(whole, home, tmp_path):
    """The models come from the run itself here: SFT, its reward model, and that as the value."""
    config = json.loads((whole.folder / "manifest.json").read_text())
    config["config"]["policy"]["path"] = str(whole.folder / "sft")
    config["config"]["reward_model"]["path"] = str(whole.folder / "reward_model")
    (tmp_path / "manifest.json").write_text(json.dumps(config))
    found = Program(tmp_path, home.folder).run()
    assert_same_steps = zip(without_packing(whole.steps("ppo")), found.figures, strict=True)
    for got, wanted in assert_same_steps:
        assert got == pytest.approx(wanted, rel=1e-3, abs=2e-5)
    for role, weights in (("policy", found.policy), ("value", found.value)):
        got = whole.weights(role)
        assert max(float((got[k] - weights[k]).abs().max()) for k in weights) < 1e-5


def test_samples_are_the_answers_of_sft_and_policy_with_the_rewards_scores(whole, home):
    config = whole.json("manifest.json")["config"]
    asked = plain.asked_of(plain.rows_of(home.folder, config, "prompts"), 3)
    reward = Program.__new__(Program)
    reward.home, reward.config = home.folder, config
    reward.sources = reward._sources(config["reward"], str(whole.folder / "reward_model"))
    reward.tokenizer = plain.AutoTokenizer.from_pretrained(whole.folder / "policy")
    for stage, step, model in (("sft", 0, "sft"), ("ppo", 2, "policy")):
        found = plain.answers(whole.folder / model, config, asked)
        rows = [
            {"asked": a["row"], **{k: a[k] for k in ("prompt", "ids", "finished")}} for a in found
        ]
        with torch.no_grad():
            scores = reward.score(rows)
        wanted = [
            {
                "stage": stage,
                "step": step,
                "prompt": answer["row"]["prompt"],
                "response": answer["text"].strip(),
                "score": score,
                "finished": answer["finished"],
                "length": len(answer["ids"]),
                **{f"reward/{name}/score": said for name, said in row["said"].items()},
            }
            for answer, row, score in zip(found, rows, scores, strict=True)
        ]
        assert_same(whole.samples(stage), wanted)
    for old, new in zip(whole.samples("sft"), whole.samples("ppo"), strict=True):
        told = f"{old['score']:.2f} \u2192 {new['score']:.2f} (".replace("-", "\u2212")
        assert told in whole.out


def test_the_evaluation_is_of_policy_against_sft(whole, home):
    config = whole.json("manifest.json")["config"]
    folders = {"candidate": whole.folder / "policy", "baseline": whole.folder / "sft"}
    got = kit.figures(whole.json("evaluation.json"))
    assert got["candidate"] != got["baseline"]
    assert_same(got, plain.evaluation(home.folder, config, folders))


EVALUATED = (
    *HERE,
    "data.prompts=prompts.jsonl",
    "generation.max_new_tokens=6",
    "evaluation.judge=reward.py:wanted",
    "evaluation.candidate=models/policy",
    "evaluation.baseline=models/other",
    "evaluation.num_prompts=4",
)


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("evaluation.candidate=models/reference",),
        ("evaluation.baseline=models/reference",),
        ("evaluation.judge=reward.py:letters",),
        ("evaluation.num_prompts=6",),
        ("evaluation.samples_per_prompt=3",),
        ("seed=1", "generation.temperature=0.6"),
        # The interval of these answers is another one under seed 0.
        ("seed=12", "evaluation.num_prompts=6", "evaluation.samples_per_prompt=3"),
    ],
    ids=lambda changes: ",".join(changes) or "as it is",
)
def test_evaluate_compares_the_folders_named_as_the_settings_say(home, changes):
    ran = home.run("evaluate", *EVALUATED, *changes)
    assert ran.code == 0, ran.err
    words = dict(word.split("=", 1) for word in (*EVALUATED, *changes))
    config = {
        "seed": int(words.get("seed", 0)),
        "data": {
            "prompts": words["data.prompts"],
            "validation_fraction": float(words["data.validation_fraction"]),
            "test_fraction": float(words["data.test_fraction"]),
        },
        "generation": {
            "max_new_tokens": int(words["generation.max_new_tokens"]),
            "temperature": float(words.get("generation.temperature", 1.0)),
        },
        "evaluation": {
            "judge": words["evaluation.judge"],
            "num_prompts": int(words["evaluation.num_prompts"]),
            "samples_per_prompt": int(words.get("evaluation.samples_per_prompt", 1)),
        },
    }
    folders = {
        side: home.folder / words[f"evaluation.{side}"] for side in ("candidate", "baseline")
    }
    got = kit.figures(ran.json("evaluation.json"))
    assert_same(got, plain.evaluation(home.folder, config, folders))


def test_every_metric_is_recomputed(whole, home, sft, reward_model):
    """A metric of docs/metrics.md that no plain program makes is red, and so is the reverse."""
    page = (Path(__file__).parents[2] / "docs/metrics.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `([\w/]+)` \|", page, re.MULTILINE))
    ptx = home.run("ppo", *HERE, *SMALL, *PTX)
    made = {
        name
        for steps in (sft[0].figures, reward_model[0].figures)
        for step in steps
        for name in step
    }
    made |= {name for step in Program(ptx.folder, home.folder).run().figures for name in step}
    measured = {name for name in told if re.fullmatch("|".join(MEASURED), name)}
    assert told - measured == of_any_source(made)
    run = {
        name for stage in ("sft", "reward_model", "ppo") for s in whole.steps(stage) for name in s
    }
    assert of_any_source(run) <= told


def of_any_source(names):
    """Name the figures of a source of the reward as docs/metrics.md does."""
    return {re.sub(r"^reward/[^/]+/", "reward/NAME/", name) for name in names}


PTX = (
    "policy.path=models/policy",
    "reward.function=reward.py:wanted",
    "data.pretraining=texts.jsonl",
    "ppo.ptx_coef=0.1",
)

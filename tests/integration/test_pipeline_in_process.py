"""The whole pipeline in this process: what it leaves, what loads it, and what a second go does."""

from __future__ import annotations

import json
import time

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from tests.integration.conftest import (
    ENGINE,
    FAST,
    SMALL,
    SOURCES,
    contents,
    finished,
    metrics,
    write,
)

LEFT = {
    "evaluation.json",
    "manifest.json",
    "metrics.jsonl",
    "policy",
    "report.html",
    "reward_model",
    "reward_model.json",
    "run.json",
    "samples.jsonl",
    "sft",
    "start",
    "value",
}
JUDGED = "evaluation.judge=reward.py:length"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One finished pipeline, in its working folder."""
    home = tmp_path_factory.mktemp("whole")
    return finished(home, "pipeline", "run_dir=run", *FAST, *SOURCES, JUDGED)


def test_it_leaves_every_model_every_figure_and_no_scaffold(whole):
    found = {path.name for path in (whole / "run").iterdir()}
    assert found >= LEFT
    assert not list((whole / "run").rglob("*.partial"))
    assert not list((whole / "run").rglob("step_*"))


def test_plain_transformers_loads_the_models_and_they_have_learned(whole):
    run = whole / "run"
    tokenizer = AutoTokenizer.from_pretrained(run / "policy")
    ids = tokenizer("The film was", return_tensors="pt").input_ids
    logits = {
        name: AutoModelForCausalLM.from_pretrained(run / name)(ids).logits
        for name in ("start", "sft", "policy")
    }
    assert logits["policy"].isfinite().all()
    assert not torch.equal(logits["start"], logits["sft"])
    assert not torch.equal(logits["sft"], logits["policy"])
    for name in ("reward_model", "value"):
        model = AutoModelForSequenceClassification.from_pretrained(run / name)
        assert model(ids).logits.shape == (1, 1)


def test_the_figures_are_those_of_every_step(whole):
    # correctness 30, 45: KL 0 and ratio 1 at the first step of a whole pipeline.
    rows = metrics(whole / "run")
    steps = {stage: [r["step"] for r in rows if r["stage"] == stage] for stage in ("sft", "ppo")}
    assert steps["ppo"] == [0, 1, 2]
    assert steps["sft"] == list(range(len(steps["sft"])))
    first = next(row for row in rows if row["stage"] == "ppo")
    assert first["objective/kl"] == 0
    # Scoring and learning pack rows differently, which may move the last digit of fp32.
    assert first["policy/ratio_first_max_error"] < 1e-6
    assert first["sampling/logprob_difference_max"] < 1e-4
    clocked = [json.loads(line) for line in (whole / "run/metrics.jsonl").open()]
    for row in clocked:
        phases = ("generate", "score", "learn") if row["stage"] == "ppo" else ("learn",)
        assert all(row["metrics"][f"time/{phase}_s"] > 0 for phase in phases), row
    samples = [json.loads(line) for line in (whole / "run/samples.jsonl").open()]
    assert {(row["stage"], row["step"]) for row in samples} == {("sft", 0), ("ppo", 3)}
    judged = json.loads((whole / "run/evaluation.json").read_text())
    assert judged["judge"] == "reward.py:length"
    # All answers of both sides are as long: ties alone decide nothing.
    assert (judged["win_rate"], judged["interval"]) == (0.5, None)


def test_the_manifest_names_the_data_and_the_stages(whole):
    manifest = json.loads((whole / "run/manifest.json").read_text())
    assert set(manifest["data"]) == {f"{s.partition('=')[2]}" for s in SOURCES}
    assert set(manifest["stages"]) == {"sft", "reward_model", "ppo"}
    assert manifest["stages"]["ppo"]["steps"] == 3
    assert {stage["nodes"] for stage in manifest["stages"].values()} == {1}


def test_the_report_is_one_page_that_asks_no_other_host(whole):
    page = (whole / "run/report.html").read_text(encoding="utf-8")
    assert len(page) > 10_000
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_the_same_command_again_trains_nothing(whole, rlhf, monkeypatch):
    monkeypatch.chdir(whole)
    folders = ("policy", "reward_model", "sft", "value", "start")
    before, figures = [contents(whole / "run" / f) for f in folders], metrics(whole / "run")
    start = time.monotonic()
    outcome = rlhf("pipeline", "run_dir=run", *FAST, *SOURCES, JUDGED)
    assert outcome.code == 0
    assert time.monotonic() - start < 5
    for stage in ("sft", "reward_model", "policy"):
        assert f"{stage}: already done" in outcome.out
    assert [contents(whole / "run" / f) for f in folders] == before
    assert metrics(whole / "run") == figures


def test_export_writes_the_policy_in_the_dtype_asked_for(whole, rlhf, monkeypatch):
    monkeypatch.chdir(whole)
    outcome = rlhf("export", "run_dir=run", "export.path=out", "export.dtype=bf16")
    assert outcome.code == 0
    assert outcome.out.strip() == "out"
    model = AutoModelForCausalLM.from_pretrained("out")
    assert model.dtype == torch.bfloat16
    whole_model = AutoModelForCausalLM.from_pretrained("run/policy")
    for ours, theirs in zip(model.parameters(), whole_model.parameters(), strict=True):
        assert torch.equal(ours, theirs.bfloat16())


def test_report_and_evaluate_work_on_a_finished_run(whole, rlhf, monkeypatch):
    monkeypatch.chdir(whole)
    outcome = rlhf("report", "run_dir=run")
    assert (outcome.code, outcome.out.strip()) == (0, "run/report.html")
    asked = (*ENGINE, "generation.max_new_tokens=8", "data.prompts=prompts.jsonl")
    other = rlhf("evaluate", "run_dir=run", *asked, "evaluation.judge=reward.py:wanted")
    assert other.code == 0, other.err
    (kept,) = (whole / "run/evaluations").glob("reward.py_wanted-on-prompts.jsonl-*.json")
    assert json.loads(kept.read_text())["judge"] == "reward.py:wanted"
    own = json.loads((whole / "run/evaluation.json").read_text())
    assert own["judge"] == "reward.py:length"
    assert "evaluation.json stays as it is" in " ".join(other.out.split())
    assert "reward.py:wanted" in (whole / "run/report.html").read_text()


def test_a_judgement_is_made_anew_only_when_its_judge_changes(whole, rlhf, monkeypatch):
    monkeypatch.chdir(whole)
    judge = whole / "fickle.py"
    judge.write_text("def score(prompts, completions):\n    return [0.0 for _ in completions]\n")
    ours = ("generation.max_new_tokens=8", "evaluation.judge=fickle.py:score")
    asked = ("evaluate", "run_dir=run", *ENGINE, "data.prompts=prompts.jsonl", *ours)
    assert "already done" not in rlhf(*asked).out
    assert "already done" in rlhf(*asked).out
    judge.write_text(judge.read_text().replace("0.0", "float(len(_))"))
    assert "already done" not in rlhf(*asked).out


def test_sft_alone_given_twice_trains_once(home, rlhf):
    asked = [word for word in (*FAST, *SOURCES) if not word.startswith(("data.pref", "data.prom"))]
    assert rlhf("sft", "run_dir=run", *asked).code == 0
    before = contents(home / "run/sft")
    again = rlhf("sft", "run_dir=run", *asked)
    assert again.code == 0
    assert "sft: already done" in again.out
    assert contents(home / "run/sft") == before


def test_longer_runs_on_when_more_steps_are_asked_for(home, rlhf):
    assert rlhf("pipeline", "run_dir=run", *FAST, *SOURCES).code == 0
    assert rlhf("pipeline", "run_dir=run", *FAST, *SOURCES, "ppo.num_steps=4").code == 0
    assert [r["step"] for r in metrics(home / "run") if r["stage"] == "ppo"] == [0, 1, 2, 3]


def test_a_changed_data_file_runs_the_stages_that_read_it(home, rlhf):
    assert rlhf("pipeline", "run_dir=run", *FAST, *SOURCES).code == 0
    before = {name: contents(home / "run" / name) for name in ("sft", "reward_model", "policy")}
    rows = [json.loads(line) for line in (home / "prompts.jsonl").open()]
    write(home / "prompts.jsonl", rows[:-3])
    outcome = rlhf("pipeline", "run_dir=run", *FAST, *SOURCES)
    assert outcome.code == 0
    assert "policy: already done" not in outcome.out
    assert contents(home / "run/policy") != before["policy"]


def test_adapters_merge_into_the_model_they_came_from(home, rlhf):
    lora = ("peft=lora", "peft.rank=4", "policy.optimizer.lr=1e-2")
    outcome = rlhf("pipeline", "run_dir=run", *FAST, *SOURCES, *lora)
    assert outcome.code == 0, outcome.err
    run = home / "run"
    ids = torch.tensor([[1, 40, 41, 42, 43]])
    merged = AutoModelForCausalLM.from_pretrained(run / "policy").eval()
    base = AutoModelForCausalLM.from_pretrained(run / "sft").eval()
    with torch.no_grad():
        before = base(ids).logits
        adapted = PeftModel.from_pretrained(base, str(run / "policy/adapter")).eval()
        assert torch.allclose(adapted(ids).logits, merged(ids).logits, atol=1e-5)
        assert not torch.allclose(before, merged(ids).logits, atol=1e-5)
    assert len(load_file(run / "policy/adapter/adapter_model.safetensors")) > 0
    settings = json.loads((run / "policy/adapter/adapter_config.json").read_text())
    assert settings["base_model_name_or_path"].endswith("run/sft")


def test_a_function_alone_can_judge(whole, home, rlhf):
    asked = (
        f"policy.path={whole / 'run/sft'}",
        "data.prompts=prompts.jsonl",
        "reward.function=reward.py:wanted",
        "ppo.samples_per_prompt=2",
        "ppo.missing_eos_penalty=0.5",
    )
    outcome = rlhf("ppo", "run_dir=run", *ENGINE, *SMALL, *asked)
    assert outcome.code == 0, outcome.err
    rows = metrics(home / "run")
    assert len(rows) == 3
    assert not (home / "run/reward_model").exists()
    assert rows[0]["value/mean"] == 0


def test_messages_rankings_of_many_answers_and_parquet(home, rlhf):
    from datasets import Dataset

    asked = [[{"role": "user", "content": f"number {i}?"}] for i in range(24)]
    say = [{"role": "assistant", "content": f"it is {i}"} for i in range(24)]
    write(
        home / "demonstrations.jsonl",
        [{"messages": [*q, a]} for q, a in zip(asked, say, strict=True)],
    )
    ranked = [
        {"prompt": q, "answers": [[{"role": "assistant", "content": f"{w} {i}"}] for w in "abc"]}
        for i, q in enumerate(asked)
    ]
    write(home / "preferences.jsonl", ranked)
    Dataset.from_list([{"prompt": q} for q in asked]).to_parquet(str(home / "prompts.parquet"))
    sources = (*SOURCES[:2], "data.prompts=prompts.parquet", "data.test_fraction=0.2")
    outcome = rlhf("pipeline", "run_dir=run", *FAST, *sources)
    assert outcome.code == 0, outcome.err
    report = json.loads((home / "run/reward_model.json").read_text())
    assert report["pairs"] % 3 == 0
    sample = json.loads((home / "run/samples.jsonl").open().readline())
    assert sample["prompt"][0]["role"] == "user"


def test_a_sweep_has_a_folder_a_value_and_finds_them_again(whole, home, rlhf):
    asked = (
        f"policy.path={whole / 'run/sft'}",
        "data.prompts=prompts.jsonl",
        "reward.function=reward.py:wanted",
        "ppo.kl_coef=0.02,0.5",
    )
    outcome = rlhf("ppo", "-m", "run_dir=runs", *ENGINE, *SMALL, *asked)
    assert outcome.code == 0, outcome.err
    folders = sorted(path for path in (home / "runs").iterdir() if path.is_dir())
    assert len(folders) == 2
    coefs = [metrics(folder)[0]["objective/kl_coef"] for folder in folders]
    assert sorted(coefs) == [0.02, 0.5]
    again = rlhf("ppo", "-m", "run_dir=runs", *ENGINE, *SMALL, *asked)
    assert again.out.count("policy: already done") == 2

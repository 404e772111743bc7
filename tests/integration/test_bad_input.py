"""Bad input: one clear line, exit code 2, and nothing half-written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
from transformers import AutoTokenizer

from tests.integration.conftest import ENGINE, FAST, SMALL, SOURCES, finished, write

ON_RAY = ("cluster.backend=ray", "engine.backend=deepspeed")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A policy folder, made once by the SFT command."""
    home = finished(tmp_path_factory.mktemp("model"), "sft", "run_dir=run", *FAST, SOURCES[0])
    return home / "run" / "sft"


@pytest.fixture
def refused(rlhf, home):
    """Run a command that must be refused before anything is written; give what it said."""

    def run(*arguments: str) -> str:
        there = {path.name for path in home.iterdir()}
        outcome = rlhf(*arguments)
        assert outcome.code == 2, outcome.err
        lines = outcome.err.splitlines()
        assert lines
        assert all(line.startswith("rlhf: ") for line in lines), outcome.err
        assert "Traceback" not in outcome.err
        assert {path.name for path in home.iterdir()} == there
        return outcome.err.replace("rlhf: ", "").strip()

    return run


def pipeline(refused, *changes: str) -> str:
    return refused("pipeline", "run_dir=run", *FAST, *SOURCES, *changes)


def ppo(refused, model, *changes: str) -> str:
    asked = (f"policy.path={model}", "data.prompts=prompts.jsonl", *changes)
    return refused("ppo", "run_dir=run", *ENGINE, *SMALL, *asked)


@pytest.mark.parametrize("kind", ["demonstrations", "preferences", "prompts"])
def test_a_missing_file(refused, kind):
    told = pipeline(refused, f"data.{kind}=nowhere.jsonl")
    assert told.startswith("nowhere.jsonl: no such file")


def test_an_empty_file(refused, home):
    (home / "empty.jsonl").touch()
    assert pipeline(refused, "data.prompts=empty.jsonl").startswith(
        "empty.jsonl: the file is empty"
    )


def test_a_malformed_line_is_named_by_file_and_line(refused, home):
    (home / "odd.jsonl").write_text('{"prompt": "a"}\n{oops\n')
    assert "odd.jsonl:2: not JSON at column 2" in pipeline(refused, "data.prompts=odd.jsonl")


def test_wrong_columns_name_the_right_ones(refused, home):
    write(home / "odd.jsonl", [{"question": "a", "answer": "b"}])
    told = pipeline(refused, "data.demonstrations=odd.jsonl")
    assert "odd.jsonl:1" in told
    assert "nearest: prompt + completion" in told


def test_a_prompt_longer_than_the_context_says_what_fits(refused):
    told = pipeline(refused, "generation.max_new_tokens=90")
    assert "the policy's context is 96" in told
    assert "generation.max_new_tokens to " in told


def test_rows_longer_than_their_limit_are_named(refused):
    told = pipeline(refused, "data.max_prompt_length=3")
    assert "prompts.jsonl:1" in told


def test_batch_sizes_that_do_not_divide(refused):
    told = pipeline(refused, "ppo.minibatch_size=5")
    assert told.endswith("nearest legal values: 5, 10")


def test_every_fault_of_the_settings_at_once(refused):
    told = pipeline(refused, "ppo.kl_ceof=1", "sft.batch_size=hello", "polcy.path=x")
    assert len(told.splitlines()) == 3
    assert "ppo.kl_ceof: unknown setting; nearest: ppo.kl_coef" in told


@pytest.mark.parametrize("argument", ["hello", "ppo.kl_coef=[1", "recipe=nonsense"])
def test_what_hydra_cannot_read_is_one_line(refused, argument):
    told = pipeline(refused, argument)
    assert len(told.splitlines()) == 1
    assert "HYDRA_FULL_ERROR" not in told
    assert argument.partition("=")[2] in told


def test_more_ranks_than_cores(refused):
    told = pipeline(refused, *ON_RAY, "cluster.policy.ranks=999")
    assert "cluster.policy.ranks=999 is more than the cluster's" in told
    assert "nearest plan that fits: cluster.policy.ranks=" in told


def test_a_cluster_that_does_not_answer(refused):
    told = pipeline(refused, *ON_RAY, "cluster.address=127.0.0.1:9")
    assert "cluster.address=127.0.0.1:9: no Ray cluster answers there" in told


def test_a_run_dir_of_another_run(home, rlhf):
    sft = ("sft", "run_dir=run", *FAST, SOURCES[0])
    assert rlhf(*sft).code == 0
    before = (home / "run/run.json").read_text()
    outcome = rlhf(*sft, "seed=9")
    assert outcome.code == 2
    assert "belongs to another run: differs in seed (0 there, 9 here)" in outcome.err
    assert (home / "run/run.json").read_text() == before


def test_a_run_dir_that_cannot_be_written(refused):
    assert "cannot be used" in pipeline(refused, "run_dir=prompts.jsonl/run")
    assert "is a file" in pipeline(refused, "run_dir=prompts.jsonl")


def test_a_folder_of_somebody_else(refused):
    assert "is no run's folder" in pipeline(refused, "run_dir=.")


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("nowhere.py:length", "there is no file"),
        ("reward.py:lenght", "nearest: length"),
        ("reward.py:number", "number is a int, not a function"),
        ("reward.py", "not of the form FILE.py:NAME"),
    ],
)
def test_a_reward_function_that_does_not_load(refused, model, function, told):
    assert told in ppo(refused, model, f"reward.function={function}")


@pytest.mark.parametrize(
    ("function", "told"),
    [
        ("raises", "raised KeyError: 'on purpose'"),
        ("short", "returned 1 scores for"),
        ("not_a_number", "score nan; every score must be a finite number"),
    ],
)
def test_a_reward_function_that_fails_in_use(rlhf, home, model, function, told):
    asked = (f"policy.path={model}", "data.prompts=prompts.jsonl")
    outcome = rlhf(
        "ppo", "run_dir=run", *ENGINE, *SMALL, *asked, f"reward.function=reward.py:{function}"
    )
    assert outcome.code == 2
    assert told in outcome.err
    assert len(outcome.err.splitlines()) == 1
    assert not (home / "run/policy").exists()


@pytest.mark.parametrize(
    "asked",
    [
        ("reward.function=reward.py:needs",),
        ("reward.sources=[{function: reward.py:length}, {function: reward.py:needs}]",),
        ("reward.function=reward.py:length", "evaluation.judge=reward.py:needs"),
    ],
)
def test_a_function_whose_argument_no_column_fills_is_refused_before_a_stage(refused, model, asked):
    # SFT and the reward model were trained first, and then PPO could not call it.
    told = ppo(refused, model, *asked)
    assert "reward.py:needs needs `nowhere`, no column of the prompts" in told


def test_no_reward_at_all(refused, model):
    assert ppo(refused, model).startswith("ppo has no reward")


JUDGED = "reward.function=reward.py:length"


def test_a_policy_that_is_nowhere(refused, model):
    told = ppo(refused, model, "policy.path=nowhere", JUDGED)
    assert told.startswith("nowhere: no tokenizer loads from it")


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        (("config.json",), "has no config.json"),
        (("model.safetensors",), "no weights (model.safetensors"),
    ],
)
def test_a_folder_that_is_no_whole_model(refused, model, home, gone, told):
    shutil.copytree(model, home / "broken")
    for name in gone:
        (home / "broken" / name).unlink()
    assert told in ppo(refused, model, "policy.path=broken", JUDGED)


def test_damaged_weights(refused, model, home):
    shutil.copytree(model, home / "broken")
    (home / "broken/model.safetensors").write_bytes(b"x" * 100)
    assert "model.safetensors is damaged" in ppo(refused, model, "policy.path=broken", JUDGED)


@pytest.mark.parametrize("role", ["reward_model", "value"])
def test_a_language_model_has_no_trained_score_head(refused, model, role):
    told = ppo(refused, model, f"{role}.path={model}", JUDGED)
    assert told.startswith(f"{model}: no trained score head")


@pytest.mark.parametrize("role", ["reference", "reward_model", "value"])
def test_a_model_of_another_role_that_is_nowhere(refused, model, role):
    assert ppo(refused, model, f"{role}.path=nowhere", JUDGED).startswith("nowhere: not a model")


def test_messages_without_a_chat_template(refused, model, home):
    shutil.copytree(model, home / "plain")
    (home / "plain/chat_template.jinja").unlink()
    write(home / "chat.jsonl", [{"prompt": [{"role": "user", "content": "hi"}]}])
    told = ppo(refused, model, "policy.path=plain", "data.prompts=chat.jsonl", JUDGED)
    assert "chat.jsonl:1: messages need a chat template" in told


def test_a_tokenizer_without_a_pad_token_is_no_obstacle(rlhf, model, home):
    shutil.copytree(model, home / "bare")
    settings = json.loads((home / "bare/tokenizer_config.json").read_text())
    settings.pop("pad_token")
    (home / "bare/tokenizer_config.json").write_text(json.dumps(settings))
    (home / "bare/rlhf_artifact.json").unlink()  # it is another model now
    assert AutoTokenizer.from_pretrained(home / "bare").pad_token is None
    asked = ("policy.path=bare", "data.prompts=prompts.jsonl", JUDGED)
    outcome = rlhf("ppo", "run_dir=run", *ENGINE, *SMALL, *asked)
    assert outcome.code == 0, outcome.err
    assert (home / "run/policy/config.json").is_file()


@pytest.mark.parametrize("judge", ["nonsense", "nowhere.py:length"])
def test_a_judge_that_does_not_load(refused, judge):
    assert judge in pipeline(refused, f"evaluation.judge={judge}")


def test_commands_that_need_a_run(refused):
    assert "holds no run" in refused("report", "run_dir=run")
    assert "has no finished policy" in refused("export", "run_dir=run")
    assert "evaluation.judge is not set" in refused("evaluate", "run_dir=run")


def test_export_never_writes_over_something(refused, model, home):
    run = model.parent
    shutil.copytree(model, run / "policy", dirs_exist_ok=True)
    for target in (model, "prompts.jsonl"):
        told = refused("export", f"run_dir={run}", f"export.path={target}")
        assert "is not an empty folder" in told


@pytest.mark.parametrize(("word", "near"), [("nonsense", ""), ("pipelin", "nearest: pipeline")])
def test_an_unknown_command(refused, word, near):
    told = refused(word)
    assert "there is no such command" in told
    assert near in told


@pytest.mark.slow
def test_wandb_that_cannot_be_reached_goes_on_offline(home):
    code = "import os, sys; from rlhf.cli.main import main; main(sys.argv[1:])"
    import os

    environment = {
        **os.environ,
        "WANDB_BASE_URL": "http://127.0.0.1:9",
        "WANDB_API_KEY": "0" * 40,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "sft",
            "run_dir=run",
            *FAST,
            SOURCES[0],
            "tracking.wandb=online",
        ],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "writing offline" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert list((home / "run/wandb").glob("offline-run-*"))

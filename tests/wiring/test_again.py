"""What is done again: a stage whose inputs changed, whatever they are, and no other."""

from __future__ import annotations

import shutil

import pytest

from tests.wiring import kit
from tests.wiring import plain_epochs as plain
from tests.wiring.table import BASES, HERE
from tests.wiring.test_figures import WHOLE, assert_same

DONE = "policy: already done"
PPO = (
    *HERE,
    *BASES["ppo"],
    "value.path=models/value",
    "ppo.rollout_batch_size=4",
    "ppo.num_epochs=1",
    "tracking.sample_prompts=0",
)


def same_name_other_weights(folder, kind):
    """Write another model in the place of the one that is there."""
    shutil.rmtree(folder)
    (kit.write_writer if kind == "sampler" else kit.write_scorer)(folder, seed=11)


CHANGES = {
    "policy": lambda home: same_name_other_weights(home / "models/policy", "sampler"),
    "reference": lambda home: same_name_other_weights(home / "models/reference", "sampler"),
    "reward model": lambda home: same_name_other_weights(home / "models/reward", "scorer"),
    "value": lambda home: same_name_other_weights(home / "models/value", "scorer"),
    "reward file": lambda home: edit(home / "reward.py", "% 13 / 6", "% 11 / 6"),
    "the ends of a response": lambda home: edit(
        home / "models/policy/generation_config.json",
        '"eos_token_id": 2',
        f'"eos_token_id": {list(range(2, 150))}',
    ),
    "prompts": lambda home: edit(home / "prompts.jsonl", "The ", "An "),
}


def edit(path, old, new):
    """Change a text file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.fixture(scope="module")
def finished(home):
    """A run of PPO that is done, in a working folder that may be copied."""
    ran = home.again("ppo", *PPO, within="finished")
    assert ran.code == 0, ran.err
    return home.folder


@pytest.fixture
def other(finished, tmp_path):
    """A copy of it that may be changed."""
    for name in ("models", "finished"):
        shutil.copytree(finished / name, tmp_path / name)
    for path in (finished / "reward.py", *finished.glob("*.jsonl")):
        shutil.copy(path, tmp_path)
    return kit.Home(tmp_path)


def test_nothing_is_done_again_where_nothing_changed(other):
    ran = other.again("ppo", *PPO, within="finished")
    assert ran.code == 0 and DONE in ran.out


def test_ppo_is_done_again_when_a_file_that_the_reward_file_imports_changed(other):
    marks = other.folder / "marks.py"
    marks.write_text("SCALE = 1.0")
    (other.folder / "own.py").write_text(
        "import marks\ndef score(completions): return [len(c) * marks.SCALE for c in completions]"
    )
    asked = (*PPO, "reward.function=own.py:score", "evaluation.judge=own.py:score")
    first = other.again("ppo", *asked, within="marked")
    assert first.code == 0, first.err
    edit(marks, "1.0", "-1.0")
    again = other.again("ppo", *asked, within="marked")
    assert again.code == 0 and DONE not in again.out
    assert "evaluation: already done" not in again.out


def test_the_evaluation_alone_is_done_again_when_the_judge_changed(other):
    judge = other.folder / "judge.py"
    judge.write_text("def score(completions): return [float(len(c)) for c in completions]")
    asked = (*PPO, "evaluation.judge=judge.py:score", "evaluation.num_prompts=3")
    first = other.again("ppo", *asked, within="judged")
    assert first.code == 0, first.err
    before = first.json("evaluation.json")
    assert "evaluation: already done" in other.again("ppo", *asked, within="judged").out
    edit(judge, "float(len(c))", "-float(len(c))")
    again = other.again("ppo", *asked, within="judged")
    assert again.code == 0 and DONE in again.out
    assert "evaluation: already done" not in again.out
    after = again.json("evaluation.json")
    for side in ("candidate", "baseline"):
        assert before[side]["mean_score"] > 0
        assert after[side]["mean_score"] == pytest.approx(-before[side]["mean_score"])
    assert after["win_rate"] == pytest.approx(1 - before["win_rate"])


@pytest.mark.parametrize("what", CHANGES)
def test_ppo_is_done_again_when_what_it_was_made_of_changed(other, what):
    before = kit.seen(kit.Ran(other.folder / "finished", 0, "", ""))
    CHANGES[what](other.folder)
    ran = other.again("ppo", *PPO, within="finished")
    assert ran.code == 0, ran.err
    assert DONE not in ran.out
    assert "policy" in kit.changed(before, kit.seen(ran))


LATER = {
    "a later reward model": lambda home: same_name_other_weights(
        home / "models/other_words", "scorer"
    ),
    "a later reward file": lambda home: edit(home / "later.py", "1.0", "-1.0"),
    "no source": lambda home: None,
}


@pytest.mark.parametrize("what", LATER)
def test_each_source_of_a_list_counts(other, what):
    (other.folder / "later.py").write_text(
        "def f(completions): return [1.0 * len(c) for c in completions]"
    )
    asked = (
        *(word for word in PPO if not word.startswith(("reward", "value.path"))),
        "reward.sources=[{model: models/reward},{function: reward.py:letters},"
        "{model: models/other_words},{function: later.py:f}]",
    )
    first = other.again("ppo", *asked, within="listed")
    assert first.code == 0, first.err
    LATER[what](other.folder)
    ran = other.again("ppo", *asked, within="listed")
    assert ran.code == 0, ran.err
    assert (DONE in ran.out) == (what == "no source")


def test_what_is_shown_of_the_start_is_not_that_of_an_earlier_one(other):
    sampled = [word for word in PPO if not word.startswith("tracking.sample")]
    shown = (*sampled, "tracking.sample_prompts=3")
    first = other.again("ppo", *shown, within="shown").samples("sft")
    same_name_other_weights(other.folder / "models/policy", "sampler")
    again = other.again("ppo", *shown, within="shown").samples("sft")
    fresh = other.again("ppo", *shown, within="fresh").samples("sft")
    assert [row["response"] for row in first] != [row["response"] for row in again]
    assert again == fresh


def test_a_judgement_of_a_policy_that_is_no_more_is_gone(other):
    (other.folder / "finished/evaluation.json").write_text("{}")
    edit(other.folder / "reward.py", "% 13 / 6", "% 11 / 6")
    assert other.again("ppo", *PPO, within="finished").code == 0
    assert not (other.folder / "finished/evaluation.json").exists()


def test_evaluate_compares_policy_with_sft_where_no_folder_is_named(home, tmp_path):
    whole = home.run("pipeline", *WHOLE)
    shutil.copytree(whole.folder, home.folder / "copied")
    (home.folder / "copied/evaluation.json").unlink()
    asked = (*HERE, "data.prompts=prompts.jsonl", "generation.max_new_tokens=6")
    judged = ("evaluation.judge=reward.py:wanted", "evaluation.num_prompts=4")
    ran = home.again("evaluate", *asked, *judged, within="copied")
    assert ran.code == 0, ran.err
    config = {
        "seed": 0,
        "data": {"prompts": "prompts.jsonl", "validation_fraction": 0.2, "test_fraction": 0.2},
        "generation": {"max_new_tokens": 6, "temperature": 0.9},  # as the run drew
        "evaluation": {"judge": "reward.py:wanted", "num_prompts": 4, "samples_per_prompt": 1},
    }
    folders = {"candidate": whole.folder / "policy", "baseline": whole.folder / "sft"}
    got = kit.figures(ran.json("evaluation.json"))
    assert_same(got, plain.evaluation(home.folder, config, folders))


def test_the_answers_shown_of_an_averaged_policy_are_those_of_its_folder(home):
    rates = ("policy.optimizer.lr=5e-2", "policy.optimizer.warmup_steps=0")
    base = (*HERE, *BASES["ppo"], *rates, "tracking.sample_prompts=6")
    ran = home.run("ppo", *base, "ppo.ema_decay=0.9")
    assert ran.code == 0, ran.err
    config = ran.json("manifest.json")["config"]
    asked = plain.asked_of(plain.rows_of(home.folder, config, "prompts"), 6)
    shown = [sample["response"] for sample in ran.samples("ppo")]
    found = plain.answers(ran.folder / "policy", config, asked)
    assert shown == [answer["text"].strip() for answer in found]
    last = [sample["response"] for sample in home.run("ppo", *base).samples("ppo")]
    assert shown != last


def test_a_run_that_broke_and_went_on_is_the_run_that_did_not(home):
    # correctness 66: weights, moments, schedules, KL coefficient, score scale and average.
    base = [word for word in BASES["ppo"] if not word.startswith(("ppo.num_steps", "reward"))]
    settings = (
        *HERE,
        *base,
        "ppo.num_steps=7",
        "ppo.num_epochs=1",
        "ppo.kl_target=0.2",
        "ppo.kl_horizon=50",
        "ppo.scale_scores=true",
        "ppo.ema_decay=0.5",
        "checkpoint.every=2",
    )
    own = "reward.sources=[{{function: reward.py:{}, name: own}}]"
    whole = home.run("ppo", *settings, own.format("letters"))
    breaking = (*settings, own.format("breaks"))
    broken = home.again("ppo", *breaking, within="broken")
    assert (whole.code, broken.code) == (0, 2), whole.err
    assert len(broken.steps("ppo")) == 4
    ran = home.again("ppo", *breaking, within="broken")
    assert ran.code == 0, ran.err
    assert "going on from step 4" in ran.out
    assert kit.changed(kit.seen(whole), kit.seen(ran)) == set()
    coefs = {step["objective/kl_coef"] for step in ran.steps("ppo")}
    assert len(coefs) == 7


@pytest.mark.parametrize("command", ["sft", "reward_model", "ppo", "evaluate"])
def test_every_command_tells_the_precision_and_why(home, command):
    judged = ("evaluation.judge=reward.py:length", "evaluation.num_prompts=2")
    folders = ("evaluation.candidate=models/policy", "evaluation.baseline=models/policy")
    asked = (*BASES["ppo"], *judged, *folders) if command == "evaluate" else BASES[command]
    here = [word for word in HERE if not word.startswith("engine.precision")]
    ran = home.again(command, *here, *asked, within=f"told_{command}")
    assert ran.code == 0, ran.err
    assert ran.out.count("precision: fp32 (engine.precision=auto: ") == 1
    assert "weights are few" in ran.out

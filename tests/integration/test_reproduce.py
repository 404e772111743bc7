"""A finished run comes out the same again, bit by bit; anything else is told before or after."""

from __future__ import annotations

import json
import shutil

import pytest

from tests.integration.conftest import FAST, SOURCES, contents, finished, metrics, write

JUDGED = "evaluation.judge=reward.py:length"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """One finished pipeline, in its working folder."""
    home = tmp_path_factory.mktemp("whole")
    return finished(home, "pipeline", "run_dir=run", *FAST, *SOURCES, JUDGED)


@pytest.fixture
def there(whole, tmp_path, monkeypatch):
    """A copy of it all, to be worked in and spoiled."""
    home = shutil.copytree(whole, tmp_path / "home")
    monkeypatch.chdir(home)
    return home


def test_it_is_the_same_to_the_last_bit_and_says_what_is_not(there, rlhf):
    outcome = rlhf("reproduce", "run")
    assert outcome.code == 0, outcome.err
    assert "settings, versions, code and hardware are those of the run" in outcome.out
    assert "identical" in outcome.out
    assert "DIFFERS" not in outcome.out
    assert metrics(there / "run-reproduced") == metrics(there / "run")
    weights = "model.safetensors"
    for name in ("start", "sft", "reward_model", "policy", "value"):
        made, was = contents(there / "run-reproduced" / name), contents(there / "run" / name)
        assert made[weights] == was[weights], name
    result = json.loads((there / "run-reproduced/reproduction.json").read_text())
    assert (result["of"], result["is_equal"], result["changed"]) == ("run", True, [])
    assert len(result["compared"]) > 40
    manifest = json.loads((there / "run-reproduced/manifest.json").read_text())
    assert manifest["command"] == "rlhf reproduce run"
    assert list(manifest["settings_of"]) == ["pipeline"]
    again = rlhf("reproduce", "run")
    assert again.code == 2
    assert "already holds a reproduction" in again.err


def test_another_seed_comes_out_different(there, rlhf):
    outcome = rlhf("reproduce", "run", "seed=1", "run_dir=other")
    assert outcome.code == 4
    assert "differs now: settings.seed=1" in outcome.out
    assert "DIFFERS" in outcome.out
    assert "other did not reproduce run" in outcome.err
    assert json.loads((there / "other/reproduction.json").read_text())["is_equal"] is False


def test_changed_data_are_refused_and_moved_data_are_not(there, rlhf):
    shutil.copy("prompts.jsonl", "moved.jsonl")
    rows = [json.loads(line) for line in (there / "prompts.jsonl").open()]
    write(there / "prompts.jsonl", [*rows[:-1], {**rows[-1], "prompt": "another row"}])
    outcome = rlhf("reproduce", "run")
    assert outcome.code == 2
    assert "prompts.jsonl: sha256" in outcome.err
    assert not (there / "run-reproduced").exists()
    moved = rlhf("reproduce", "run", "data.prompts=moved.jsonl", "reward.function=nowhere.py:f")
    assert "sha256" not in moved.err
    assert "nowhere.py" in moved.err


def test_what_has_changed_around_the_run_is_told_first(there, rlhf):
    path = there / "run/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["versions"]["torch"] = "1.0"
    manifest["machine"]["cores"] = 512
    manifest["source"]["commit"] = "0" * 40
    manifest["machine"]["host"] = "another"
    path.write_text(json.dumps(manifest))
    outcome = rlhf("reproduce", "run", "ppo.num_steps=0x")
    assert outcome.code == 2
    assert "ppo.num_steps=0x" in outcome.err
    outcome = rlhf("reproduce", "run", "reward.function=nowhere.py:f")
    assert outcome.code == 2
    lines = [line for line in outcome.out.splitlines() if line.startswith("differs now: ")]
    assert [line.split()[2] for line in lines] == [
        "versions.torch",
        "source.commit",
        "machine.cores",
        "settings.reward.function=nowhere.py:f",
    ]


def test_stages_run_one_by_one_are_run_again_one_by_one(home, rlhf):
    small = (*FAST, "data.demonstrations=demonstrations.jsonl", "run_dir=run")
    assert rlhf("sft", *small).code == 0
    ppo = ("data.prompts=prompts.jsonl", "reward.function=reward.py:length")
    assert rlhf("ppo", *small, *ppo).code == 0
    outcome = rlhf("reproduce", "run")
    assert outcome.code == 0, outcome.err
    assert metrics(home / "run-reproduced") == metrics(home / "run")
    assert (home / "run-reproduced/sft/model.safetensors").is_file()


def test_a_folder_may_be_named_after_its_settings(there, rlhf):
    (there / "ppo.kl_coef=0.1").mkdir()
    assert "kl_coef=0.1 has no manifest.json" in rlhf("reproduce", "ppo.kl_coef=0.1").err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "name the folder of a finished run: rlhf reproduce RUN [KEY=VALUE ...]"),
        (("run_dir=run",), "name the folder"),
        (("nowhere",), "nowhere has no manifest.json"),
        (("run", "run_dir=run"), "run_dir=run is the run itself"),
        (("run", "-m"), "-m: not a setting"),
        (("run", "ppo.kl_cof=1"), "nearest: ppo.kl_coef"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(there, rlhf, arguments, said):
    outcome = rlhf("reproduce", *arguments)
    assert outcome.code == 2
    assert said in outcome.err


def test_an_unfinished_run_is_refused(there, rlhf):
    path = there / "run/manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["stages"]["ppo"]
    path.write_text(json.dumps(manifest))
    outcome = rlhf("reproduce", "run")
    assert (outcome.code, "run is not finished: ppo never ended" in outcome.err) == (2, True)


def test_help_tells_its_exit_codes(rlhf):
    outcome = rlhf("reproduce", "--help")
    assert outcome.code == 0
    assert "usage: rlhf reproduce RUN [KEY=VALUE ...]" in outcome.out

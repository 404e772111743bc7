"""`rlhf data`: what is shown is what training gets; all that is wrong is told, nothing written."""

from __future__ import annotations

import csv
import json

import pytest

from rlhf.catalog.stages import SFT
from rlhf.cli.main import main
from rlhf.stages.inputs import load_inputs
from tests import models

HELP_DESK = [
    (101, "How do I reset my password?", "Open Settings and choose Reset."),
    (102, "My screen flickers", "Update the driver, then restart."),
    (103, "Where is my invoice?", "Under Billing."),
    (104, "The VPN drops every hour", "Switch to the cable and try again."),
]
COLUMNS = "data.columns={prompt: question, completion: answer}"
WHOLE = ("data.validation_fraction=0", "data.test_fraction=0")


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with the CSV export of a help desk, where the command is called."""
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "tickets.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["ticket", "question", "answer"])
        rows.writerows(HELP_DESK)
    models.write(models.causal("llama"), tmp_path / "model")
    return tmp_path


def run(capsys, *settings):
    with pytest.raises(SystemExit) as ended:
        main(["data", *settings])
    told = capsys.readouterr()
    return ended.value.code, told.out, told.err


def test_the_first_try_with_an_export_names_the_setting_that_reads_it(desk, capsys):
    code, _, err = run(capsys, "data.demonstrations=tickets.csv", "policy.path=model")
    assert code == 2
    assert "such as 'data.columns={prompt: question, completion: answer}'" in err
    code, out, err = run(capsys, "data.demonstrations=tickets.csv", COLUMNS, *WHOLE)
    assert (code, err) == (0, "")
    assert "no policy.path, so these are tokens and template of a new model" in out
    assert "How do I reset my password?\u27e6Open Settings and choose Reset.<|eos|>\u27e7" in out
    assert "columns that are not read: ticket" in out
    assert "4 rows to train on" in out


def test_what_is_shown_as_learned_is_the_mask_that_training_reads(desk, capsys):
    asked = ("data.demonstrations=tickets.csv", "policy.path=model", COLUMNS, *WHOLE)
    code, out, _ = run(capsys, *asked, "preview.format=json", "preview.rows=9")
    assert code == 0
    found = json.loads(out)
    (kind,) = found["kinds"]
    data = {"demonstrations": "tickets.csv", "validation_fraction": 0.0, "test_fraction": 0.0}
    columns = {"prompt": "question", "completion": "answer"}
    experiment = models.experiment(policy={"path": "model"}, data={**data, "columns": columns})
    inputs = load_inputs(experiment, [SFT], "model")
    assert inputs.demonstrations is not None
    train = inputs.demonstrations.train
    for row, ids, mask in zip(kind["rows"], train.tokens_BT, train.loss_mask_BT, strict=True):
        ((_, segments),) = row["parts"]
        shown = "".join(segment["text"] for segment in segments if segment["learned"])
        assert shown == inputs.tokenizer.decode(ids[mask].tolist())
    assert kind["tokens"]["learned"] == int(train.loss_mask_BT.sum())
    assert kind["tokens"]["read"] == int(train.lengths_B.sum())
    assert {stage for stage, _, _ in found["cost"]} == {"sft"}


def test_everything_wrong_of_every_kind_is_told_and_what_is_sound_is_shown(desk, capsys):
    (desk / "bad.jsonl").write_text(
        '{"prompt": "a", "completion": ""}\n{"prompt": "b ", "completion": "c"}\n'
    )
    (desk / "pairs.csv").write_text("prompt,chosen,rejected\na,b,b\n")
    (desk / "prompts.jsonl").write_bytes(b"\xff\xfe\n")
    code, out, err = run(
        capsys,
        "data.demonstrations=bad.jsonl",
        "data.preferences=pairs.csv",
        "data.prompts=prompts.jsonl",
        "data.pretraining=none.txt",
        "policy.path=model",
        "reward_model.path=./nowhere",
        "reward.function=none.py:f",
    )
    assert code == 2
    for line in (
        "./nowhere: there is no such folder",
        "bad.jsonl:1: completion is empty",
        "pairs.csv:2: chosen equals rejected",
        "prompts.jsonl: not UTF-8",
        "none.txt: no such file",
        "none.py",
    ):
        assert line in err
    assert "Traceback" not in err
    assert "1 row to train on, without those that would stop training" in out
    assert "left out" not in out


def test_a_model_that_is_not_there_hides_no_bad_row(desk, capsys):
    (desk / "bad.jsonl").write_text('{"prompt": "a", "completion": ""}\n')
    code, _, err = run(capsys, "data.demonstrations=bad.jsonl", "policy.path=./nowhere")
    assert code == 2
    assert "bad.jsonl:1: completion is empty" in err
    assert err.count("nowhere") == 1


def test_prompts_too_long_for_the_model_are_refused(desk, capsys):
    (desk / "p.jsonl").write_text(json.dumps({"prompt": "film " * 30}) + "\n")
    code, out, err = run(
        capsys, "data.prompts=p.jsonl", "policy.path=model", "generation.max_new_tokens=60"
    )
    assert code == 2
    assert "the policy's context is 64" in err
    assert "\u2192 the answer" in out


def test_without_a_policy_no_row_is_refused_for_its_length(desk, capsys):
    asked = ("data.demonstrations=tickets.csv", COLUMNS, *WHOLE, "data.max_length=14")
    code, out, _ = run(capsys, *asked)
    assert code == 0
    assert "rows of more than data.max_length=14 tokens left out: tickets.csv:2 (" in out
    code, _, err = run(capsys, *asked, "policy.path=model")
    assert code == 2
    assert "tokens, 14 allowed" in err


def test_no_data_is_a_mistake_and_a_look_leaves_nothing_behind(desk, capsys):
    code, _, err = run(capsys)
    assert code == 2
    assert "no data is given" in err
    before = sorted(path.name for path in desk.iterdir())
    run(capsys, "data.demonstrations=tickets.csv", COLUMNS, "run_dir=runs/mine")
    assert sorted(path.name for path in desk.iterdir()) == before

"""Runs the copy's DPO as a user would: to the end, interrupted and resumed, again, reported."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import rlhf
from tests.wiring import kit

ASKED = (
    "cluster.backend=in_process",
    "engine.backend=torch",
    "policy.path=models/policy",
    "data.preferences=preferences.jsonl",
    "data.validation_fraction=0",
    "data.test_fraction=0",
    "dpo.batch_size=40",
    "dpo.num_epochs=3",
    "dpo.beta=0.3",
    "dpo.optimizer.lr=1e-3",
)


def main(folder: Path) -> None:
    """Run in a new folder; fail where something is not as it should be."""
    folder.mkdir()
    kit.write_rows(folder)
    for name, seed in (("policy", 0), ("reference", 7)):
        kit.write_writer(folder / "models" / name, seed=seed)
    home = kit.Home(folder)
    whole = home.run("dpo", *ASKED, within="whole")
    assert whole.code == 0, whole.err
    steps = whole.steps("dpo")
    assert math.isclose(steps[0]["loss/train"], math.log(2), rel_tol=1e-5)
    assert steps[-1]["loss/train"] < steps[0]["loss/train"] and steps[-1]["margin"] > 0
    report = (whole.folder / "report.html").read_text(encoding="utf-8")
    assert "Direct preference optimization" in report and "Margin" in report
    again = home.again("dpo", *ASKED, within="whole")
    assert again.code == 0 and "dpo: already done" in again.out + again.err

    os.chdir(folder)
    config = rlhf.load_config("dpo", [*ASKED, "run_dir=halted", "checkpoint.every=1"])
    for step in rlhf.steps(config):
        if step.step == 1:
            break
    assert not Path("halted/dpo").exists()
    halted = home.again("dpo", *ASKED, "checkpoint.every=1", within="halted")
    assert halted.code == 0, halted.err
    assert halted.steps("dpo") == steps and "going on from step" in halted.out + halted.err
    for name, tensor in whole.weights("dpo").items():
        assert torch.equal(tensor, halted.weights("dpo")[name]), name

    other = home.run("dpo", *ASKED, "reference.path=models/reference", "dpo.num_epochs=0.1")
    assert other.code == 0, other.err
    found = other.steps("dpo")[0]["loss/train"]
    assert math.isclose(found, plain_loss(folder), rel_tol=1e-4), (found, plain_loss(folder))
    print("right")


@torch.no_grad()
def plain_loss(folder: Path, beta: float = 0.3) -> float:
    """Return eq. 7 over all rows, by transformers alone, the answers' tokens only."""
    tokenizer = AutoTokenizer.from_pretrained(folder / "models/policy")
    networks = [
        AutoModelForCausalLM.from_pretrained(folder / "models" / name).eval()
        for name in ("policy", "reference")
    ]
    losses: list[float] = []
    for line in (folder / "preferences.jsonl").open(encoding="utf-8"):
        row, ratios = json.loads(line), list[float]()
        for answer in ("chosen", "rejected"):
            prompt = tokenizer(row["prompt"])["input_ids"]
            said_ids = tokenizer(row[answer], add_special_tokens=False)["input_ids"]
            ids = [*prompt, *said_ids, tokenizer.eos_token_id]
            said = [n(torch.tensor([ids])).logits[0].log_softmax(-1) for n in networks]
            places = range(len(prompt), len(ids))
            policy, reference = (sum(float(s[t - 1, ids[t]]) for t in places) for s in said)
            ratios.append(policy - reference)
        losses.append(math.log1p(math.exp(-beta * (ratios[0] - ratios[1]))))
    return sum(losses) / len(losses)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

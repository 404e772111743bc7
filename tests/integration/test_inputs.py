"""What a user asks for is what the run says and does, through the public command."""

from __future__ import annotations

import json

import pytest

from tests.integration.conftest import ENGINE, SMALL, finished
from tests.pdf import FIGURE, pdf

PPO = ("data.prompts=prompts.jsonl", "reward.function=reward.py:length", *ENGINE, *SMALL)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A policy folder, made by the SFT command."""
    from tests.integration.conftest import FAST, SOURCES

    asked = ("sft", "run_dir=run", *FAST, SOURCES[0], "sft.num_epochs=0.2")
    return finished(tmp_path_factory.mktemp("model"), *asked) / "run" / "sft"


def series(run, name: str) -> list[float]:
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [row["metrics"][name] for row in rows if row["stage"] == "ppo"]


def test_warm_up_is_counted_in_steps_of_ppo(rlhf, home, model):
    asked = [f"policy.path={model}", "policy.optimizer.warmup_steps=2"]
    asked += ["value.optimizer.warmup_steps=1", "value.optimizer.schedule=linear"]
    outcome = rlhf("ppo", "run_dir=run", *PPO, *asked)
    assert outcome.code == 0, outcome.err
    # Four updates a step. The policy rises over eight updates; the value over four, and falls to 0
    # over the eight that are left.
    assert series(home / "run", "lr") == pytest.approx([1e-4 * x for x in (2.5 / 8, 6.5 / 8, 1)])
    falling = [1e-3 * sum(1 - u / 8 for u in range(at, at + 4)) / 4 for at in (0, 4)]
    assert series(home / "run", "value/lr") == pytest.approx([1e-3 * 2.5 / 4, *falling])
    assert "warm-up of the policy" in outcome.out


def test_a_folder_of_manuals_is_learned_and_what_is_not_read_is_told(rlhf, home, model):
    pytest.importorskip("pypdf", reason="requirements.lock has it; make .venv")
    (home / "manuals").mkdir()
    lines = [f"The film number {n} was good." for n in range(30)]
    (home / "manuals/a.pdf").write_bytes(pdf(lines, FIGURE))
    (home / "manuals/b.md").write_text("\n".join(lines).replace("good", "bad"))
    (home / "manuals/c.png").write_bytes(b"\x89PNG")
    asked = (f"policy.path={model}", "data.demonstrations=manuals", "data.max_length=64")
    outcome = rlhf("sft", "run_dir=run", *ENGINE, *SMALL, *asked)
    assert outcome.code == 0, outcome.err
    said = " ".join((outcome.out + outcome.err).split())
    assert "other files there are not read: c.png" in said
    assert "1 of its 2 pages has no text" in said
    assert "none of 2 documents" in said
    manifest = json.loads((home / "run/manifest.json").read_text())
    assert manifest["stages"]["sft"]["rows"] == manifest["data"]["manuals"]["rows"] > 10

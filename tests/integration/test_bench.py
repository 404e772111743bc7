"""Every benchmark script runs to its JSON line, on toy models; what it measures is not judged."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench import (
    attention,
    gpu,
    memory,
    orchestrator,
    ppo_vs_trl,
    rollout,
    rounding,
    scaling,
    update,
)
from bench.kit import SHAPES, alternate, medians, ratio
from bench.roles import Work, write_models
from rlhf.models.pretrained import load_causal_lm

ROOT = Path(__file__).resolve().parents[2]
PLACE = {"processor", "cores", "threads", "load_average", "python", "torch", "transformers"}
FIGURES = {"settings", "samples", "medians", "ratio"}


@pytest.fixture(autouse=True)
def threads():
    """Scripts set how many threads torch has; the other tests keep theirs."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("lengths", ["skewed", "equal"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_rollouts(lengths, precision):
    found = json.loads(rollout.main(["6M", lengths, precision, "--tiny", "--rounds=2"]))
    assert found.keys() >= PLACE | FIGURES | {"mean_length"}
    sides = {"continuous", "padded", "transformers"}
    sides |= {"padded_fp32"} if precision == "bf16" else set()
    assert found["samples"].keys() == found["medians"].keys() == sides
    assert all(len(turns) == 2 for turns in found["samples"].values())
    longest = found["settings"]["longest"]
    lengths_of = found["mean_length"].values()
    if lengths == "equal":
        assert set(lengths_of) == {longest}
    else:
        assert all(1 <= length < longest for length in lengths_of)


def test_rounding_holds_both_ways_of_bf16_against_fp32():
    found = json.loads(rounding.main(["--tiny"]))
    for side in ("ours", "plain"):
        assert found[side]["tokens"] > 0
        assert 0 <= found[side]["sampler"]["k3"] < 0.1
        assert set(found[side]) == {"tokens", "sampler", "one_row_at_a_time", "fp32"}


def test_attention_of_short_rows():
    found = json.loads(attention.main(["--tiny", "--rounds=1"]))
    assert found.keys() >= PLACE | FIGURES
    assert found["samples"].keys() == {"narrow_64", "wide_64"}


def test_the_driver_alone():
    found = json.loads(orchestrator.main(["--tiny"]))
    assert found["points"].keys() == {"4x64", "4x128"}
    for point in found["points"].values():
        assert point["driver_us_a_row"] > 0
        # A row of the longest width is 0.8 KB of ids; ids, scores and experience pass the driver.
        assert 1 < point["handed_kb_a_row"] < 20


def test_ppo_steps_against_trl():
    found = json.loads(ppo_vs_trl.main(["alone", "fp32", "--tiny", "--rounds=1"]))
    assert found.keys() >= PLACE | FIGURES | {"trl", "ray", "deepspeed", "eos_rate"}
    assert found["medians"].keys() == {"trl_1_threads", "trl_2_threads", "rlhf_alone"}
    assert all(len(turns) == 1 for turns in found["samples"].values())
    assert found["ratio"]["best_to_best"] > 0


def test_the_stop_is_as_likely_as_said_and_padding_is_not_written(tmp_path):
    work = Work(shape=SHAPES["6M"])
    network = load_causal_lm(str(write_models(tmp_path, work).policy))
    tokens_BT = torch.randint(3, 4096, (32, 32), generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        probs_BTV = network(input_ids=tokens_BT).logits.softmax(-1)
    stop, pad = network.config.eos_token_id, network.config.pad_token_id
    assert probs_BTV[..., stop].mean().item() == pytest.approx(3 / work.longest, rel=0.15)
    assert probs_BTV[..., pad].max() < 1e-6


def test_cost_against_rows():
    found = json.loads(scaling.main(["rows", "--tiny"]))
    assert found.keys() >= PLACE | FIGURES | {"what", "num_tokens"}
    assert found["ratio"].keys() == {"rollout", "score", "update"}
    for ratios in found["ratio"].values():
        assert ratios.keys() == {"x1", "x2", "x4", "x8"}
        assert ratios["x1"] == 1.0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_updates_of_packed_and_padded_rows(precision):
    found = json.loads(update.main(["6M", precision, "--tiny", "--rounds=2"]))
    assert found.keys() >= PLACE | FIGURES
    for samples in found["samples"].values():
        assert samples.keys() == {"padded", "packed"}
    assert found["padding_share"]["packed"] < found["padding_share"]["padded"]


def test_memory_of_one_point():
    found = json.loads(memory.main(["--point=512,8"]))
    assert found["before_mib"] <= found["scored_mib"] <= found["peak_mib"]
    assert found["growth_mib"] == found["peak_mib"] - found["before_mib"]


def test_memory_in_processes_of_their_own():
    found = json.loads(memory.main(["--tiny"]))
    assert found.keys() >= PLACE | FIGURES
    assert [(p["vocabulary"], p["rows"]) for p in found["samples"]] == [(512, 4)]


def test_gpu_parts_on_toy_shapes():
    found = json.loads(gpu.main(["--tiny"]))
    assert found.keys() >= PLACE | {"device", "settings", "decode", "rollout", "update"}
    assert found["decode"]["rows"].keys() == {"2", "3"}
    shares = found["decode"]["rows"]["3"]["share_of_copy"]
    assert shares.keys() == {"step", "step_and_draw", "sample"}
    assert found["rollout"]["ratio"]["to_padded"] > 0
    assert 0 < found["update"]["share_of_matmul"] < 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_gpu_refuses_a_cpu_with_one_line():
    command = [sys.executable, "bench/gpu.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "CUDA" in done.stderr


def test_sides_take_turns_and_ratios_are_of_pairs():
    asked = []

    def side(name, work):
        def run(number):
            asked.append((name, number))
            return work

        return run

    samples = alternate({"one": side("one", 6.0), "two": side("two", 3.0)}, 2)
    assert asked == [("one", 0), ("two", 0), ("two", 1), ("one", 1)]
    for turns in samples.values():
        for turn, seconds in zip(turns, (1.0, 2.0), strict=True):
            turn["seconds"] = seconds
    assert medians(samples) == {"one": 4.5, "two": 2.25}
    assert ratio(samples, "one", "two") == 2.0


def test_every_script_has_a_row_in_the_readme():
    text = (ROOT / "bench" / "README.md").read_text(encoding="utf-8")
    rows = set(re.findall(r"^\| `(\w+\.py)", text, re.MULTILINE))
    scripts = {
        path.name for path in (ROOT / "bench").glob("*.py") if "__main__" in path.read_text()
    }
    assert scripts <= rows

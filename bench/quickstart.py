"""The quickstart, measured: `python bench/quickstart.py SEED ...` prints one JSON line a seed.

Each run starts from nothing but the cached data, in a fresh folder, as `make run` does after its
install. Figures are read from the run's own files.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("torch", "transformers", "deepspeed", "ray")


def measure(seed: int) -> dict[str, object]:
    """Run the quickstart with one seed; return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "rlhf", "pipeline", "recipe=quickstart"]
        began = time.monotonic()
        subprocess.run([*command, f"seed={seed}", f"run_dir={run}"], check=True, stdout=sys.stderr)
        return {"seed": seed, "seconds": round(time.monotonic() - began, 1), **figures(run)}


def figures(run: Path) -> dict[str, object]:
    """Return what a finished run says of itself."""
    judged = json.loads((run / "evaluation.json").read_text())
    reward_model = json.loads((run / "reward_model.json").read_text())
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = [step["metrics"] for step in steps if step["stage"] == "ppo"][-1]
    before, after = judged["baseline"], judged["candidate"]
    return {
        "win_rate": round(judged["win_rate"], 3),
        "interval": [round(edge, 3) for edge in judged["interval"]],
        "prompts": judged["num_prompts"],
        "answers": judged["num_answers"],
        "judge_pair_accuracy": round(judged["judge_agreement"]["pair_accuracy"], 3),
        "judge_score": [round(before["mean_score"], 2), round(after["mean_score"], 2)],
        "mean_length": [round(before["mean_length"], 1), round(after["mean_length"], 1)],
        "distinct_2": [round(before["distinct_2"], 2), round(after["distinct_2"], 2)],
        "reward_model_accuracy": round(reward_model["accuracy"], 3),
        "reward_model_calibration_error": round(reward_model["calibration_error"], 3),
        "kl_nats": round(last["objective/kl"], 2),
        "stages": json.loads((run / "manifest.json").read_text())["stages"],
    }


def machine() -> dict[str, object]:
    """Return where the figures come from."""
    return {
        "processor": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


if __name__ == "__main__":
    for seed in [int(word) for word in sys.argv[1:]] or [0]:
        print(json.dumps({**machine(), **measure(seed)}), flush=True)

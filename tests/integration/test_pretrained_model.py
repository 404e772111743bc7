"""PPO on real pretrained weights: SmolLM2-135M, whose activations no random model has.

One step each, all weights and LoRA, fp32 and bf16, in this process and on Ray with DeepSpeed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlhf.data.tokenizer import load_tokenizer
from rlhf.engine.precision import multiplies_bf16
from rlhf.models.pretrained import load_gguf, save_network
from rlhf.plugin import fetched
from tests.integration.conftest import ENGINE, finished, metrics

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
QUESTIONS = ("What is the capital of France?", "Name three colours.", "Tell me a joke about a cat.")
SHORT = (
    "ppo.num_steps=1",
    "ppo.rollout_batch_size=6",
    "ppo.minibatch_size=3",
    "ppo.num_epochs=1",
    "generation.max_new_tokens=12",
    "tracking.sample_prompts=1",
    "data.validation_fraction=0.0",
    "data.test_fraction=0.2",
)
KINDS = [
    pytest.param("none", "fp32", id="all_fp32"),
    pytest.param("none", "bf16", id="all_bf16"),
    pytest.param("lora", "fp32", id="lora_fp32"),
    pytest.param("lora", "bf16", id="lora_bf16"),
]


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory) -> str:
    """The packaged GGUF file as an ordinary folder, unpacked once for all runs."""
    file = Path(fetched("packaged:smollm2"))
    folder = tmp_path_factory.mktemp("smollm2")
    save_network(load_gguf(file), folder, load_tokenizer(str(file)))
    return str(folder)


def arguments(model: str, home: Path, method: str, precision: str) -> list[str]:
    lines = [
        json.dumps({"prompt": [{"role": "user", "content": f"{question} ({number})"}]})
        for number in range(8)
        for question in QUESTIONS
    ]
    (home / "questions.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (home / "pays.py").write_text(
        "def commas(completions, **columns):\n"
        "    return [float(c[0]['content'].count(' ')) for c in completions]\n",
        encoding="utf-8",
    )
    reward = "reward.function=pays.py:commas"
    sources = ["data.prompts=questions.jsonl", "run_dir=run", reward]
    kind = [f"peft={method}", f"engine.precision={precision}"]
    return ["ppo", f"policy.path={model}", *sources, *SHORT, *kind]


def check(run: Path, precision: str) -> None:
    (step,) = metrics(run)
    assert step["policy/ratio_first_max_error"] == 0, "bit for bit, in bf16 as well"
    assert step["objective/kl"] == 0
    assert step["sampling/k3_mean"] < {"fp32": 1e-7, "bf16": 1e-3}[precision]
    assert step["policy/num_updates"] == 2
    assert (run / "policy" / "model.safetensors").is_file()


@pytest.mark.parametrize(("method", "precision"), KINDS)
def test_a_step_in_this_process(smollm2, tmp_path, capsys, method, precision):
    # correctness 27, 30, 45: on real weights, too
    finished(tmp_path, *arguments(smollm2, tmp_path, method, precision), *ENGINE)
    check(tmp_path / "run", precision)
    assert "generation: continuous" in " ".join(capsys.readouterr().out.split())


@pytest.mark.ray
@pytest.mark.parametrize(("method", "precision"), KINDS)
def test_a_step_on_ray(smollm2, tmp_path, method, precision):
    # correctness 27, 30, 45
    command = [sys.executable, "-m", "rlhf", *arguments(smollm2, tmp_path, method, precision)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    check(tmp_path / "run", precision)
    assert "generation: continuous" in " ".join(done.stdout.split())


def test_auto_is_bf16_here_and_says_by_how_much(smollm2, tmp_path, capsys):
    finished(tmp_path, *arguments(smollm2, tmp_path, "lora", "auto"), *ENGINE)
    told = " ".join(capsys.readouterr().out.split())
    wanted = "precision: bf16 (engine.precision=auto: it is" if multiplies_bf16("cpu") else "fp32"
    assert wanted in told

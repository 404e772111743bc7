"""Chat models by the public commands: what PPO scores is what the reward model was trained on.

The oracle is transformers: its chat template, its classifier, its tokenizer's EOS behind.
"""

from __future__ import annotations

import copy
import json
import shutil

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from rlhf.cli.main import main
from tests.golden.chat_templates import tokenizer
from tests.integration.conftest import BAD, ENGINE, GOOD, NOUNS, SMALL, write
from tests.models import causal

TOLD = "{% for tool in tools or [] %}{{ tool.function.name + ' ' }}{% endfor %}"
"""What the template writes of a row's tools."""
SOURCES = (
    "data.demonstrations=chat.jsonl",
    "data.preferences=pairs.jsonl",
    "data.prompts=asked.jsonl",
)
SETTINGS = (
    *ENGINE,
    *SMALL,
    "sft.num_epochs=6",
    "sft.optimizer.lr=1e-2",
    "ppo.num_steps=1",
    "generation.max_new_tokens=12",
    "tracking.sample_prompts=8",
    "data.validation_fraction=0.2",
    "data.test_fraction=0.2",
)


def said(text):
    return [{"role": "assistant", "content": text}]


def run(home, *arguments):
    """Run one command line in a folder."""
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.chdir(home)
        main(arguments)
    assert ended.value.code == 0


def tools(noun):
    return [{"type": "function", "function": {"name": f"{noun}_clock", "parameters": {}}}]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Run a pipeline under Gemma's template, which ends a turn with another token than EOS."""
    home = tmp_path_factory.mktemp("chat")
    words = copy.deepcopy(tokenizer("gemma"))
    words.chat_template = TOLD + words.chat_template
    network = causal(vocab_size=len(words), max_position_embeddings=256)
    ends = ["<eos>", "<end_of_turn>"]
    network.generation_config.eos_token_id = words.convert_tokens_to_ids(ends)
    network.save_pretrained(home / "base")
    words.save_pretrained(home / "base")
    rows = [
        {"prompt": [{"role": "user", "content": f"{noun} {n}?"}], "tools": tools(noun)}
        for n in range(12)
        for noun in NOUNS
    ]
    good = [{**row, "chosen": said(GOOD[n % 4])} for n, row in enumerate(rows)]
    write(home / "asked.jsonl", rows)
    write(home / "pairs.jsonl", [{**r, "rejected": said(BAD[n % 4])} for n, r in enumerate(good)])
    write(
        home / "chat.jsonl",
        [{**row, "completion": said(GOOD[n % 4])} for n, row in enumerate(rows)],
    )
    run(home, "pipeline", "run_dir=run", "policy.path=base", *SETTINGS, *SOURCES)
    return home


def score(folder, prompt, response):
    """Score an exchange by transformers alone, as a row of training reads."""
    words = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    own = tools(prompt[0]["content"].split()[0])
    text = words.apply_chat_template([*prompt, *said(response)], tokenize=False, tools=own)
    assert text.endswith("<end_of_turn>\n")
    ids = words(text + "<eos>", add_special_tokens=False, return_tensors="pt").input_ids
    with torch.no_grad():
        raw = float(model.score(model.base_model(ids)[0][0, -1]))
    return (raw - model.config.rlhf_score_mean) / model.config.rlhf_score_std


def scored(folder):
    """Return the finished samples with their scores; half letters have no text to score anew."""
    rows = [json.loads(line) for line in (folder / "samples.jsonl").open()]
    return [row for row in rows if row["finished"] and "\ufffd" not in row["response"]]


def test_ppo_scores_a_response_as_the_row_it_would_be(trained):
    rows = scored(trained / "run")
    assert len({row["response"] for row in rows}) > 1
    for row in rows:
        wanted = score(trained / "run/reward_model", row["prompt"], row["response"])
        assert row["score"] == pytest.approx(wanted, abs=1e-5)


def test_a_reward_model_with_other_tokens_gives_the_same_scores(trained):
    # Another template that writes the same, so the texts are encoded anew.
    home = trained
    shutil.copytree(home / "run/reward_model", home / "other")
    words = AutoTokenizer.from_pretrained(home / "other")
    words.chat_template = "{# another #}" + words.chat_template
    words.save_pretrained(home / "other")
    (home / "other/rlhf_artifact.json").unlink()
    paths = ("policy.path=run/sft", "reward_model.path=other", SOURCES[2])
    run(home, "ppo", "run_dir=again", *paths, *SETTINGS)
    rows, before = scored(home / "again"), scored(home / "run")
    assert [row["response"] for row in rows[:8]] == [row["response"] for row in before[:8]]
    for row in rows:
        wanted = score(home / "other", row["prompt"], row["response"])
        assert row["score"] == pytest.approx(wanted, abs=1e-5)

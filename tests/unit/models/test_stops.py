"""Stops: a folder's, a hub name's, and the errors for damaged files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import GenerationConfig

from rlhf.errors import ModelError
from rlhf.models.stops import stop_ids
from tests.models import NUM_STOPS, causal, tokenizer, write

FROM_HUB = """
import sys
from rlhf.data.tokenizer import load_tokenizer
from rlhf.models.stops import stop_ids
for path in sys.argv[1:]:
    print(*stop_ids(path, load_tokenizer(path)))
"""


@pytest.fixture
def model(tmp_path):
    """Write a folder; return its path and that of its generation config."""
    folder = write(causal(), tmp_path / "model")
    return folder, Path(folder) / "generation_config.json"


def test_they_are_the_tokenizers_and_the_models(model):
    folder, file = model
    words = tokenizer()
    assert stop_ids(folder, words) == tuple(range(2, 2 + NUM_STOPS))
    assert set(stop_ids(folder, words)) == set(
        GenerationConfig.from_pretrained(folder).eos_token_id
    )
    file.write_text(json.dumps({"eos_token_id": 40}), encoding="utf-8")
    assert stop_ids(folder, words) == (2, 40)
    file.write_text("{}", encoding="utf-8")
    assert stop_ids(folder, words) == (2,)


@pytest.mark.parametrize("nested", (True, False))
def test_without_a_generation_config_the_models_config_counts(model, nested):
    # As in transformers: GenerationConfig.from_model_config.
    folder, file = model
    file.unlink()
    config = Path(folder) / "config.json"
    said = {"eos_token_id": [7, 9]}
    written = {**json.loads(config.read_text()), **said}
    config.write_text(json.dumps({"text_config": said} if nested else written))
    assert stop_ids(folder, tokenizer()) == (2, 7, 9)


def test_a_hub_name_has_the_stops_of_its_folder(model, tmp_path):
    folder, _ = model
    home = tmp_path / "hub" / "models--some--model"
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("a" * 40)
    bare = tmp_path / "hub" / "models--some--bare"
    shutil.copytree(folder, home / "snapshots" / ("a" * 40))
    shutil.copytree(home, bare)
    (bare / "snapshots" / ("a" * 40) / "generation_config.json").unlink()
    names = ("some/model", folder, "some/bare")
    found = subprocess.run(
        [sys.executable, "-c", FROM_HUB, *names],
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    by_name, by_folder, without = found.stdout.strip().splitlines()
    assert by_name == by_folder == " ".join(str(2 + each) for each in range(NUM_STOPS))
    assert without == "2"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b"{oops", "not JSON"),
        (b"\xff\xfe", "not JSON in UTF-8"),
        (b"[1, 2]", "holds list"),
        (b"null", "holds NoneType"),
        (b'{"eos_token_id": "</s>"}', "eos_token_id='</s>'"),
        (b'{"eos_token_id": [1, 2.5]}', r"eos_token_id=\[1, 2.5\]"),
        (b'{"eos_token_id": -1}', "eos_token_id=-1"),
        (b'{"eos_token_id": true}', "eos_token_id=True"),
        (b'{"eos_token_id": {"a": 1}}', "eos_token_id={'a': 1}"),
    ],
)
def test_a_damaged_file_is_one_line(model, written, said):
    folder, file = model
    file.write_bytes(written)
    with pytest.raises(ModelError, match=said) as caught:
        stop_ids(folder, tokenizer())
    assert "generation_config.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_gguf_file_has_the_tokenizers_alone(tmp_path):
    file = tmp_path / "weights.gguf"
    file.write_bytes(b"GGUF")
    assert stop_ids(str(file), tokenizer()) == (2,)

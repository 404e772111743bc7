"""Sources: each pickles, is checked before a run, and is built on a rank."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from rlhf.config.rewards import KINDS
from rlhf.data.tokenizer import load_tokenizer
from rlhf.errors import ConfigError
from rlhf.rewards import sources
from rlhf.rewards.sources import check_sources, model_source
from tests.models import rollout
from tests.specs import listed_mix


def made(*entries: dict[str, object]):
    return listed_mix(*entries).sources


@dataclass
class Bench:
    """A rank that notes the models it is asked for."""

    policy_tokenizer: object
    timeout_s: float = 30.0
    models: tuple[str, ...] = ()

    def model_scorer(self, path):
        self.models = (*self.models, path)
        return self


@pytest.fixture
def functions(tmp_path):
    """A file of two functions, and one beside it that it imports."""
    (tmp_path / "beside_it.py").write_text("FACTOR = 2.0\n")
    (tmp_path / "own.py").write_text(
        "import sys\nsys.path.insert(0, __file__.rpartition('/')[0])\n"
        "from beside_it import FACTOR\n"
        "def rows(row, **columns):\n    return [FACTOR * number for number in row]\n"
        "def length(completions, **columns):\n    return list(map(len, completions))\n"
    )
    return tmp_path / "own.py"


def test_every_kind_of_the_settings_has_a_class():
    assert set(KINDS) == set(sources._CLASSES)


def test_a_source_is_the_same_after_a_pickle():
    for source in made({"model": "a"}, {"function": "b.py:f", "weight": 2.0}):
        again = pickle.loads(pickle.dumps(source))
        assert again == source
        assert (again.name, again.weight, again.sees) == (source.name, source.weight, source.sees)


def test_a_model_is_held_by_the_bench_and_needs_no_check():
    (source,), bench = made({"model": "a/b"}), Bench(None)
    assert source.build(bench) is bench
    assert bench.models == ("a/b",) == (source.model,)
    assert source.check(1.0) == []
    assert model_source(Path("x/y"), weight=2.0).term == "2 x reward model x/y"


def test_a_function_is_found_from_another_working_folder(functions, folder, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    scored, length = made({"function": "own.py:rows"}, {"function": "own.py:length"})
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    bench, written = Bench(load_tokenizer(folder())), rollout(3)
    assert scored.build(bench).score(written).tolist() == [0.0, 2.0, 4.0]
    texts = [bench.policy_tokenizer.decode(ids) for ids in written.response_tokens()]
    got_B = length.build(bench).score(written)
    assert got_B.tolist() == list(map(len, texts))
    assert got_B.dtype == torch.float32


def test_where_the_drivers_file_is_not_there_the_nodes_own_folder_is_searched(
    functions, folder, monkeypatch, tmp_path
):
    (source,) = made({"function": f"{tmp_path}/own.py:rows"})
    job = tmp_path / "job"
    job.mkdir()
    for file in ("own.py", "beside_it.py"):
        (tmp_path / file).rename(job / file)
    monkeypatch.chdir(job)
    scorer = source.build(Bench(load_tokenizer(folder())))
    assert scorer.score(rollout(2)).tolist() == [0.0, 2.0]


def test_the_files_of_all_functions_decide_the_result_each_once(functions):
    listed = made(
        {"function": f"{functions}:rows"}, {"model": "a"}, {"function": f"{functions}:length"}
    )
    found = check_sources(listed, 30.0)
    assert found == [functions, functions.parent / "beside_it.py"]


def test_all_that_cannot_score_is_told_at_once(functions):
    listed = made(
        {"function": f"{functions}:nothing"},
        {"function": f"{functions}:rows"},
        {"function": "nowhere.py:f"},
    )
    with pytest.raises(ConfigError) as error:
        check_sources(listed, 30.0)
    first, second = str(error.value).splitlines()
    assert "nothing" in first
    assert "nowhere.py" in second

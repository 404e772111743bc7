"""How to add a metric, a kind of reward and a kind of file, followed in a copy and then used."""

from __future__ import annotations

import json

import pytest

from tests.howto.kit import Copy, Step, promised

pytestmark = pytest.mark.slow

METRIC = (
    Step(
        "rlhf/catalog/metrics/responses.py",
        "METRICS: Final = (\n",
        "METRICS: Final = (\n"
        "    Metric(\n"
        '        name="completions/cut_share",\n'
        "        stages=STAGES,\n"
        '        unit="share",\n'
        '        meaning="share of responses that were cut before their end",\n'
        '        derived=lambda step: 1 - step["completions/eos_rate"],\n'
        '        plot=Plot(title="Answers that were cut", order=85, percent=True),\n'
        "        alarms=(\n"
        "            Alarm(\n"
        '                name="cut",\n'
        "                order=55,\n"
        "                sign=partial(Recent, above=0.0),\n"
        '                when=f"above 0, mean of {WINDOW} steps",\n'
        '                says="{now:percent} of the answers are cut; let them be longer",\n'
        "            ),\n"
        "        ),\n"
        "    ),\n",
    ),
)
REWARD = (
    Step(
        "rlhf/config/rewards.py",
        "    model: Place | None = None\n",
        "    pattern: str | None = None\n"
        '    """A regular expression; 1 for a response in which it is found, else 0."""\n'
        "    model: Place | None = None\n",
    ),
    Step(
        "rlhf/rewards/sources.py",
        "from abc import ABC, abstractmethod\n",
        "import re\nfrom abc import ABC, abstractmethod\n",
    ),
    Step(
        "rlhf/rewards/sources.py",
        "_CLASSES: dict[str, type[RewardSource]] = {",
        "@dataclass(frozen=True)\n"
        "class PatternSource(RewardSource):\n"
        '    """A regular expression to be found in the response."""\n\n'
        '    sees = "batch"\n\n'
        "    @property\n"
        "    def described(self) -> str:\n"
        '        """The expression."""\n'
        '        return f"pattern {self.asked.what}"\n\n'
        "    def check(self, timeout_s: float, columns: Mapping[str, str] | None = None)"
        " -> list[Path]:\n"
        '        """Refuse what is no regular expression."""\n'
        "        try:\n"
        "            re.compile(str(self.asked.what))\n"
        "        except re.error as error:\n"
        '            problem = f"{self.asked.setting}={self.asked.what}: {error}"\n'
        "            raise ConfigError(problem) from error\n"
        "        return []\n\n"
        "    def build(self, bench: Bench) -> Scorer:\n"
        '        """Read responses with the policy\'s tokenizer."""\n'
        "        return PatternScorer(str(self.asked.what), bench.policy_tokenizer)\n\n\n"
        "@dataclass(frozen=True)\n"
        "class PatternScorer:\n"
        '    """Looks for an expression in decoded text."""\n\n'
        "    pattern: str\n"
        "    tokenizer: TextTokenizer\n\n"
        "    def score(self, rollout: Rollout) -> Tensor:\n"
        '        """Return score_B, float32."""\n'
        "        texts = [decode_response(self.tokenizer, ids)"
        " for ids in rollout.response_tokens()]\n"
        "        return torch.tensor("
        "[float(bool(re.search(self.pattern, text))) for text in texts])\n\n\n"
        "_CLASSES: dict[str, type[RewardSource]] = {",
    ),
    Step(
        "rlhf/rewards/sources.py",
        '"function": FunctionSource}',
        '"function": FunctionSource,\n    "pattern": PatternSource,\n}',
    ),
    Step(
        "rlhf/rewards/sources.py",
        '= {"model": ModelSource, "function"',
        '= {\n    "model": ModelSource,\n    "function"',
    ),
)
FILES = (
    Step(
        "rlhf/data/records.py",
        "",
        '"""Records: files of `column: value` lines, with an empty line between two rows."""\n\n'
        "from __future__ import annotations\n\n"
        "from rlhf.data.json_rows import Located\n"
        "from rlhf.data.problems import Problems\n"
        "from rlhf.data.tables import decoded\n\n\n"
        "def read_records(content: bytes, name: str, problems: Problems) -> Located:\n"
        '    """Yield (values, `FILE:LINE`) of each record; the line is its first."""\n'
        "    values: dict[str, object] = {}\n"
        '    where = ""\n'
        '    for number, line in enumerate([*decoded(content, name).split("\\n"), ""], start=1):\n'
        '        column, colon, value = line.partition(": ")\n'
        "        if colon:\n"
        '            where = where if values else f"{name}:{number}"\n'
        "            values[column] = value\n"
        "        elif line:\n"
        '            problems.add(f"{name}:{number}", f"{line!r} is not `column: value`")\n'
        "        elif values:\n"
        "            yield values, where\n"
        "            values = {}\n",
    ),
    Step(
        "rlhf/data/rows.py",
        '    ".json": read_json,\n',
        '    ".json": read_json,\n    ".rec": read_records,\n',
    ),
    Step(
        "rlhf/data/rows.py",
        "from rlhf.data.tables import",
        "from rlhf.data.records import read_records\nfrom rlhf.data.tables import",
    ),
    Step(
        "tests/unit/data/test_records.py",
        "",
        '"""Files of records."""\n\n'
        "from __future__ import annotations\n\n"
        "import pytest\n\n"
        "from rlhf.config.data import SourceConfig\n"
        "from rlhf.data.rows import read_rows\n"
        "from rlhf.errors import DataError\n\n\n"
        "def read(tmp_path, text):\n"
        '    path = tmp_path / "a.rec"\n'
        "    path.write_text(text)\n"
        "    return read_rows(SourceConfig(path=str(path)))\n\n\n"
        "def test_an_empty_line_ends_a_row(tmp_path):\n"
        '    rows = read(tmp_path, "prompt: a: b\\n\\n\\nprompt: c\\nwanted: d\\n")\n'
        '    assert [row.values for row in rows] == [{"prompt": "a: b"}, '
        '{"prompt": "c", "wanted": "d"}]\n'
        '    assert [row.where.rpartition(":")[2] for row in rows] == ["1", "4"]\n\n\n'
        "def test_a_line_without_a_column_is_told_with_its_line(tmp_path):\n"
        "    with pytest.raises(DataError, match=r\"a\\.rec:2: 'oops' is not\"):\n"
        '        read(tmp_path, "prompt: a\\noops\\n")\n',
    ),
    Step(
        "docs/data_formats.md",
        "| `FILE.csv`, `.tsv` |",
        "| `FILE.rec` | `column: value` lines, an empty line between two rows |\n"
        "| `FILE.csv`, `.tsv` |",
    ),
)
PPO = (
    "cluster.backend=in_process",
    "engine.backend=torch",
    "policy.path=models/policy",
    "ppo.rollout_batch_size=4",
    "ppo.minibatch_size=4",
    "ppo.num_epochs=1",
    "generation.max_new_tokens=4",
    "tracking.sample_prompts=2",
)


@pytest.fixture
def copy(tmp_path):
    """A copy to work in."""
    return Copy(tmp_path)


def ran(copy, *commands):
    """Run command lines in the copy; return (exit code, what was said) of each."""
    said = copy.run(
        "-m", "tests.howto.home", str(copy.folder.parent / "home"), json.dumps(commands)
    )
    return json.loads(said.splitlines()[-1])


def figures(copy, run):
    """Return the figures of each step of a run."""
    text = (copy.folder.parent / "home" / run / "metrics.jsonl").read_text()
    found: dict[int, dict[str, float]] = {}
    for row in map(json.loads, text.splitlines()):
        found.setdefault(row["step"], {}).update(row["metrics"])
    return list(found.values())


def test_a_metric_with_plot_and_alarm(copy):
    copy.follow(METRIC)
    assert len(copy.touched) == promised("a metric.") == 1
    settings = (
        "ppo.num_steps=6",
        "reward.function=reward.py:letters",
        "data.prompts=prompts.jsonl",
    )
    [(code, said)] = ran(copy, ["ppo", "run", *PPO, *settings])
    assert code == 0, said
    steps = figures(copy, "run")
    assert all(s["completions/cut_share"] == 1 - s["completions/eos_rate"] for s in steps)
    assert any(s["completions/cut_share"] for s in steps)
    folder = copy.folder.parent / "home" / "run"
    assert "Answers that were cut" in (folder / "report.html").read_text()
    assert "of the answers are cut" in (folder / "warnings.jsonl").read_text()


def test_a_kind_of_reward_and_a_kind_of_file(copy):
    copy.follow(REWARD)
    assert len(copy.touched) == promised("a reward.") == 2
    copy.follow(FILES)
    assert len(copy.touched) - 2 == promised("a kind of file")
    home = copy.folder.parent / "home"
    home.mkdir()
    words = ("film", "plot", "cast", "score", "scene")
    (home / "asked.rec").write_text("\n".join(f"prompt: The {word} was\n" for word in words))
    asked = ["ppo", "good", *PPO, "ppo.num_steps=1", "data.prompts=asked.rec"]
    bad = ["ppo", "bad", *PPO, "ppo.num_steps=1", "data.prompts=asked.rec"]
    good, wrong = ran(
        copy,
        [*asked, "reward.sources=[{pattern: '[aeiou]'}, {pattern: '^$', name: none}]"],
        [*bad, "reward.sources=[{pattern: '[a'}]"],
    )
    assert good[0] == 0, good[1]
    samples = map(json.loads, (home / "good" / "samples.jsonl").read_text().splitlines())
    assert all(s["score"] == (any(v in s["response"] for v in "aeiou") or not s["response"])
               for s in samples)  # fmt: skip
    assert wrong[0] == 2 and "reward.sources.0.pattern=[a: " in wrong[1]
    copy.check("tests/unit/data/test_records.py")

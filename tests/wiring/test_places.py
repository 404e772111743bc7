"""Settings that say where, how fast and what is kept: each is seen in the place it is for.

`sees` names the settings of a test. Together with table.py they are exactly the settings there are.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from rlhf.checkpoint.ending import ENDING
from rlhf.config.cluster import ClusterConfig
from rlhf.config.load import keys, load
from rlhf.config.observe import TrackingConfig
from rlhf.engine.zero_config import Holding, zero_config
from rlhf.errors import ConfigError
from rlhf.observe.log import RunLog
from rlhf.runtime.bin_packing import NodeCapacity
from rlhf.runtime.placement import COLUMNS, plan, table
from rlhf.runtime.reach import address_of
from rlhf.runtime.residency import sharers
from rlhf.runtime.runtime import Processes
from tests.wiring.kit import lines
from tests.wiring.table import BASES, EFFECTS, HERE

ROLES = ("policy", "reference", "reward", "value")
NODES = [
    NodeCapacity(name=f"node{i}", cpus=16.0, gpus=8.0, free_cpus=16.0, free_gpus=8.0) for i in "ab"
]
NEW = (
    "policy.new.hidden_size=16",
    "policy.new.num_layers=1",
    "policy.new.num_heads=2",
    "policy.new.vocab_size=270",
    "policy.new.context=48",
    "data.demonstrations=demonstrations.jsonl",
    "sft.batch_size=36",
)
EVALUATED = (
    "tests/wiring/test_figures.py::test_evaluate_compares_the_folders_named_as_the_settings_say"
)
HELD = "tests/contract/test_wiring.py::test_a_role_is_held_by_its_own_row"
CHECKED_ELSEWHERE = {
    "cluster.timeout_s": "tests/contract/test_wiring.py::test_the_time_limit_reaches_every_group",
    "cluster.hang_s": "tests/contract/test_wiring.py::test_the_time_limit_reaches_every_group",
    "cluster.max_restarts": (
        "tests/integration/test_pipeline_ray.py::"
        "test_roles_that_take_turns_and_a_rank_that_is_lost_change_no_bit"
    ),
    **{f"cluster.{role}.{name}": HELD for role in ROLES for name in ("zero_stage", "offload")},
    **{
        f"evaluation.{name}": EVALUATED
        for name in ("judge", "num_prompts", "samples_per_prompt", "candidate", "baseline")
    },
    "engine.zero_stage": HELD,
    "engine.gradient_checkpointing": (
        "tests/unit/runtime/test_specs.py::test_roles_that_do_not_learn_recompute_nothing"
    ),
    "sweep.parallel": (
        "tests/integration/test_sweep.py::test_trials_share_a_ray_cluster_and_give_their_seats_back"
    ),
    "engine.backend": HELD,
}
"""What needs processes or a plain program, with the test that has them."""
SEEN: set[str] = set(CHECKED_ELSEWHERE)


def sees(*settings: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Note which settings a test changes."""

    def noted(test: Callable[..., None]) -> Callable[..., None]:
        SEEN.update(settings)
        return test

    return noted


def test_every_setting_has_an_effect_that_is_tested():
    """A new setting goes into table.py, or into a test of this file."""
    assert set(EFFECTS) | SEEN == set(keys())
    assert not set(EFFECTS) & SEEN


def test_what_is_checked_elsewhere_is_there():
    root = Path(__file__).parents[2]
    for place in CHECKED_ELSEWHERE.values():
        file, name = place.split("::")
        assert f"def {name}(" in (root / file).read_text(encoding="utf-8"), place


@sees("run_dir")
def test_all_that_is_written_lies_in_the_run_folder(home):
    before = set(home.folder.rglob("*"))
    ran = home.again("sft", *HERE, *BASES["sft"], within="deep/er")
    assert ran.code == 0, ran.err
    new = set(home.folder.rglob("*")) - before
    assert {path for path in new if not path.is_relative_to(home.folder / "deep")} == set()
    assert (home.folder / "deep/er/sft/config.json").is_file()


@sees("run_mode")
@pytest.mark.parametrize(
    ("mode", "folders", "files"),
    [("private", 0o700, 0o600), ("group", 0o750, 0o640), ("everyone", 0o755, 0o644)],
)
def test_what_a_run_writes_may_be_read_by_whom_the_setting_says(home, mode, folders, files):
    extra = ("tracking.tensorboard=true", f"run_mode={mode}")
    ran = home.again("sft", *HERE, *BASES["sft"], *extra, within=f"mode_{mode}")
    assert ran.code == 0, ran.err
    run = home.folder / f"mode_{mode}"
    written = [path for path in [run, *run.rglob("*")] if not path.is_symlink()]
    modes = {path: path.stat().st_mode & 0o777 for path in written}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {folders}
    plain = [path for path in modes if path.is_file()]
    assert {path: modes[path] for path in plain if modes[path] != files} == {}
    names = {path.suffix for path in plain}
    assert {".safetensors", ".json", ".html", ".jsonl"} <= names


@sees(*(f"policy.new.{name}" for name in ("hidden_size", "num_layers", "num_heads", "context")))
@pytest.mark.parametrize(
    ("setting", "value", "there"),
    [
        ("hidden_size", 32, "hidden_size"),
        ("num_layers", 2, "num_hidden_layers"),
        ("num_heads", 4, "num_attention_heads"),
        ("context", 40, "max_position_embeddings"),
    ],
)
def test_a_new_model_has_the_shape_asked_for(home, setting, value, there):
    before = home.run("sft", *HERE, *NEW).config("start")
    after = home.run("sft", *HERE, *NEW, f"policy.new.{setting}={value}").config("start")
    follows = {"hidden_size": {"intermediate_size", "head_dim"}, "num_heads": {"head_dim"}}
    allowed = {there, "num_key_value_heads", *follows.get(setting, set())}
    assert after[there] == value != before[there]
    assert {k for k in before if before[k] != after[k]} <= allowed


@sees("policy.new.vocab_size")
def test_a_new_tokenizer_has_at_most_the_tokens_asked_for(home):
    for size in (270, 280):
        ran = home.run("sft", *HERE, *NEW, f"policy.new.vocab_size={size}")
        assert len(AutoTokenizer.from_pretrained(ran.folder / "start")) == size
        assert ran.config("start")["vocab_size"] == size


def test_the_seed_makes_new_weights_and_the_order_of_sft_and_reward_model(home):
    """The table has its part in PPO."""
    one, two = (home.run("sft", *HERE, *NEW, f"seed={seed}") for seed in (0, 1))
    key = "model.layers.0.mlp.up_proj.weight"
    assert not torch.equal(one.weights("start")[key], two.weights("start")[key])
    for stage in ("sft", "reward_model"):
        base = (*HERE, *BASES[stage])
        one, two = (
            home.run(stage, *base).steps(stage),
            home.run(stage, *base, "seed=1").steps(stage),
        )
        assert one[0]["loss/train"] != two[0]["loss/train"]
        assert [step["lr"] for step in one] == [step["lr"] for step in two]


@sees("data.overlong")
def test_long_rows_stop_the_run_or_are_left_out_and_counted(home):
    asked = (*HERE, *BASES["sft"], "data.max_length=17")
    stopped = home.run("sft", *asked)
    assert stopped.code == 2
    assert "demonstrations.jsonl:" in stopped.err and "17 allowed" in stopped.err
    dropped = home.run("sft", *asked, "data.overlong=drop")
    assert dropped.code == 0
    (source,) = dropped.json("manifest.json")["data"].values()
    assert source["dropped"] > 0
    assert f"left out {source['dropped']} rows" in dropped.out


def test_a_weight_says_how_often_a_row_is_used(home):
    """data.SOURCES are in the table; a mixture has weights beside its paths."""
    mixed = "data.demonstrations=[{{path:demonstrations.jsonl,weight:{}}}]"
    counts = [
        home.run("sft", *HERE, *BASES["sft"], mixed.format(weight)).json("manifest.json")["data"]
        for weight in ("1", "2")
    ]
    once, twice = (next(iter(of.values()))["rows"] for of in counts)
    assert twice == 2 * once > 0


def test_fixed_answers_and_final_figures_are_of_the_test_rows_named(home):
    """That they change is in the table; here, to what."""
    ran = home.run("ppo", *HERE, *BASES["ppo"], "data.test_prompts=other_prompts.jsonl")
    asked = [row["prompt"] for row in lines(home.folder / "other_prompts.jsonl")]
    for stage in ("sft", "ppo"):
        assert [sample["prompt"] for sample in ran.samples(stage)] == asked[:2]
    named = "data.test_preferences=other_preferences.jsonl"
    ran = home.run("reward_model", *HERE, *BASES["reward_model"], named)
    rows = lines(home.folder / "other_preferences.jsonl")
    assert ran.json("reward_model.json")["pairs"] == len(rows) == 5


@pytest.mark.parametrize("patience", [1, 2])
def test_training_stops_after_so_many_validations_without_a_new_best(home, patience):
    wild = ("sft.optimizer.lr=3", "sft.num_epochs=4")
    base = (*HERE, *BASES["sft"], *wild)
    whole = home.run("sft", *base, "sft.patience=9").steps("sft")
    losses = [step.get("loss/validation") for step in whole]
    best, waited, wanted = float("inf"), 0, 0
    for loss in losses:
        if waited == patience:
            break
        wanted += 1
        if loss is not None:
            best, waited = (loss, 0) if loss < best else (best, waited + 1)
    found = home.run("sft", *base, f"sft.patience={patience}").steps("sft")
    assert len(found) == wanted
    told = [loss for loss in losses if loss is not None]
    ups = [later > earlier for earlier, later in pairwise(told)]
    assert any(ups) and not all(ups), "a loss that falls again, or nothing is tested"


@sees("generation.backend", "generation.batch_size", "engine.max_tokens_per_microbatch")
@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("generation.backend=padded", r"generation: padded, generation\.backend=padded"),
        ("generation.batch_size=2", r"generation: continuous"),
        ("engine.max_tokens_per_microbatch=40", r"generation: continuous"),
    ],
)
def test_what_says_how_fast_moves_nothing_but_rounding(home, setting, told):
    base = (*HERE, *BASES["ppo"])
    one, two = home.run("ppo", *base), home.run("ppo", *base, setting)
    assert re.search(told, two.out)
    assert [s["response"] for s in one.samples("sft")] == [
        s["response"] for s in two.samples("sft")
    ]
    (before,), (after,) = one.steps("ppo"), two.steps("ppo")
    for figure in before:
        if not figure.startswith(("speed/", "sampling/", "policy/ratio_first")):
            assert after[figure] == pytest.approx(before[figure], rel=1e-4, abs=1e-5), figure
    # Where many rows fit no more into a forward, or none is padded, the figures of packing tell.
    if "microbatch" in setting:
        assert before["speed/padding_share"] != after["speed/padding_share"]


def test_a_batch_of_two_takes_more_forwards_than_one_of_eight(home):
    """`generation.batch_size` is how many rows are live at one time: see the sampler's cache."""
    from rlhf.generation import continuous
    from rlhf.models.language_model import LanguageModel
    from rlhf.models.pretrained import load_causal_lm
    from tests import models

    model = LanguageModel(load_causal_lm(str(home.folder / "models/policy")))
    for size in (2, 5):
        decoding = continuous._Decoding(
            model, models.prompts(8), sampling(str(home.folder / "models/policy"), size), 0
        )
        assert decoding.num_slots == size


def sampling(path, batch_size):
    """Return how to draw, as a run builds it."""
    from rlhf.engine.world import World
    from rlhf.runtime.context import RoleContext
    from tests import models

    experiment = load({"generation": {"batch_size": batch_size}})
    return RoleContext(experiment, World(), "policy").sampling(Path(path), models.tokenizer())


@sees("peft.dropout")
def test_dropout_of_adapters_is_asked_of_peft(home):
    lora = ("reference.path=null", "peft=lora")
    for dropout in ("0.0", "0.25"):
        ran = home.run("ppo", *HERE, *BASES["ppo"], *lora, f"peft.dropout={dropout}")
        assert ran.code == 0, ran.err
        told = json.loads((ran.folder / "policy/adapter/adapter_config.json").read_text())
        assert told["lora_dropout"] == float(dropout)


def test_adapters_are_written_as_they_were_asked_for(home):
    """alpha, rank and targets are in the table by what they change; here by what is told."""
    lora = ("reference.path=null", "peft=lora", "peft.rank=3", "peft.alpha=7")
    ran = home.run("ppo", *HERE, *BASES["ppo"], *lora, "peft.target_modules='q_proj,v_proj'")
    told = json.loads((ran.folder / "policy/adapter/adapter_config.json").read_text())
    assert (told["r"], told["lora_alpha"]) == (3, 7)
    assert set(told["target_modules"]) == {"q_proj", "v_proj"}
    base = load_file(home.folder / "models/policy/model.safetensors")
    moved = {k for k, t in ran.weights("policy").items() if not torch.equal(t, base[k])}
    assert {name.split(".")[-2] for name in moved} == {"q_proj", "v_proj"}


@sees("engine.precision")
def test_bf16_moves_every_figure_of_a_forward_by_its_rounding(home):
    base = (*HERE, *BASES["ppo"])
    ran = [home.run("ppo", *base, f"engine.precision={p}") for p in ("fp32", "bf16")]
    assert [one.code for one in ran] == [0, 0], ran[1].err
    (exact,), (half,) = (one.steps("ppo") for one in ran)
    for figure in ("value/mean", "objective/scores"):
        assert 0 < abs(exact[figure] - half[figure]) < 0.3


@sees("engine.threads")
def test_a_rank_has_the_threads_it_was_given(home):
    found = []
    for threads in (2, 1):
        experiment = load(
            {
                "engine": {"backend": "torch", "threads": threads},
                "cluster": {"backend": "in_process"},
            }
        )
        log = RunLog(home.folder / "threads", TrackingConfig(console=False), config={})
        Processes(experiment, ["policy"], log)._start()
        found.append(torch.get_num_threads())
    assert found == [2, 1]


@sees("checkpoint.every", "checkpoint.keep")
@pytest.mark.parametrize(
    ("every", "keep", "left"),
    [(1, 2, ["step_000003", "step_000004"]), (2, 1, ["step_000004"]), (3, 2, ["step_000003"])],
)
def test_a_run_that_breaks_leaves_the_checkpoints_asked_for(home, every, keep, left):
    # The function breaks when it is asked for the fifth step: once it has seen the samples.
    base = [word for word in BASES["ppo"] if not word.startswith(("ppo.num_steps", "reward"))]
    breaking = ("reward.function=reward.py:breaks", "ppo.num_steps=9", "ppo.num_epochs=1")
    kept = (f"checkpoint.every={every}", f"checkpoint.keep={keep}")
    ran = home.run("ppo", *HERE, *base, *breaking, *kept)
    assert ran.code == 2 and "the sixth time" in ran.err
    assert len(ran.steps("ppo")) == 4
    assert sorted(path.name for path in (ran.folder / "checkpoints/ppo").iterdir()) == left


@sees("checkpoint.every_minutes")
@pytest.mark.parametrize(("minutes", "left"), [(1e-6, ["step_000003", "step_000004"]), (9, [])])
def test_a_run_that_breaks_leaves_the_checkpoints_of_its_last_minutes(home, minutes, left):
    base = [word for word in BASES["ppo"] if not word.startswith(("ppo.num_steps", "reward"))]
    breaking = ("reward.function=reward.py:breaks", "ppo.num_steps=9", "ppo.num_epochs=1")
    ran = home.run("ppo", *HERE, *base, *breaking, f"checkpoint.every_minutes={minutes}")
    assert ran.code == 2 and "the sixth time" in ran.err
    kept = ran.folder / "checkpoints/ppo"
    assert sorted(path.name for path in kept.glob("step_*")) == left


@sees("checkpoint.grace_s")
@pytest.mark.parametrize(("grace", "left"), [(60, ["step_000002"]), (0, [])])
def test_a_run_that_is_asked_to_end_saves_its_step_in_the_time_it_has(home, grace, left):
    base = [word for word in BASES["ppo"] if not word.startswith(("ppo.num_steps", "reward"))]
    asking = ("reward.function=reward.py:asks_to_end", "ppo.num_steps=9", "ppo.num_epochs=1")
    handlers = {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        ran = home.run("ppo", *HERE, *base, *asking, f"checkpoint.grace_s={grace}")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        ENDING.is_asked = False
        for name, handler in handlers.items():
            signal.signal(name, handler)
    assert ran.code == 143, ran.err
    assert "asked to end; the same command goes on from the last checkpoint" in ran.err
    assert len(ran.steps("ppo")) == len(left) + 1
    found = ran.folder / "checkpoints/ppo"
    assert sorted(path.name for path in found.glob("*")) == left


@sees("tracking.tensorboard")
def test_tensorboard_gets_the_figures_when_asked(home):
    for asked in ("false", "true"):
        ran = home.run("sft", *HERE, *BASES["sft"], f"tracking.tensorboard={asked}")
        assert bool(list(ran.folder.glob("tensorboard/**/events*"))) == (asked == "true")


@sees("tracking.wandb", "tracking.project")
def test_wandb_gets_the_project_when_asked(monkeypatch, tmp_path):
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    projects = {}
    for asked in ("off", "offline"):
        tracking = TrackingConfig(console=False, wandb=asked, project="a_project_of_ours")
        with RunLog(tmp_path / asked, tracking, config={}) as log:
            sinks = {sink.name: sink for sink in log._sinks}
            projects[asked] = sinks["wandb"]._run.project if "wandb" in sinks else None
    assert projects == {"off": None, "offline": "a_project_of_ours"}


@sees("tracking.console")
def test_a_terminal_gets_a_live_display_unless_it_is_not_wanted(home, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    hides_the_cursor = "\x1b[?25l"
    for asked in ("true", "false"):
        ran = home.again(
            "sft", *HERE, *BASES["sft"], f"tracking.console={asked}", within=f"console_{asked}"
        )
        assert (hides_the_cursor in ran.out) == (asked == "true")


@sees("sweep.max_kl")
def test_a_run_too_far_from_its_reference_is_cut(home):
    base = (*HERE, *BASES["ppo"], "ppo.num_steps=4", "ppo.num_epochs=1")
    kls = [step["objective/kl"] for step in home.run("ppo", *base, "sweep.max_kl=1e6").steps("ppo")]
    least = min(kls[:3])
    assert len(kls) == 4 and least > 0
    ran = home.run("ppo", *base, f"sweep.max_kl={least / 2}")
    assert ran.code == 4 and "sweep.max_kl" in ran.err
    assert len(ran.steps("ppo")) == 3


@sees("reward.timeout_s")
def test_a_function_that_does_not_answer_in_time_ends_the_run(home):
    base = [word for word in BASES["ppo"] if not word.startswith("reward")]
    asked = ("reward.function=reward.py:sleeps", "reward.timeout_s=4")
    ran = home.run("ppo", *HERE, *base, *asked)
    assert ran.code == 2
    assert "reward.timeout_s=4 s" in ran.err and "2 responses" in ran.err


@sees("plan.hardware")
def test_a_plan_is_for_the_hardware_named(home):
    asked = ("policy.path=models/policy", "data.prompts=prompts.jsonl", "cluster.gpus_per_rank=1")
    for hardware in ("8xh100", "4x8xa100-80gb"):
        told = home.run("plan", *asked, *BASES["ppo"], f"plan.hardware={hardware}")
        assert told.code == 0, told.err
        assert hardware in told.out.replace(",", "").lower() or "h100" in told.out.lower()
    one, two = (
        home.run("plan", *asked, *BASES["ppo"], f"plan.hardware={h}").out
        for h in ("8xh100", "4x8xa100-80gb")
    )
    assert one != two


@sees("preview.rows", "preview.format")
def test_as_many_rows_are_shown_as_asked_and_to_whom(home):
    asked = ("policy.path=models/policy", "data.demonstrations=demonstrations.jsonl")

    def seen(*settings):
        told = home.run("data", *asked, "preview.format=json", *settings)
        assert told.code == 0, told.err
        (kind,) = json.loads(told.out)["kinds"]
        return kind["rows"]

    assert (len(seen()), len(seen("preview.rows=5"))) == (3, 5)
    assert "rows to train on" in home.run("data", *asked).out


@sees("data.window_overlap")
def test_windows_that_overlap_read_more_and_learn_as_much(home):
    (home.folder / "long.txt").write_text("the film was good and the world was bad\n" * 40)
    asked = ("policy.path=models/policy", "data.demonstrations=long.txt", "data.max_length=16")
    whole = ("data.validation_fraction=0", "data.test_fraction=0", "preview.format=json")

    def tokens(*settings):
        told = home.run("data", *asked, *whole, *settings)
        assert told.code == 0, told.err
        return json.loads(told.out)["kinds"][0]["tokens"]

    alone, shared = tokens(), tokens("data.window_overlap=8")
    assert shared["learned"] == alone["learned"]
    assert shared["read"] > 1.5 * alone["read"]


@sees("export.path", "export.dtype")
def test_a_policy_is_exported_where_and_as_asked(home):
    ran = home.run("ppo", *HERE, *BASES["ppo"])
    for dtype, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        told = home.run(
            "export", f"export.path=out_{dtype}", f"export.dtype={dtype}", within=ran.folder.name
        )
        assert told.code == 0, told.err
        written = load_file(home.folder / f"out_{dtype}/model.safetensors")
        assert {t.dtype for t in written.values()} == {kind}
        for name, tensor in ran.weights("policy").items():
            assert torch.equal(written[name], tensor.to(kind))


@sees("cluster.backend", "cluster.address")
def test_the_cluster_named_is_the_one_that_is_asked(home, monkeypatch):
    base = [word for word in (*HERE, *BASES["sft"]) if not word.startswith("cluster.backend")]
    nowhere = "cluster.address=127.0.0.1:9"
    ran = home.run("sft", *base, "cluster.backend=ray", nowhere)
    assert ran.code == 2 and nowhere in ran.err
    assert home.run("sft", *base, "cluster.backend=in_process", nowhere).code == 0
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    found = [address_of(ClusterConfig(address=a)) for a in ("auto", "local", "10.0.0.2:1")]
    assert found == ["10.0.0.1:6379", "local", "10.0.0.2:1"]


def placed(**cluster: object) -> dict[str, tuple[str, ...]]:
    """Return each role's row of the placement table."""
    config = load({"cluster": cluster}).cluster
    return {row[0]: row for row in table(plan(config, ROLES, NODES), 0)}


@sees(*(f"cluster.{role}.{name}" for role in ROLES for name in ("ranks", "gpus", "colocate_with")))
@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    ("setting", "column", "value"),
    [
        ("ranks", "ranks", 3),
        ("gpus", "GPUs each", 1.0),
        ("colocate_with", "with", None),
        ("zero_stage", "ZeRO stage", 3),
        ("offload", "offload", "optimizer"),
    ],
)
def test_a_role_sits_where_its_own_row_says(role, setting, column, value):
    host = "value" if role != "value" else "policy"
    row = {setting: host if value is None else value}
    if setting == "offload":
        row = {"offload": "weights" if role == "reference" else value, "zero_stage": 3}
    before, after = placed(), placed(**{role: row})
    at = COLUMNS.index(column)
    told = {1.0: "1"}.get(row[setting], str(row[setting]))
    assert after[role][at] == told != before[role][at]
    for other in set(ROLES) - {role}:
        # Whoever is sat upon shares its seat, so only the seats of others may move.
        assert after[other][: COLUMNS.index("where")] == before[other][: COLUMNS.index("where")]


@sees("cluster.gpus_per_rank", "cluster.residency", "cluster.oversubscribe")
def test_what_is_said_for_all_roles_reaches_all_of_them():
    gpus = COLUMNS.index("GPUs each")
    found = placed(gpus_per_rank=0.5, value={"gpus": 1.0})
    assert {role: row[gpus] for role, row in found.items()} == {
        **dict.fromkeys(ROLES, "0.5"),
        "value": "1",
    }
    beside = {"reference": {"colocate_with": "policy"}}
    turns = {
        (residency, number): sharers(
            load({"cluster": {**beside, "residency": residency, "gpus_per_rank": number}}).cluster,
            ROLES,
        )
        for residency in ("auto", "all", "in_turn")
        for number in (0.0, 1.0)
    }
    together = [["policy", "reference"]]
    assert turns == {
        ("auto", 0.0): [],
        ("auto", 1.0): together,
        ("all", 0.0): [],
        ("all", 1.0): [],
        ("in_turn", 0.0): together,
        ("in_turn", 1.0): together,
    }
    with pytest.raises(ConfigError, match="oversubscribe"):
        placed(policy={"ranks": 40})
    assert placed(policy={"ranks": 40}, oversubscribe=True)["policy"][1] == "40"


@sees("engine.deepspeed")
def test_raw_settings_are_laid_over_ours_in_the_dictionary_deepspeed_gets():
    raw = {"zero_optimization": {"reduce_bucket_size": 4321}}
    engine = load({"engine": {"deepspeed": raw, "zero_stage": 2}}).engine
    found = zero_config(engine, Holding(stage=2))["zero_optimization"]
    plain = zero_config(engine.model_copy(update={"deepspeed": {}}), Holding(stage=2))
    assert found == {**plain["zero_optimization"], "reduce_bucket_size": 4321}

"""Command lines that users may type on a bad day, and what is to come of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

NUMBERS = (
    "-1",
    "0",
    "nan",
    "inf",
    "-inf",
    "1e400",
    "1" * 5000,
    "1e30",
    "''",
    "text",
    "null",
    "true",
    "[1]",
    "{a: 1}",
    "???",
)
"""Given to settings that want a number above 0."""
POSITIVE = (
    *("ppo.num_steps", "ppo.rollout_batch_size", "ppo.minibatch_size", "ppo.num_epochs"),
    *("ppo.clip_range", "policy.optimizer.lr", "policy.optimizer.eps", "data.max_length"),
    *("generation.temperature", "generation.max_new_tokens", "peft.rank", "reward.timeout_s"),
)
INTERPOLATIONS = (
    *(
        "${oc.env:NOPE_AT_ALL}",
        "${nowhere}",
        "${a.b.c}",
        "${..x}",
        "${seed",
        "${",
        "${}",
        "${oc.env}",
        "${oc.env:}",
    ),
    *(
        "${nope:1}",
        "${oc.decode:'{'}",
        "${oc.select:nope}",
        "${hydra:nope}",
        "${oc.create:x}",
        "x${nowhere}y",
    ),
    *(
        "${ppo.kl_coef}",
        "${ppo}",
        "${oc.dict.keys:nope}",
        "${oc.deprecated:nope}",
        "${ ${nowhere} }",
        "'${nowhere}'",
    ),
)
TEXTS = (
    "a=b",
    "a,b",
    "[a",
    "[a]",
    "(a",
    "{a",
    "{a: 1}",
    "it's",
    'a"b',
    "\u00fc",
    "\u4e2d",
    "a~b",
    "a#b",
    "a&b",
    "a b",
    "a;b",
    "a\\b",
    "a\\",
    "12",
    "1e5",
    "true",
    "'",
    "=",
    "\U0001f600",
    "~nobody-at-all/x",
)
LINES = (
    *(
        "--shell-completion install=bash",
        "--shell-completion",
        "-sc query=bash",
        "--experimental-rerun x",
        "--nope",
        "-z",
    ),
    *(
        "--cfg",
        "--cfg nope",
        "--info nope",
        "--config-name nope",
        "--config-path nope",
        "--config-dir nope",
    ),
    *(
        "=",
        "==1",
        "=1",
        "a",
        "ppo",
        "ppo.",
        ".ppo=1",
        "ppo..kl_coef=1",
        "ppo.kl_coef",
        "ppo.kl_coef==1",
        "ppo=1",
        "ppo=null",
    ),
    *(
        "~nope",
        "+ppo.kl_coef=1 +ppo.kl_coef=x",
        "++nope=1",
        "ppo.kl_coef=[1",
        "ppo.kl_coef={",
        "recipe=nope",
        "recipe=",
        "+recipe=nope",
    ),
    *(
        "peft=nope",
        "algorithm=null",
        "hydra.nope=1",
        "hydra/launcher=nope",
        "hydra/sweeper=nope",
        "hydra.run.dir=${nowhere}",
    ),
    *(
        "policy.optimizer.betas=[1,1]",
        "policy.optimizer.betas=[0.9]",
        "policy.optimizer.betas=[a,b]",
        "policy.optimizer.betas=0.9",
        "policy.optimizer.betas=[-1,2]",
        "policy.optimizer.betas=[nan,0.5]",
    ),
    *(
        "policy.optimizer=1",
        "policy.optimizer=null",
        "policy.optimizer={lr: -1}",
        "seed=-1",
        "seed=1.5",
        "data.prompts=[]",
        "data.prompts=[{}]",
        "data.prompts=[1]",
        "data.prompts={}",
    ),
    *(
        "data.prompts=''",
        "data.prompts=.",
        "data.prompts=/dev/null",
        "policy.path=''",
        "policy.path=/dev/null",
        "policy.path=..",
        "run_dir=/proc/x",
        "run_dir=/dev/null",
    ),
    *(
        "cluster.backend=nope",
        "engine.precision=fp8",
        "ppo.gae_lambda=1.1",
        "ppo.discount=0",
        "data.test_fraction=0.5",
        "generation.batch_size=0",
    ),
    *(
        "reward.function_weight=1e300",
        "ppo.kl_coef=1e300",
        "ppo.dual_clip=1",
        "ppo.ema_decay=1",
        "tracking.wandb=maybe",
        "ppo.advantage_estimator=nope",
    ),
    *(
        "policy.new.hidden_size=32",
        "policy.new.hidden_size=3",
        "peft.method=loar",
        "peft=lora peft.target_modules=nope",
        "peft=lora peft.target_modules=,",
    ),
    *(
        "reward.function=null reward.sources=[]",
        "reward.function=null reward.sources=[{}]",
        "reward.function=null reward.sources=[{model:nowhere,function:nowhere.py:f}]",
        "reward.function=null reward.sources=[{model:nowhere,weight:0}]",
        "reward.function=null reward.sources=[{model:nowhere,weight:nan}]",
        "reward.function=null reward.sources=[{model:nowhere,weight:1e300}]",
        "reward.function=null reward.sources=[{model:nowhere,wieght:1}]",
        "reward.function=null reward.sources=[{function:nowhere.py:f},{model:nowhere}]",
        "reward.function=null reward.sources=[{model:${nowhere}}]",
        "reward.function=null reward.sources=nowhere.py:f",
        "reward.function=null reward.sources={model:nowhere}",
        "reward.function=null reward.sources=[nowhere.py:f]",
        "reward.function=null reward.sources=[{model:nowhere,name:a/b}]",
        "reward.sources=[{model:nowhere}]",
    ),
    "-m ppo.kl_coef=${nowhere},1",
    "-m run_dir=a,b",
    "sweep.parallel=2",
)


@dataclass(frozen=True, slots=True)
class Line:
    """What is typed after `rlhf ppo` and settings that work."""

    typed: tuple[str, ...]
    works: bool = False


def lines() -> Iterator[Line]:
    """Yield every line; texts are names of folders, which work for run_dir and nowhere else."""
    for name in POSITIVE:
        for value in NUMBERS:
            is_default = (name, value) == ("policy.optimizer.lr", "null")
            yield Line((f"{name}={value}",), works=is_default)
    for name in ("ppo.kl_coef", "run_dir", "data.prompts"):
        for value in INTERPOLATIONS:
            yield Line((f"{name}={value}",))
    for text in TEXTS:
        yield Line((f"run_dir=runs/{text}",), works=True)
        yield Line((f"policy.path={text}",))
        yield Line((f"data.prompts={text}",))
        yield Line((f"reward.function={text}",))
    yield Line(("run_dir=runs/\udcff",))
    for line in LINES:
        yield Line(tuple(line.split(" ")))

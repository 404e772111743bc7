"""Whether what adapters are trained into can be saved: merged and written once, before a run."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from rlhf.checks.check import CheckWarning
from rlhf.checks.context import CheckContext, roles_needed
from rlhf.data.tokenizer import load_tokenizer
from rlhf.engine.local import LocalEngine
from rlhf.errors import CheckpointError, ModelError, TrainingError
from rlhf.models.adapters import Adapter
from rlhf.models.language_model import LanguageModel
from rlhf.models.pretrained import load_causal_lm, load_scalar
from rlhf.models.scalar_model import ScalarModel
from rlhf.models.weights import is_small
from rlhf.roles.saver import ModelSaver


def check_adapters(context: CheckContext) -> str:
    """Put adapters into every small model that is to learn, save it as a stage would, and compare.

    A CheckWarning where there is no room to write one.

    Raises:
        ModelError: a line for each model whose folder would not be the model, or that takes none.
    """
    peft = context.experiment.peft
    if peft.method == "none":
        return "none are trained"
    problems, left_out = list[str](), list[str]()
    tried = [(path, kind) for path, kind in dict.fromkeys(_learners(context)) if is_small(path)]
    for path, scalar in tried:
        try:
            _try(context, path, scalar=scalar)
        except ModelError as error:
            problems.append(str(error))
        except (OSError, CheckpointError) as error:
            left_out.append(f"{path}: adapters were not tried, as {tempfile.gettempdir()}: {error}")
        except TrainingError as error:
            problems.append(
                f"{path}: adapters in peft.target_modules={peft.target_modules} cannot be saved, "
                f"as {str(error).partition(': ')[2].partition(';')[0]}; leave out layers whose "
                "weight is another's too, or set peft.method=none"
            )
    if problems:
        raise ModelError("\n".join(problems))
    if left_out:
        return CheckWarning("\n".join(left_out))
    return f"{len(tried)} models with {peft.method} were merged, written and compared"


def _learners(context: CheckContext) -> Iterator[tuple[str, bool]]:
    """Yield (path, whether it has a scalar head) of the given models that adapters are put into.

    A stage that has checkpoints or is finished was tried when it began, with these settings.
    """
    run_dir = Path(context.experiment.run_dir)
    start, given = context.models.get("policy.path"), context.models
    needed = roles_needed(context.stages, context.experiment)
    value = given.get("value.path") or given.get("reward_model.path") or start
    learners = {"policy": (start, False), "reward": (start, True), "value": (value, True)}
    for stage in context.stages:
        if (run_dir / "checkpoints" / stage.name).exists() or (run_dir / stage.folder).exists():
            continue
        for role in stage.learns:
            path, is_scalar = learners[role]
            if path is not None and role in needed:
                yield path, is_scalar


def _try(context: CheckContext, path: str, *, scalar: bool) -> None:
    seed = context.experiment.seed
    network = load_scalar(path, "new", seed=seed) if scalar else load_causal_lm(path)
    # The library's advice on tied weights is long; what comes of them is seen here.
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore"):
        adapter = Adapter(network, context.experiment.peft, seed=seed)
        adapter.draw()
        engine = LocalEngine(ScalarModel(network) if scalar else LanguageModel(network))
        ModelSaver(engine, network, load_tokenizer(path), adapter).save(Path(folder) / "tried")

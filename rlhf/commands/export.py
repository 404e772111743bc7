"""Export: a finished policy as one plain Hugging Face folder, in the dtype asked for."""

from __future__ import annotations

from pathlib import Path

from rlhf.config.experiment import Experiment
from rlhf.data.tokenizer import load_tokenizer
from rlhf.errors import ConfigError
from rlhf.models.language_model import LanguageModel
from rlhf.models.pretrained import load_causal_lm, save_network
from rlhf.models.proof import Proof
from rlhf.models.weights import check_weights


def export(experiment: Experiment) -> Path:
    """Write RUN/policy (adapters merged) to export.path; return where.

    Raises:
        ConfigError: when the run has no finished policy, or the target is not empty.
        ModelError: when the policy's folder is damaged.
        TrainingError: when the exported folder gives other numbers than the policy.
    """
    run_dir = Path(experiment.run_dir)
    source = run_dir / "policy"
    if not (source / "config.json").is_file():
        raise ConfigError(f"run_dir={run_dir} has no finished policy; run ppo or pipeline first")
    target = Path(experiment.export.path or run_dir / "export")
    if target.is_file() or (target.is_dir() and any(target.iterdir())):
        raise ConfigError(f"export.path={target} is not an empty folder; choose another")
    check_weights(str(source), scored=False)
    tokenizer = load_tokenizer(str(source))
    network = load_causal_lm(str(source), experiment.export.dtype)
    save_network(network, target, tokenizer)
    model = LanguageModel(network)
    proof = Proof(model, tokenizer)
    proof.check(target, proof.ask(model), rounded=experiment.export.dtype == "bf16")
    return target

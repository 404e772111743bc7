"""How each stage runs: its roles, its folder; a stage whose result exists is skipped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from rlhf.algo.estimators import estimator_files, find_estimator
from rlhf.catalog import stages as catalog
from rlhf.catalog.stages import StageRecord
from rlhf.checkpoint.artifact import START, inputs_fingerprint, read_artifact, verify
from rlhf.checkpoint.files import write_json
from rlhf.data.stream import Stream
from rlhf.data.tokenizer import fingerprint, load_tokenizer
from rlhf.models.pretrained import load_gguf, new_causal_lm, save_network
from rlhf.observe import evaluations
from rlhf.observe.files import REWARD_MODEL as REWARD_MODEL_FILE
from rlhf.observe.files import read_object
from rlhf.rewards.mix import Mix
from rlhf.roles.no_value import NoValue
from rlhf.roles.ports import BaselinePort, LanguageModelPort, PolicyPort, SamplerPort
from rlhf.roles.reference import PolicyAsReference
from rlhf.roles.reward_sum import RewardSum
from rlhf.runtime.specs import (
    PolicySpec,
    ReferenceSpec,
    RewardSpec,
    RewardTrainerSpec,
    SamplerSpec,
    SFTPolicySpec,
    ValueSpec,
)
from rlhf.stages.epochs import num_steps
from rlhf.stages.inputs import held_out
from rlhf.stages.ppo import PPO
from rlhf.stages.reward_model import RewardModel, score_statistics
from rlhf.stages.reward_report import report_rankings
from rlhf.stages.run import Made, Origin, Run, build_terms, prompt_source, text_source
from rlhf.stages.samples import take_samples
from rlhf.stages.sft import SFT


def makes_start(run: Run) -> bool:
    """Return whether the policy's first weights are made here: of a new model or a GGUF file."""
    return run.inputs.start is None or run.inputs.start.endswith(".gguf")


def run_start(run: Run) -> Path:
    """Return the folder of the policy's first weights.

    A new model is made, a GGUF file de-quantized, into RUN/start once; a folder or a hub name is
    used as it is.
    """
    start, folder = run.inputs.start, run.folder / START
    if start is not None and not makes_start(run):
        return Path(start)
    if folder.exists():
        if run.opened.records_start:
            verify(folder)
        return folder
    partial, new = run.partial(START), run.experiment.policy.new
    if start is not None:
        network = load_gguf(Path(start))
    else:
        assert new is not None
        network = new_causal_lm(new, run.inputs.tokenizer, run.experiment.seed)
    save_network(network, partial, run.inputs.tokenizer)
    made_of = inputs_fingerprint({"gguf": start} if new is None else new.model_dump())
    return run.publish(partial, START, Origin(base=start or "policy.new", inputs_sha256=made_of))


def run_stage(stage: StageRecord, run: Run, made: Made) -> Made:
    """Run a stage, or find its result; return what there is now."""
    return replace(made, **{stage.gives: _RUN[stage](run, made)})


def run_sft(run: Run, made: Made) -> Path:
    """Fine-tune on the demonstrations; return RUN/sft."""
    start, record = made.policy, catalog.SFT
    splits, config = run.inputs.demonstrations, run.experiment.sft
    assert splits is not None
    inputs_sha256 = run.fingerprint(record, start)
    if run.is_done(record, inputs_sha256):
        return run.folder / record.folder
    run.rehearsal.before_training(start)
    train = Stream(splits.train, config.batch_size, run.experiment.seed, record.name)
    policy = run.runtime.assign(
        SFTPolicySpec(path=start, total_updates=num_steps(config.num_epochs, train))
    )
    stage = SFT(
        policy=policy,
        train=train,
        validation=splits.validation,
        best=run.best(record, None if config.keep == "last" else config.patience),
        config=config,
    )
    run.perform(stage, inputs_sha256)
    origin = Origin(base=str(start), inputs_sha256=inputs_sha256)
    folder = run.publish(stage.best.folder, record.folder, origin)
    run.forget(record)
    return folder


def run_reward_model(run: Run, made: Made) -> Path:
    """Train the reward model on the rankings, measure it, normalise it; return RUN/reward_model."""
    base, record = made.policy, catalog.REWARD_MODEL
    splits, config = run.inputs.rankings, run.experiment.reward_model
    assert splits is not None
    inputs_sha256 = run.fingerprint(record, base)
    if run.is_done(record, inputs_sha256):
        return _told(run, run.folder / record.folder)
    run.rehearsal.before_training(base)
    train = Stream(splits.train, config.batch_size, run.experiment.seed, record.name)
    total = num_steps(config.num_epochs, train)
    stage = RewardModel(
        reward=run.runtime.assign(RewardTrainerSpec(path=base, total_updates=total)),
        train=train,
        validation=splits.validation,
        best=run.best(record, config.patience),
        config=config,
    )
    run.perform(stage, inputs_sha256)
    # A copy is normalized: after a kill, a resume finds the best model as it was trained.
    partial = run.partial(record.folder)
    shutil.copytree(stage.best.folder, partial, symlinks=True, dirs_exist_ok=True)
    trained = RewardTrainerSpec(path=partial, total_updates=total, head="trained", finished=True)
    best = run.runtime.assign(trained)
    unseen = splits.test if len(splits.test) else splits.validation
    scores_BK = best.answer_scores(unseen).result() if len(unseen) else None
    measured = {} if scores_BK is None else report_rankings(scores_BK, unseen)
    best.normalize(score_statistics(best, splits.train))
    best.save(partial)
    origin = Origin(base=str(base), inputs_sha256=inputs_sha256, measured=measured)
    folder = _told(run, run.publish(partial, record.folder, origin))
    run.forget(record)
    return folder


def _told(run: Run, folder: Path) -> Path:
    """Write RUN/reward_model.json, unless it says already what the model's own record says."""
    record, file = read_artifact(folder), run.folder / REWARD_MODEL_FILE
    if record is not None and record.measured and read_object(file) != record.measured:
        write_json(file, record.measured)
    return folder


def run_ppo(run: Run, made: Made) -> Path:
    """Improve the policy on the prompts, as the sources of the reward say; return RUN/policy."""
    start, mix, record = made.policy, made.mix, catalog.PPO
    splits, config = run.inputs.prompts, run.experiment.ppo
    assert splits is not None
    inputs_sha256 = run.fingerprint(record, start, *_came_before(run, mix))
    # A longer run goes on from the checkpoints of a shorter one, but does not end with it.
    finished_sha256 = inputs_fingerprint({"inputs": inputs_sha256, "num_steps": config.num_steps})
    if run.is_done(record, finished_sha256):
        return run.folder / record.folder
    run.rehearsal.settle_precision(start)
    policy = run.runtime.assign(PolicySpec(path=start))
    run.rehearsal.rehearse(policy)
    reference = _reference(run, start, policy)
    reward = RewardSum(run.runtime.assign(RewardSpec(mix=mix, policy=start)), mix)
    value = _value(run, start, mix)
    stage = PPO(
        prompts=prompt_source(splits.train, config, run.experiment.seed),
        policy=policy,
        reference=reference,
        reward=reward,
        value=value,
        terms=build_terms(run.experiment),
        texts=text_source(run.inputs.pretraining, config, run.experiment.seed),
    )
    fixed = held_out(splits, run.experiment.tracking.sample_prompts)
    # The policy has its first weights here, also where the stage will resume from a checkpoint.
    run.log.samples(catalog.SFT.name, 0, take_samples(policy, reward, fixed, run.inputs.tokenizer))
    evaluations.forget(run.folder, record.folder)
    run.perform(stage, inputs_sha256)
    for kind, role in stage.checkpointables().items():
        role.save(run.partial(kind))
    samples = take_samples(_saved(run, policy), reward, fixed, run.inputs.tokenizer)
    run.log.samples(record.name, config.num_steps, samples)
    kinds = sorted(stage.checkpointables(), key=["value", "policy"].index)
    _publish(run, kinds, start, finished_sha256)
    run.forget(record)
    return run.folder / record.folder


_RUN: Final[Mapping[StageRecord, Callable[[Run, Made], Path]]] = {
    catalog.SFT: run_sft,
    catalog.REWARD_MODEL: run_reward_model,
    catalog.PPO: run_ppo,
}
"""How each stage of the catalogue runs; each gives the folder of its result."""


def _came_before(run: Run, mix: Mix) -> list[Path]:
    """Return the models and functions PPO uses besides the policy's first weights."""
    given = (run.experiment.reference.path, run.experiment.value.path)
    return [
        *mix.models,
        *run.inputs.reward_files,
        *estimator_files(run.experiment.ppo.advantage_estimator),
        *(Path(path) for path in given if path is not None),
    ]


def _publish(run: Run, kinds: Sequence[str], start: Path, inputs_sha256: str) -> None:
    """Put PPO's models in place; the policy comes last, as its folder marks the stage as done."""
    for at, kind in enumerate(kinds):
        origin = Origin(base=str(start), inputs_sha256=inputs_sha256, beside=kinds[:at])
        run.publish(run.partial(kind), kind, origin)


def _saved(run: Run, policy: PolicyPort) -> SamplerPort:
    """Return a sampler with the weights that were saved: the policy's own, or their average."""
    if run.experiment.ppo.ema_decay is None:
        return policy
    return run.runtime.assign(SamplerSpec(path=run.partial(catalog.PPO.folder)))


def _reference(run: Run, start: Path, policy: PolicyPort) -> LanguageModelPort:
    """Return the reference's port; with adapters it runs on the policy's processes."""
    if run.experiment.peft.method != "none":
        return PolicyAsReference(policy)
    path = Path(run.experiment.reference.path or start)
    return run.runtime.assign(ReferenceSpec(path=path))


def _value(run: Run, start: Path, mix: Mix) -> BaselinePort:
    """Return the value role, or NoValue where the advantages need none."""
    if not find_estimator(run.experiment.ppo.advantage_estimator).reads_values:
        return NoValue()
    path, trained = _value_start(run, start, mix)
    return run.runtime.assign(ValueSpec(path=path, head="trained" if trained else "zero"))


def _value_start(run: Run, start: Path, mix: Mix) -> tuple[Path, bool]:
    """Return the folder of the value role's first weights, and whether its head is trained.

    It starts from the reward's first model. The value role reads the policy's tokens, so a reward
    model with another tokenizer cannot be its start.
    """
    given = run.experiment.value.path
    if given is not None:
        return Path(given), True
    if not mix.models:
        return start, False
    reward_model = mix.models[0]
    if fingerprint(load_tokenizer(str(reward_model))) != fingerprint(run.inputs.tokenizer):
        run.log.note("value: starts from the policy, as the reward model has another tokenizer")
        return start, False
    return reward_model, True

"""Data: `rlhf data` shows what training will see of the rows, and all that it would refuse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from rlhf.catalog.stages import PIPELINE, STAGES_OF, Kind, StageRecord
from rlhf.checks.context import CheckContext
from rlhf.checks.models import scored
from rlhf.config.arithmetic import Line, arithmetic
from rlhf.config.commands import PREVIEW
from rlhf.config.data import SourceConfig
from rlhf.config.experiment import Experiment
from rlhf.config.model import NewModelConfig
from rlhf.data.kinds import check_rows, given, prepare_kind
from rlhf.data.new_tokenizer import new_tokenizer
from rlhf.data.prepared import Prepared
from rlhf.data.preview.figures import Overlap, overlaps_of
from rlhf.data.preview.look import KindPreview, preview_of
from rlhf.data.problems import Faults, heard
from rlhf.errors import ConfigError, RLHFError
from rlhf.models.weights import check_tensors
from rlhf.observe.numbers import duration
from rlhf.planning.epochs import seconds_of
from rlhf.rewards.sources import check_sources
from rlhf.stages.inputs import check_context, tokenizer_of

if TYPE_CHECKING:
    from rlhf.data.tokenizer import TextTokenizer

IN_EPOCHS = {stage.reads: stage for stage in STAGES_OF[PIPELINE] if stage.loop == "epochs"}
"""The stage that goes over each kind in epochs."""
ORDER = (*(stage.name for stage in STAGES_OF[PIPELINE]), "all")


@dataclass(kw_only=True)
class Preview:
    """All that `rlhf data` shows."""

    tokenizer: str = ""
    """Which it is, and where it comes from."""
    kinds: list[KindPreview] = field(default_factory=list[KindPreview])
    overlaps: list[Overlap] = field(default_factory=list[Overlap])
    split_by: str = "prompt"
    """What data.split_by parts."""
    cost: list[Line] = field(default_factory=list[Line])
    """Stage, quantity, value."""
    warnings: list[str] = field(default_factory=list[str])
    refused: list[Kind] = field(default_factory=list[Kind])
    """Kinds that hold rows which training would refuse; their figures are of the others."""
    problems: list[str] = field(default_factory=list[str])
    """What training would refuse."""


def show_data(experiment: Experiment) -> None:
    """Print what training will see of the data that is given.

    Raises:
        ConfigError: when no data is given.
        RLHFError: all that training would refuse, after what can be shown was shown.
    """
    if not given(experiment.data):
        raise ConfigError(
            "no data is given; set data.demonstrations, data.preferences, data.prompts or "
            "data.pretraining, such as data.demonstrations=FILE.csv"
        )
    faults = Faults()
    preview = _preview(experiment, faults)
    preview.problems = faults.lines
    if experiment.preview.format == "json":
        print(json.dumps(asdict(preview), indent=1, ensure_ascii=False))  # noqa: T201 - the answer
    else:
        from rlhf.commands.data_view import show

        show(preview)
    faults.check()


def _preview(experiment: Experiment, faults: Faults) -> Preview:
    context = CheckContext(PREVIEW, experiment)
    preview = Preview(split_by=experiment.data.split_by)
    for name, path in context.models.items():
        faults.of(partial(check_tensors, path, scored=name in scored(context)))
    are_whole = not faults.lines
    faults.of(lambda: check_sources(context.mix.sources, experiment.reward.timeout_s))
    with heard() as preview.warnings:
        begun = faults.of(lambda: _tokenizer(context))
        if begun is None:
            for kind in given(experiment.data):
                faults.of(partial(check_rows, kind, experiment.data))
            return preview
        preview.tokenizer, tokenizer, experiment = begun
        prepared = _prepared(experiment, tokenizer, faults, preview)
    preview.kinds = [
        preview_of(kind, rows, tokenizer, experiment.data, experiment.preview)
        for kind, rows in prepared.items()
    ]
    preview.overlaps = overlaps_of(prepared)
    is_timed = are_whole and (context.start is not None or experiment.policy.new is not None)
    cost = _cost(experiment, preview.kinds, is_timed=is_timed)
    preview.cost = sorted(cost, key=lambda line: ORDER.index(line[0]))
    if "prompts" in prepared and context.start is not None:
        longest = max((entry.length for entry in prepared["prompts"].entries), default=0)
        faults.of(lambda: check_context(experiment, longest, context.start))
    return preview


def _tokenizer(context: CheckContext) -> tuple[str, TextTokenizer, Experiment]:
    """Return what the rows are read with, in words and itself, and the settings to use with it.

    Without a policy it is a stand-in, by whose tokens no row is refused for its length.
    """
    experiment, start = context.experiment, context.start
    data, new = experiment.data, experiment.policy.new
    if start is not None:
        tokenizer = tokenizer_of(experiment, start)[1]
        return f"of {start}, {_described(tokenizer)}", tokenizer, experiment
    if new is not None and data.demonstrations is not None:
        tokenizer = tokenizer_of(experiment, None)[1]
        return f"of policy.new, {_described(tokenizer)}", tokenizer, experiment
    sources: list[SourceConfig] = [s for kind in given(data) for s in data.sources(kind)]
    size = (new or NewModelConfig()).vocab_size
    tokenizer = new_tokenizer(sources, size)
    what = "policy.new learns its tokenizer from data.demonstrations" if new else "no policy.path"
    told = (
        f"{what}, so these are tokens and template of a new model that learns from the texts here "
        f"({_described(tokenizer)}); with policy.path=FOLDER they are your model's, and so are the "
        "lengths"
    )
    lenient = data.model_copy(update={"overlong": "drop"})
    return told, tokenizer, experiment.model_copy(update={"data": lenient})


def _described(tokenizer: TextTokenizer) -> str:
    template = "a chat template" if tokenizer.chat_template else "no chat template"
    return f"{len(tokenizer):,} tokens, {template}, EOS {tokenizer.eos_token!r}"


def _prepared(
    experiment: Experiment, tokenizer: TextTokenizer, faults: Faults, preview: Preview
) -> dict[Kind, Prepared]:
    """Return the rows of every kind as training has them; of faulty ones those that are sound."""
    data, found = experiment.data, dict[Kind, Prepared]()
    lenient = data.model_copy(update={"invalid": "drop", "overlong": "drop"})
    for kind in given(data):
        rows = faults.of(partial(prepare_kind, kind, data, tokenizer))
        if rows is None:
            told = len(preview.warnings)
            rows = Faults().of(partial(prepare_kind, kind, lenient, tokenizer))
            del preview.warnings[told:]  # what was dropped is no warning but a problem, told above
            preview.refused.append(kind)
        if rows is not None:
            found[kind] = rows
    return found


def _cost(experiment: Experiment, kinds: list[KindPreview], *, is_timed: bool) -> Iterator[Line]:
    """Yield what training on the rows would take: tokens, steps, seconds."""
    tokens: dict[StageRecord, int] = {}
    for kind in kinds:
        stage = IN_EPOCHS.get(kind.kind)
        if stage is not None:
            tokens[stage] = kind.tokens.read
            learned = f", {kind.tokens.learned:,} of them learned" if kind.tokens.learned else ""
            yield stage.name, "tokens an epoch", f"{kind.tokens.read:,}{learned}"
    rows = {kind.kind: sum(source.train for source in kind.sources) for kind in kinds}
    yield from arithmetic(experiment, STAGES_OF[PIPELINE], rows)
    if not is_timed:
        return
    longest = [k.lengths.longest for k in kinds if k.kind == "prompts" and k.lengths is not None]
    if longest:  # instead of the longest that may be
        data = experiment.data.model_copy(update={"max_prompt_length": longest[0]})
        experiment = experiment.model_copy(update={"data": data})
    try:
        seconds = seconds_of(experiment, tokens, prompts="prompts" in rows)
    except RLHFError as error:
        yield "all", "time", f"cannot be predicted: {error}"
        return
    hardware = experiment.plan.hardware
    for name, each in seconds.items():
        yield (
            name,
            "time",
            f"{f'at least {duration(each)}' if each >= 1 else 'under a second'} of computing "
            f"(plan.hardware={hardware}), besides starting and saving",
        )

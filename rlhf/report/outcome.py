"""The outcome in plain words, and the judge's verdict with its interval."""

from __future__ import annotations

from pathlib import PurePath
from typing import cast

from rlhf.catalog.stages import PPO, SFT
from rlhf.observe import files
from rlhf.observe.numbers import nats, percent, short, signed
from rlhf.report.html import Markup, el, join
from rlhf.report.read import RunFiles, bounds, chosen_loss, ends, number, section, words

COIN = 0.5
"""The win rate of two equal policies."""
ENOUGH = 30
"""Fewest prompts whose verdict may say which policy is better."""


def summary(run: RunFiles) -> str:
    """Return one paragraph: the verdict first, then what each stage reached."""
    sentences = [_verdict(run), _ppo(run), _reward_model(run), _sft(run)]
    known = [sentence for sentence in sentences if sentence]
    return " ".join(known) or "This run has not recorded any figures yet."


def verdict_section(run: RunFiles) -> Markup | None:
    """Return the win rate with its interval and the two policies side by side."""
    verdict = run.evaluation
    win_rate, interval = number(verdict, "win_rate"), bounds(verdict, "interval")
    if win_rate is None:
        return None
    candidate, baseline = policy_names(run)
    return join(
        [
            el("h2", "Is it better?"),
            el("p", _judge_line(verdict), class_="soft"),
            None
            if _all_tie(verdict)
            else interval_bar(f"{candidate} preferred to {baseline}", win_rate, interval),
            _policies(verdict, candidate, baseline),
            _others(run),
        ]
    )


def _others(run: RunFiles) -> Markup | None:
    """Return a table of the other verdicts; None when there is none."""
    rows = [
        el("tr", el("th", words(row, "judge"), scope="row"), *(el("td", text) for text in cells))
        for row in run.other_evaluations
        if (cells := _cells(row))
    ]
    heads = ("Other verdicts by", "on", "candidate", "baseline", "preferred", "95 % interval")
    head = el("tr", *(el("th", text, scope="col") for text in heads))
    table = el("table", el("thead", head), el("tbody", *rows), class_="numbers")
    return table if rows else None


def _cells(verdict: files.Row) -> list[str]:
    share, prompts = number(verdict, "win_rate"), number(verdict, "num_prompts")
    sources = verdict.get("prompts")
    if share is None or prompts is None or not isinstance(sources, list):
        return []
    named = ", ".join(PurePath(str(path)).name for path in cast("list[object]", sources))
    return [
        f"{prompts:,.0f} prompts of {named}",
        PurePath(words(verdict, "candidate_path")).name,
        PurePath(words(verdict, "baseline_path")).name,
        *(
            ("no decision", "")
            if _all_tie(verdict)
            else (percent(share), _range(bounds(verdict, "interval")))
        ),
    ]


def interval_bar(name: str, share: float, interval: tuple[float, float] | None) -> Markup:
    """Return a share of 1 on a 0 to 100 % rule, with its interval and a mark at one half."""
    low, high = interval or (share, share)
    text = f"{name}: {percent(share)}" + (f", 95 % interval {_range(interval)}" if interval else "")
    return el(
        "div",
        el("p", el("strong", percent(share)), " ", name, class_="figure-line"),
        el(
            "div",
            el("i", class_="half", style="left:50%"),
            el("i", class_="range", style=f"left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"),
            el("i", class_="point", style=f"left:{100 * share:.1f}%"),
            class_="rule",
            role="img",
            aria_label=text,
        ),
        el(
            "div",
            *(el("span", text, style=f"left:{at}%") for text, at in _marks(interval)),
            class_="rule-labels",
            aria_hidden="true",
        ),
        class_="interval",
    )


def policy_names(run: RunFiles) -> tuple[str, str]:
    """Return the page's names for the evaluated policy and for the one it is compared with."""
    asked = section(run.config, "evaluation")
    return _side(run.evaluation, asked, "candidate"), _side(run.evaluation, asked, "baseline")


def _side(verdict: files.Row, asked: files.Row, side: str) -> str:
    """Return one policy's name: of the folder that was compared; PPO and SFT of the run's own."""
    path = PurePath(words(verdict, f"{side}_path") or words(asked, side) or side)
    own = {"candidate": "PPO", "policy": "PPO", "baseline": "SFT", SFT.folder: "SFT"}
    return own.get(path.name, path.name)


def _verdict(run: RunFiles) -> str:
    win_rate, interval = number(run.evaluation, "win_rate"), bounds(run.evaluation, "interval")
    if win_rate is None:
        return ""
    candidate, baseline = policy_names(run)
    prompts = number(run.evaluation, "num_prompts")
    if _all_tie(run.evaluation):
        asked = f" to {prompts:,.0f} held-out prompts" if prompts else ""
        return f"The judge scores all {candidate} and {baseline} answers{asked} alike: no decision."
    answers = number(run.evaluation, "num_answers")
    many = f" of {answers:,.0f} answers to" if answers and answers != prompts else " of"
    of = f"{many} {prompts:,.0f} held-out prompts" if prompts else " of the held-out prompts"
    spread = f" (95\u00a0% interval {_range(interval)})" if interval else ""
    line = (
        f"The judge prefers the {candidate} answers to the {baseline} answers in "
        f"{percent(win_rate)}{of}{spread}"
    )
    return f"{line}{_meaning(interval, prompts)}."


def _all_tie(verdict: files.Row) -> bool:
    """Return whether the judge scored both policies' answers alike throughout."""
    return number(verdict, "ties") == 1


def _meaning(interval: tuple[float, float] | None, prompts: float | None) -> str:
    """Return what may be said of an interval; of a few prompts, nothing but that they are few."""
    if interval is None:
        return ""
    if prompts is not None and prompts < ENOUGH:
        return f": too few to say which is better ({ENOUGH} prompts or more would)"
    if interval[0] <= COIN <= interval[1]:
        return ", which is not distinguishable from a coin toss"
    return "" if interval[0] > COIN else ": the judge finds the answers worse"


def _ppo(run: RunFiles) -> str:
    scores, kls = run.curve(PPO.name, "objective/scores"), run.curve(PPO.name, "objective/kl")
    if len(scores) < 2:
        return ""
    first, last = ends(scores)
    cost = f", at a KL of {nats(ends(kls)[1])} nats to the reference" if kls else ""
    verb = "rose" if last > first else "fell"
    return f"During PPO the score {verb} from {short(first)} to {short(last)}{cost}."


def _reward_model(run: RunFiles) -> str:
    accuracy = number(run.reward_model, "accuracy")
    if accuracy is None:
        return ""
    length = number(run.reward_model, "length_baseline_accuracy")
    side = words(run.reward_model, "length_baseline_prefers") or "longer"
    alone = (
        f"; always preferring the {side} answer reaches {percent(length)}"
        if length is not None
        else ""
    )
    return f"The reward model ranks {percent(accuracy)} of held-out pairs as people did{alone}."


def _sft(run: RunFiles) -> str:
    name, kind = chosen_loss(run, SFT.name)
    losses = run.curve(SFT.name, name)
    if len(losses) < 2:
        return ""
    is_noisy = name == "loss/train"
    first, last = ends(losses) if is_noisy else (losses[0][1], losses[-1][1])
    verb = "lowered" if last < first else "raised"
    return f"Fine-tuning {verb} the {kind} loss from {short(first)} to {short(last)}."


def _judge_line(verdict: files.Row) -> str:
    judge = words(verdict, "judge")
    parts = [f"Judge: {judge}, not used in training." if judge else ""]
    ties = number(verdict, "ties")
    parts.append(
        ""
        if ties is None
        else "Every pair is a tie, so there is no decision."
        if _all_tie(verdict)
        else f"{percent(ties)} of the pairs are ties, each half a win."
    )
    agreement = section(verdict, "judge_agreement")
    facts = [f"{key.replace('_', ' ')} {_fact(value)}" for key, value in agreement.items()]
    parts.append(f"Agreement of the judge with people: {', '.join(facts)}." if facts else "")
    return " ".join(part for part in parts if part)


def _fact(value: object) -> str:
    if isinstance(value, list):
        return "\u2013".join(_fact(entry) for entry in value)  # pyright: ignore[reportUnknownVariableType]
    return short(float(value)) if isinstance(value, int | float) else str(value)


def _policies(verdict: files.Row, candidate: str, baseline: str) -> Markup | None:
    after, before = section(verdict, "candidate"), section(verdict, "baseline")
    shown = (
        ("mean_score", "Mean score of the judge", short),
        ("mean_length", "Mean length, tokens", short),
        ("distinct_2", "Distinct word pairs", percent),
        ("eos_rate", "Answers that end by themselves", percent),
    )
    rows = [
        _policy_row(label, (number(before, key), number(after, key)), share=write is percent)
        for key, label, write in shown
        if number(before, key) is not None or number(after, key) is not None
    ]
    heads = [el("th", text, scope="col") for text in ("", baseline, candidate, "Change")]
    table = el("table", el("thead", el("tr", *heads)), el("tbody", *rows), class_="numbers")
    return table if rows else None


def _policy_row(label: str, values: tuple[float | None, float | None], *, share: bool) -> Markup:
    before, after = values
    write = percent if share else short
    change = ""
    if before is not None and after is not None:
        change = f"{signed(100 * (after - before), 2)} points" if share else signed(after - before)
    cells = [el("td", text) for text in (write(before), write(after), change)]
    return el("tr", el("th", label, scope="row"), *cells)


def _range(interval: tuple[float, float] | None) -> str:
    low, high = interval or (0.0, 1.0)
    return f"{100 * low:.0f}\u2013{100 * high:.0f}\u00a0%"


def _marks(interval: tuple[float, float] | None) -> list[tuple[str, float]]:
    """Return the labels below the scale: the interval's ends, and 0, 50, 100 % if not too near."""
    ends = [100 * end for end in interval or ()]
    fixed = [at for at in (0, 50, 100) if all(abs(at - end) > 7 for end in ends)]
    apart = len(ends) == 2 and ends[1] - ends[0] > 7
    ends_shown = ends if apart else ([sum(ends) / 2] if ends else [])
    labels = (
        [f"{end:.0f}" for end in ends] if apart else ["\u2013".join(f"{end:.0f}" for end in ends)]
    )
    return [(f"{at} %", float(at)) for at in fixed] + list(zip(labels, ends_shown, strict=False))

"""What was trained on what: models, data, seed, machine, and the whole configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import cast

from rlhf.catalog.stages import PPO, REWARD_MODEL
from rlhf.config.raw_deepspeed import leaves
from rlhf.observe import files
from rlhf.observe.numbers import duration, finite
from rlhf.report.html import Markup, el, join
from rlhf.report.read import RunFiles, number, section, words


def setup_section(run: RunFiles) -> Markup | None:
    """Return the run's provenance; None without a manifest."""
    if not run.manifest:
        return None
    parts = [
        el("h2", "What was trained on what"),
        _facts(run),
        _data_table(run),
        _folded("Configuration", _flat(run.config)),
        _folded("Versions and machine", {**_named(run, "versions"), **_named(run, "machine")}),
    ]
    return join(parts)


def facts(run: RunFiles) -> list[tuple[str, str]]:
    """Return the few facts shown under the title: model, data, seed, time, day."""
    data = section(run.manifest, "data")
    rows = sum(number(section(data, path), "rows") or 0 for path in data)
    seconds = sum(number(stage, "seconds") or 0 for stage in _stages(run))
    files_word = "file" if len(data) == 1 else "files"
    found = [
        ("Policy", _policy(run) if run.config else ""),
        ("Data", f"{rows:,.0f} rows in {len(data)} {files_word}" if data else ""),
        ("Seed", words(run.manifest, "seed")),
        ("Training", duration(seconds) if seconds else ""),
        ("Started", _day(run.manifest.get("created"))),
    ]
    return [(name, value) for name, value in found if value]


def _flat(row: Mapping[str, object]) -> dict[str, str]:
    """Return every setting as text, by dotted path."""
    return {path: _written(value) for path, value in leaves(row)}


def _written(value: object) -> str:
    if value is None:
        return "\u2013"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _stages(run: RunFiles) -> list[files.Row]:
    stages = section(run.manifest, "stages")
    return [section(stages, name) for name in stages]


def _policy(run: RunFiles) -> str:
    new = section(run.config, "policy", "new")
    if not new:
        return words(section(run.config, "policy"), "path")
    size = f"{words(new, 'num_layers')} layers, width {words(new, 'hidden_size')}"
    return f"new small Llama ({size})"


def _day(created: object) -> str:
    moment = finite(created)
    if moment is None:
        return str(created)[:16].replace("T", " ") if created else ""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _facts(run: RunFiles) -> Markup:
    config = run.config
    rows = [
        ("Policy starts from", _policy(run)),
        ("Reference", words(section(config, "reference"), "path") or "the policy before PPO"),
        ("Reward", _reward(run)),
        ("Learns", _learns(config)),
        ("Seed", words(run.manifest, "seed")),
        ("rlhf", words(run.manifest, "rlhf_version")),
        ("Command", _command(run.manifest.get("command"))),
        ("Restarts", _restarts(run)),
    ]
    if not config:
        rows = rows[4:]
    pairs = [join([el("dt", name), el("dd", value)]) for name, value in rows if value]
    return el("dl", *pairs, class_="facts wide")


def _restarts(run: RunFiles) -> str:
    """Return how often the run started again by itself, and what was lost."""
    noted = run.manifest.get("restarts")
    losses = cast("list[files.Row]", noted) if isinstance(noted, list) else []
    lines = [f"{_day(loss.get('time'))}: {words(loss, 'reason')}" for loss in losses]
    return f"{len(lines)} ({'; '.join(lines)})" if lines else ""


def _reward(run: RunFiles) -> str:
    """Return what PPO's reward is the sum of; empty without PPO."""
    noted = run.manifest.get("reward")
    terms = [str(term) for term in cast("list[object]", noted)] if isinstance(noted, list) else []
    return " + ".join(terms or _terms_before(run))


def _terms_before(run: RunFiles) -> list[str]:
    """Return the terms by the settings, as runs of earlier releases noted no others."""
    reward = section(run.config, "reward")
    function = words(reward, "function")
    path = words(section(run.config, REWARD_MODEL.name), "path")
    if PPO.name not in run.curves:
        return []
    terms = [_term(reward, "function", function)] if function else []
    trained = REWARD_MODEL.name in run.curves and not path
    if path or trained:
        terms.append(_term(reward, "model", path or "trained in this run"))
    return terms


def _term(reward: files.Row, kind: str, what: str) -> str:
    weight = number(reward, f"{kind}_weight")
    name = "reward model" if kind == "model" else kind
    return f"{1.0 if weight is None else weight:g} x {name} {what}"


def _learns(config: files.Row) -> str:
    peft = section(config, "peft")
    if words(peft, "method") == "lora":
        return f"LoRA adapters of rank {words(peft, 'rank')}"
    return "all weights"


def _command(command: object) -> str:
    if isinstance(command, list):
        return " ".join(str(part) for part in cast("list[object]", command))
    return str(command or "")


def _data_table(run: RunFiles) -> Markup | None:
    data = section(run.manifest, "data")
    if not data:
        return None
    rows = [
        el(
            "tr",
            el("th", path, scope="row"),
            el("td", f"{number(section(data, path), 'rows') or 0:,.0f}"),
            el("td", el("code", words(section(data, path), "sha256")[:12])),
        )
        for path in data
    ]
    heads = [el("th", name, scope="col") for name in ("Data file", "Rows", "SHA-256")]
    return el("table", el("thead", el("tr", *heads)), el("tbody", *rows), class_="numbers")


def _named(run: RunFiles, name: str) -> dict[str, str]:
    return _flat(section(run.manifest, name))


def _folded(title: str, settings: Mapping[str, str]) -> Markup | None:
    if not settings:
        return None
    rows = [
        el("tr", el("th", el("code", name), scope="row"), el("td", value))
        for name, value in settings.items()
    ]
    heads = el("tr", el("th", "Setting", scope="col"), el("th", "Value", scope="col"))
    table = el("table", el("thead", heads), el("tbody", *rows), class_="settings")
    return el("details", el("summary", f"{title} ({len(rows)} entries)"), table)

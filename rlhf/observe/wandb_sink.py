"""WandbSink: Weights & Biases, which may be slow, unreachable or dead without harm to the run."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, cast
from urllib.error import HTTPError
from urllib.request import urlopen

from rlhf.catalog.stages import PPO
from rlhf.config.observe import TrackingConfig
from rlhf.observe import files
from rlhf.observe.samples import Sample, prompt_text, score_name
from rlhf.observe.sinks import SinkError

if TYPE_CHECKING:
    from wandb import Run

STEP: Final = "train/global_step"
"""The x axis of every metric, as in the Hugging Face trainers."""
REACH_TIMEOUT_S: Final = 5.0
INIT_TIMEOUT_S: Final = 30.0
FINISH_TIMEOUT_S: Final = 60.0


class WandbSink:
    """One wandb run, written by the driver only.

    SFT and reward-model metrics carry their stage as a prefix (`sft/loss/train`); PPO metrics keep
    TRL's names (`objective/kl`). The run id is kept in RUN/wandb_id, so a resumed run goes on in
    the same curves.
    """

    name = "wandb"

    def __init__(self, run: Run) -> None:
        """Keep the run that `open_wandb` has started."""
        self._run = run

    def begin(self, stage: str, first_step: int) -> None:
        """Nothing to do: every point carries its own step, so a repeated one overlays the first."""

    def record(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Log one point a metric."""
        prefix = "" if stage == PPO.name else f"{stage}/"
        with _own_errors():
            self._run.log({STEP: step, **{f"{prefix}{k}": v for k, v in values.items()}})

    def samples(self, stage: str, step: int, rows: Sequence[Sample]) -> None:
        """Log a table `samples/<stage>`."""
        import wandb

        parts = list(rows[0].parts) if rows else []
        columns: list[Any] = ["step", "prompt", "response", "score", "length", "finished"]
        columns += [score_name(part) for part in parts]
        data: list[Any] = [
            [step, prompt_text(r.prompt), r.response, r.score, r.length, r.finished]
            + [r.parts.get(part) for part in parts]
            for r in rows
        ]
        with _own_errors():
            table = wandb.Table(columns=columns, data=data)
            self._run.log({STEP: step, f"samples/{stage}": table})

    def close(self, *, failed: bool) -> None:
        """Finish the run, waiting at most FINISH_TIMEOUT_S seconds for its upload."""
        with _own_errors():
            self._run.finish(exit_code=int(failed))


def open_wandb(
    run_dir: Path,
    tracking: TrackingConfig,
    config: Mapping[str, object],
    run_id: str | None,
    warn: Callable[[str], None],
) -> WandbSink:
    """Begin or go on with the wandb run of a folder.

    Args:
        run_dir: holds wandb's files and the stored run id.
        tracking: `wandb` is offline or online.
        config: the resolved configuration, shown on the run's page.
        run_id: used when the folder has no id yet; a random one when None.
        warn: called with a line when online is not possible and offline is used.

    Raises:
        SinkError: when not even an offline run can start.
    """
    import wandb

    identity = _identity(run_dir, run_id)
    if tracking.wandb == "online":
        try:
            _reach()
            return _init("online", run_dir, tracking.project, identity, config)
        except SinkError as error:
            wandb.teardown()  # frees the run id, which the failed attempt may still use
            warn(
                f"tracking.wandb=online: wandb cannot be reached ({error}); writing offline; "
                f"later: wandb sync {run_dir}/wandb/offline-run-*"
            )
    return _init("offline", run_dir, tracking.project, identity, config)


def _init(
    mode: Literal["online", "offline"],
    run_dir: Path,
    project: str,
    identity: str,
    config: Mapping[str, object],
) -> WandbSink:
    import wandb  # imported only when asked for: it starts a service process

    settings = wandb.Settings(
        init_timeout=INIT_TIMEOUT_S,
        login_timeout=INIT_TIMEOUT_S,
        finish_timeout=FINISH_TIMEOUT_S,
        silent=True,
        console="off",
    )
    with _own_errors():
        run = wandb.init(
            project=project,
            name=run_dir.resolve().name,
            id=identity,
            resume="allow",
            dir=str(run_dir),
            mode=mode,
            config=cast("dict[str, Any]", dict(config)),
            settings=settings,
        )
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP)
    return WandbSink(run)


def _reach() -> None:
    """Ask wandb's server for any answer at all, which takes seconds where its client takes minutes.

    Raises:
        SinkError: when there is no answer; a refusal is an answer.
    """
    import wandb

    url = wandb.setup().settings.base_url
    try:
        with urlopen(url, timeout=REACH_TIMEOUT_S):
            pass
    except HTTPError:
        return
    except (OSError, ValueError, HTTPException) as error:
        raise SinkError(f"no answer from {url}: {error}") from error


def _identity(run_dir: Path, run_id: str | None) -> str:
    path = run_dir / files.WANDB_ID
    stored = path.read_text("utf-8").strip() if path.exists() else ""
    identity = stored or run_id or secrets.token_hex(4)
    if identity != stored:
        files.replace_text(path, f"{identity}\n")
    return identity


@contextmanager
def _own_errors() -> Iterator[None]:
    """Raise SinkError in place of wandb's errors, which have no base class of their own."""
    import wandb
    from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError
    from wandb.sdk.mailbox.mailbox_handle import ServerResponseError

    lost = (HandleAbandonedError, MailboxClosedError, ServerResponseError)
    try:
        yield
    except (wandb.Error, *lost) as error:
        raise SinkError(str(error).partition("\n")[0]) from error

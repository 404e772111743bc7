"""Submit: a command line becomes a job of a running Ray cluster, followed to its end."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from rlhf.errors import ConfigError, RLHFError, WorkerError
from rlhf.runtime.archive import Archive

DEFAULT_ADDRESS = "http://127.0.0.1:8265"
CONNECT_TIMEOUT_S = 5.0
ASK_EVERY_S = 5.0
"""How often a job is asked whether it has ended, while its log is followed."""
LAST_WORDS_S = 10.0
"""How long the log of a job that has ended may take to arrive."""
PATIENCE_S = 60.0
"""How long a cluster may be out of reach before its job is given up for lost."""
STOPPED, NO_PROGRAM = 130, 127
"""Exit codes of a job that somebody stopped, and of a shell that does not find `python`."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a job ended: its status, and Ray's message."""

    status: str
    driver_code: int | None
    """Exit code of the job's own process; None when Ray does not know it."""
    message: str

    @property
    def exit_code(self) -> int:
        """The exit code that the job's command would have had here."""
        if self.status == "SUCCEEDED":
            return 0
        if self.status == "STOPPED":
            return STOPPED
        if not self.driver_code:
            return WorkerError.exit_code
        return self.driver_code if self.driver_code > 0 else 128 - self.driver_code

    @property
    def reason(self) -> str:
        """Why it did not succeed, in a line; the job's own error message is in its log."""
        if self.status == "STOPPED":
            return "was stopped"
        if self.driver_code == NO_PROGRAM:
            return "found no `python`; start Ray on the nodes from an activated environment"
        if self.driver_code:
            return f"failed with exit code {self.exit_code}"
        return f"failed: {self.message.splitlines()[0] if self.message else 'no message from Ray'}"


class Jobs:
    """The jobs of one cluster, through its dashboard's REST API."""

    def __init__(self, address: str) -> None:
        """Connect to the cluster's dashboard.

        Raises:
            ConfigError: when nothing answers, or the cluster wants another token.
        """
        self.address = address
        host, port = _host_and_port(address)
        try:
            socket.create_connection((host, port), CONNECT_TIMEOUT_S).close()
        except OSError as error:
            raise ConfigError(
                f"{address}: no Ray dashboard answers there ({error}); start Ray with `ray start "
                "--head --dashboard-host=ADDRESS`, and give --address or RAY_ADDRESS"
            ) from error
        # Ray prefers its environment variables to the argument; and takes a second to import.
        os.environ["RAY_API_SERVER_ADDRESS"] = address
        # Its logger reports every upload and every connection that closed.
        logging.disable(logging.INFO)
        from ray.job_submission import JobSubmissionClient

        self._client: Any = _asked(address, lambda: JobSubmissionClient(address))

    def find(self, job_id: str) -> tuple[str, str] | None:
        """Return (status, command line) of a job, or None when no job has that name."""
        try:
            job = _asked(self.address, lambda: self._client.get_job_info(job_id))
        except ConfigError as error:
            if "status code 404" in str(error):
                return None
            raise
        return str(job.status), job.entrypoint

    def submit(
        self, job_id: str, command_line: str, archive: Archive, env: Mapping[str, str]
    ) -> None:
        """Start a job in a copy of the archive's files."""
        runtime_env = {"working_dir": str(archive.path), "env_vars": dict(env)}
        _asked(
            self.address,
            lambda: self._client.submit_job(
                entrypoint=command_line, submission_id=job_id, runtime_env=runtime_env
            ),
        )

    def follow(self, job_id: str) -> Ended:
        """Print a job's log as it is written; return how the job ended.

        Raises:
            WorkerError: when the cluster stays out of reach.
        """
        log = _Log(self._client, job_id)
        while True:
            ended = asyncio.run(self._watch(log))
            if ended is not None:
                return ended
            time.sleep(1.0)

    async def _watch(self, log: _Log) -> Ended | None:
        """Follow the log until it closes or the job has ended; a lost connection is not an end."""
        tail = asyncio.create_task(log.follow())
        try:
            while True:
                await asyncio.wait([tail], timeout=ASK_EVERY_S)
                ended = await asyncio.to_thread(self._ended, log.job_id)
                if ended is not None:
                    await asyncio.wait([tail], timeout=LAST_WORDS_S)
                if ended is not None or tail.done():
                    return ended
        finally:
            tail.cancel()

    def _ended(self, job_id: str) -> Ended | None:
        """Return how a job ended, or None while it goes on."""
        lost_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                job = _asked(self.address, lambda: self._client.get_job_info(job_id))
                break
            except ConfigError as error:
                if time.monotonic() > lost_at:
                    raise WorkerError(f"lost sight of job {job_id}: {error}") from error
                time.sleep(1.0)
        if not job.status.is_terminal():
            return None
        return Ended(
            status=str(job.status), driver_code=job.driver_exit_code, message=job.message or ""
        )


class _Log:
    """A job's log, printed once however often its connection breaks."""

    def __init__(self, client: Any, job_id: str) -> None:
        self.job_id, self._client, self._printed = job_id, client, 0

    async def follow(self) -> None:
        """Print what is new; ends when the connection does."""
        import aiohttp

        heard = 0
        try:
            async for text in self._client.tail_job_logs(self.job_id):
                new = text[max(0, self._printed - heard) :]
                heard += len(text)
                self._printed = max(self._printed, heard)
                sys.stdout.write(new)
                sys.stdout.flush()
        except (aiohttp.ClientError, OSError, RuntimeError):
            # Whether the job goes on is asked elsewhere; if it does, the log is opened again.
            return


def dashboard_of(given: str | None) -> str:
    """Return where jobs are handed in: as given, else RAY_ADDRESS, else this machine."""
    return given or os.environ.get("RAY_ADDRESS") or DEFAULT_ADDRESS


def _host_and_port(address: str) -> tuple[str, int]:
    parts = urlsplit(address)
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        port = None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port:
        raise ConfigError(
            f"{address} is no dashboard of a Ray cluster; jobs go to http://HEAD:8265 (--address "
            "or RAY_ADDRESS), not to the port that nodes join"
        )
    return parts.hostname, port


def _asked(address: str, ask: Callable[[], Answer]) -> Answer:
    """Raise errors of ours in place of Ray's."""
    import requests
    from ray.exceptions import AuthenticationError

    try:
        return ask()
    except RLHFError:
        raise
    except AuthenticationError as error:
        raise ConfigError(
            f"{address} refuses the token; set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or "
            "RAY_AUTH_TOKEN_PATH) as on the cluster"
        ) from error
    except (requests.RequestException, ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(f"{address}: {str(error).splitlines()[0]}") from error

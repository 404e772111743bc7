"""wandb offline keeps one identity over resumes; unreachable means offline."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import wandb

from rlhf.config.observe import TrackingConfig
from rlhf.flow.metrics import Metrics
from rlhf.observe import files
from rlhf.observe.log import RunLog


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    """Keep wandb away from a login and caches of the person who runs the tests."""
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)


def _train(folder, mode, run_id=None):
    tracking = TrackingConfig(console=False, wandb=mode)
    with RunLog(folder, tracking, config={"seed": 0}, run_id=run_id) as log:
        log.begin("sft", 1)
        log.record(0, Metrics.of({"loss/train": 1.0}))


def test_offline_keeps_the_run_id_over_a_resume(tmp_path):
    run = tmp_path / "run"
    _train(run, "offline", run_id="first-id")
    _train(run, "offline", run_id="second-id")
    assert (run / files.WANDB_ID).read_text().strip() == "first-id"
    folders = [path.name for path in run.glob("wandb/offline-run-*")]
    assert len(folders) == 2 and all("-first-id" in name for name in folders)
    assert not (run / files.WARNINGS).exists()
    assert list(run.glob("wandb/offline-run-*/*.wandb"))


def test_unreachable_means_a_warning_and_offline(tmp_path):
    run = tmp_path / "run"
    _train(run, "online")
    (row,) = files.read_rows(run / files.WARNINGS)
    assert row["message"].startswith("tracking.wandb=online: wandb cannot be reached")
    assert list(run.glob("wandb/offline-run-*/*.wandb"))
    assert len(files.read_rows(run / files.METRICS)) == 1


def test_a_server_that_answers_but_refuses_means_offline_too(tmp_path, monkeypatch):
    refusals = []

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self):
            refusals.append(self.path)
            self.send_error(403)

        do_POST = do_GET

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refuse)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    wandb.teardown()  # it reads its address once a process
    _train(tmp_path / "run", "online")
    server.shutdown()
    assert len(refusals) > 1
    (row,) = files.read_rows(tmp_path / "run" / files.WARNINGS)
    assert "writing offline" in row["message"]
    assert list((tmp_path / "run").glob("wandb/offline-run-*/*.wandb"))

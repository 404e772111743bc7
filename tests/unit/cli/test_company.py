"""Company: processes start when they are first needed, and once."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlhf.cli.company import Company
from rlhf.cluster import ray_cluster
from rlhf.config.observe import TrackingConfig
from rlhf.errors import ConfigError
from rlhf.flow.rollout import joined
from rlhf.observe.log import RunLog
from tests import models


def test_nothing_starts_until_an_act_asks(tmp_path, folder):
    log = RunLog(tmp_path, TrackingConfig(console=False), config={})
    with log, Company(models.experiment(), ["policy"], log) as company:
        assert company.timings() == []
        writer = company.players.writer(Path(folder()))
        assert len(joined(writer.generate(models.prompts(2), 0))) == 2
        (span,) = company.timings()
        assert (span.role, span.method) == ("policy", "generate")
        assert span.end > span.start
        assert company.timings() == []
        again = company.players.writer(Path(folder()))
        assert again.group is writer.group


def test_trials_side_by_side_share_the_cluster_evenly(tmp_path, monkeypatch):
    asked = {}

    def refuse(cluster, timeline, **settings):
        asked.update(settings)
        raise ConfigError("enough")

    monkeypatch.setattr(ray_cluster, "RayCluster", refuse)
    parallel = models.experiment(
        cluster={"backend": "ray"}, engine={"threads": 2}, sweep={"parallel": 3}
    )
    log = RunLog(tmp_path, TrackingConfig(console=False), config={})
    company = Company(parallel, ["policy"], log)
    with log, company, pytest.raises(ConfigError, match="enough"):
        company.players.writer(Path("anywhere"))
    assert asked == {"threads": 2, "num_runs": 3}

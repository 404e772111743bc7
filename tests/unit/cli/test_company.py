"""Company: processes start when they are first needed, and once."""

from __future__ import annotations

from pathlib import Path

from rlhf.cli.company import Company
from rlhf.config.observe import TrackingConfig
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

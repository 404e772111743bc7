"""DeepSpeed comes for the device that was asked for, and compiles nothing to communicate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

# In a process of its own: the first import decides the device for all that follow.
IMPORT = """
import json, logging
from rlhf.engine.accelerator import import_deepspeed
deepspeed = import_deepspeed("cpu")
print(json.dumps({
    "device": deepspeed.get_accelerator().device_name(),
    "shm_comm": deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"],
    "is_quiet": not deepspeed.utils.logging.logger.isEnabledFor(logging.WARNING),
}))
"""


def test_on_the_cpu_the_communication_op_is_off_and_the_log_is_quiet():
    environment = {name: value for name, value in os.environ.items() if name != "DS_ACCELERATOR"}
    done = subprocess.run(
        [sys.executable, "-c", IMPORT],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == {"device": "cpu", "shm_comm": False, "is_quiet": True}

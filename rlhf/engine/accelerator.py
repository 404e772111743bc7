"""DeepSpeed, imported quietly for one kind of device."""

from __future__ import annotations

import logging
import os
from typing import Any


def import_deepspeed(device: str) -> Any:
    """Return the deepspeed module, without compiling its CPU communication op.

    That op would be built with the C++ compiler at first use (most of a minute); gloo serves.

    Args:
        device: cpu or cuda; the first call in a process decides.
    """
    os.environ["DS_ACCELERATOR"] = device
    import deepspeed

    deepspeed.utils.logging.logger.setLevel(logging.ERROR)
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    return deepspeed

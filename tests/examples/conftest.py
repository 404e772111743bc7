"""An example finds the files beside it, as it does where it is loaded as FILE.py:NAME."""

from __future__ import annotations

import sys

from rlhf.plugin import EXAMPLES, shipped

sys.path.extend(str(folder) for folder in sorted(shipped(EXAMPLES).iterdir()) if folder.is_dir())

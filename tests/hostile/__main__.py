"""All hostile cases: `make hostile` runs them one after another and names those that end badly."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.hostile.forks import Outcome, run
from tests.hostile.functions import HANGS_S, Case, cases
from tests.hostile.home import SETTINGS, make_home


def try_function(home: Path, case: Case) -> Outcome:
    """Run one PPO step against a function."""
    folder = Path(tempfile.mkdtemp(dir=home))
    (folder / "own.py").write_text(case.source, encoding="utf-8")
    for name in ("model", "prompts.jsonl"):
        (folder / name).symlink_to(home / name)
    limit = (f"reward.timeout_s={HANGS_S}",) if case.hangs else ()
    return run(folder, ("ppo", "run_dir=run", *SETTINGS, f"reward.function={case.spec}", *limit))


def main() -> None:
    """Try everything whose name holds the first argument."""
    asked = sys.argv[1] if len(sys.argv) > 1 else ""
    bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        home = make_home(Path(scratch))
        for case in cases():
            if asked not in case.name:
                continue
            outcome = try_function(home, case)
            fault = outcome.fault(works=case.works)
            bad += fault is not None
            shown = "ok" if fault is None else f"{fault}\n{outcome.said}"
            print(f"{case.name}: {shown}", flush=True)
    print(f"{bad} ended badly")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()

#!/usr/bin/env bash
# The whole pipeline on this machine: launch/local.sh recipe=quickstart run_dir=runs/first
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -x .venv/bin/rlhf ]; then PATH="$PWD/.venv/bin:$PATH"; fi
exec rlhf pipeline "$@"

#!/usr/bin/env bash
# The whole pipeline as a job of a running Ray cluster; its exit code is 0 only if the job succeeded.
#
#   RAY_ADDRESS=http://HEAD:8265 launch/ray_job.sh policy.path=... run_dir=/shared/runs/first
#
# A cluster started with Ray's defaults also asks for its token: RAY_AUTH_MODE=token and RAY_AUTH_TOKEN.
# The nodes need this package's dependencies installed and run_dir on a disk they share; start Ray from
# that environment (activated), so that `python` is the one that has them.
set -euo pipefail
: "${RAY_ADDRESS:?set it to the dashboard of the cluster, such as http://HEAD:8265}"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -x .venv/bin/ray ]; then PATH="$PWD/.venv/bin:$PATH"; fi

job="rlhf-$(date +%Y%m%d-%H%M%S)-$$"
leave_out='{"excludes": [".git", ".venv", "runs", "outputs", "multirun"]}'
submitted=0
ray job submit --address "$RAY_ADDRESS" --submission-id "$job" --working-dir . \
  --runtime-env-json "$leave_out" -- python -m rlhf pipeline "$@" || submitted=$?

if [ "$submitted" -ne 0 ]; then
  echo "launch/ray_job.sh: $job did not succeed (exit code $submitted)" >&2
  exit "$submitted"
fi

# `ray job submit` ends with 0 for a job that somebody stopped, so the job itself is asked. Its id
# is part of the answer looked for: the status also repeats what the job printed.
status=$(ray job status --address "$RAY_ADDRESS" "$job" 2>&1) || true
if ! grep -qF "Job '$job' succeeded" <<<"$status"; then
  echo "launch/ray_job.sh: $job did not succeed: $(tail -n 1 <<<"$status")" >&2
  exit 1
fi

#!/usr/bin/env bash
# The whole pipeline as a job of a running Ray cluster; its exit code is 0 only if the job succeeded.
#
#   RAY_ADDRESS=http://HEAD:8265 launch/ray_job.sh policy.path=... run_dir=/shared/runs/first
#
# The nodes need this package's dependencies installed and run_dir on a disk they share.
set -euo pipefail
: "${RAY_ADDRESS:?set it to the dashboard of the cluster, such as http://HEAD:8265}"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [ -x .venv/bin/ray ]; then PATH="$PWD/.venv/bin:$PATH"; fi

job="rlhf-$(date +%Y%m%d-%H%M%S)-$$"
leave_out='{"excludes": [".git", ".venv", "runs", "outputs", "multirun"]}'
submitted=0
ray job submit --address "$RAY_ADDRESS" --submission-id "$job" --working-dir . \
  --runtime-env-json "$leave_out" -- python -m rlhf pipeline "$@" || submitted=$?

# `ray job submit` ends with 0 for a job that somebody stopped, so the job itself is asked.
status=$(ray job status --address "$RAY_ADDRESS" "$job" 2>&1) || true
if grep -qi succeeded <<<"$status"; then exit 0; fi
echo "launch/ray_job.sh: $job did not succeed: $(tail -n 1 <<<"$status")" >&2
if [ "$submitted" -ne 0 ]; then exit "$submitted"; fi
exit 1

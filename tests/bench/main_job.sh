#!/usr/bin/env bash
# Time, peak memory and second run of the main job, from an empty store.
#   tests/bench/main_job.sh [STORE]
set -euo pipefail
cd "$(dirname "$0")/../.."
store="${1:-$(mktemp -d)}"
cargo build --release --quiet
program="${CARGO_TARGET_DIR:-target}/release/gazal-pipe"
nproc | xargs echo "cores:"
echo "== first run"
/usr/bin/time -f '%e s, %M KiB at most in one process' "$program" run pipelines/gazal-r1.toml --store "$store"
echo "== second run"
/usr/bin/time -f '%e s, %M KiB' "$program" run pipelines/gazal-r1.toml --store "$store" --quiet

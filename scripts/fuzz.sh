#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS (60). Fuzzing needs unstable compiler flags, which the stable
# toolchain is told to accept, unless FUZZ_TOOLCHAIN names another one (nightly).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/env.sh

[ -d fuzz ] || { echo "fuzz.sh: there are no fuzz targets" >&2 && exit 1; }
cargo=(cargo)
if [ -n "${FUZZ_TOOLCHAIN:-}" ]; then
    cargo=(cargo "+$FUZZ_TOOLCHAIN")
else
    export RUSTC_BOOTSTRAP=1
fi
for target in $("${cargo[@]}" fuzz list); do
    echo "--- $target, ${FUZZ_SECONDS:=60} s"
    "${cargo[@]}" fuzz run --target-dir "$CACHE_DIR/fuzz-target" "$target" -- -max_total_time="$FUZZ_SECONDS"
done

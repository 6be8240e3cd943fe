# shellcheck shell=bash
# Sourced by the other scripts: where builds, tools and virtual environments are kept, outside the clone
# and between runs.
CACHE_DIR="${XDG_CACHE_HOME:-$HOME/.cache}/llm-cache-server"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$CACHE_DIR/target}"
export PATH="$PATH:$HOME/.cargo/bin:$CACHE_DIR/tools/bin"
mkdir -p "$CACHE_DIR"

#!/usr/bin/env bash
# Runs what the documentation says: see run.py for what that means and for the arguments.
# LLM_CACHE_SERVER_BIN names the built server (default: the one in the target directory).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/env.sh
scripts/setup.sh docs
# For promtool, which reads the queries.
. scripts/prometheus.sh
export LLM_CACHE_SERVER_BIN="${LLM_CACHE_SERVER_BIN:-$CARGO_TARGET_DIR/release/llm-cache-server}"
export DOCS_YAML_PYTHON="$CACHE_DIR/venv-lint/bin/python"
export PYTHONDONTWRITEBYTECODE=1
exec "$CACHE_DIR/venv-sdk/bin/python" tests/docs/run.py "$@"

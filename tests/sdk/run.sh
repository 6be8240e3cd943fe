#!/usr/bin/env bash
# Installs what the SDK suites need and runs them: see run.py for what it does and for the arguments.
# LLM_CACHE_SERVER_BIN names the built server (default: the one in the target directory).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. scripts/env.sh
scripts/setup.sh sdk
export LLM_CACHE_SERVER_BIN="${LLM_CACHE_SERVER_BIN:-$CARGO_TARGET_DIR/release/llm-cache-server}"
export SDK_PYTHON_FRAMEWORKS="$CACHE_DIR/venv-sdk-frameworks/bin/python"
export PYTHONDONTWRITEBYTECODE=1
exec "$CACHE_DIR/venv-sdk/bin/python" tests/sdk/run.py "$@"

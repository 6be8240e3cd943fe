#!/usr/bin/env bash
# Makes docs/img/dashboard.png: runs the built server under load for some minutes, scraped by a real Prometheus, and
# draws what the panels' own queries give. Not part of the checks. Fails if a panel has no data, but draws first.
#
#   scripts/dashboard_picture.sh [--seconds 480] [--rate 60] [--out FILE] [--keep VALUES.json]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/env.sh
. scripts/prometheus.sh

server="$CARGO_TARGET_DIR/release/llm-cache-server"
[ -x "$server" ] || { echo "dashboard_picture.sh: there is no $server, 'make build' makes it" >&2 && exit 1; }
venv="$CACHE_DIR/venv-dashboard"
if ! cmp -s scripts/requirements-dashboard.txt "$venv/stamp"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --retries 5 -r scripts/requirements-dashboard.txt
    cp scripts/requirements-dashboard.txt "$venv/stamp"
fi
exec "$venv/bin/python" -B scripts/dashboard_picture/run.py --server "$server" --out docs/img/dashboard.png "$@"

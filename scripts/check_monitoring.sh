#!/usr/bin/env bash
# Checks deploy/monitoring: the rules and their tests by promtool; the dashboard, the runbook and whether every alert
# is tested by scripts/check_monitoring.py. Fetches what it needs. Whether the queries name what the server exports is
# a Rust test (tests/it/queries.rs).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/env.sh
. scripts/prometheus.sh

scripts/setup.sh lint
promtool check rules --lint=all --lint-fatal deploy/monitoring/alerts.yaml
promtool test rules deploy/monitoring/alerts_test.yaml
"$CACHE_DIR/venv-lint/bin/python" -B scripts/check_monitoring.py

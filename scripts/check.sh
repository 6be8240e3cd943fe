#!/usr/bin/env bash
# Everything that is checked without running the server. Without arguments: all of it.
#
#   scripts/check.sh [fmt] [files] [workflows] [deny] [clippy]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/env.sh

check_fmt() { cargo fmt --all --check; }

check_files() {
    scripts/setup.sh lint
    local bin="$CACHE_DIR/venv-lint/bin" scripts=(.ci/run scripts/*.sh tests/*/*.sh)
    "$bin/shellcheck" --external-sources "${scripts[@]}"
    "$bin/yamllint" --strict .
    "$bin/hadolint" Dockerfile
    "$bin/check-jsonschema" --builtin-schema vendor.compose-spec compose.yaml
    # The lock files must work with any registry, so they name none.
    if grep -n '"resolved"' tests/*/node/package-lock.json scripts/node-tools/package-lock.json; then
        echo "package-lock.json names a registry: npm install --package-lock-only --omit-lockfile-registry-resolved" >&2
        return 1
    fi
    "$bin/python" -B scripts/check_links.py
}

check_workflows() { scripts/check_workflows.sh; }

check_deny() {
    # Not being able to install the checker says nothing about the code: it is said aloud and goes on.
    if scripts/setup.sh deny; then
        cargo deny --locked --log-level error check bans licenses sources
    else
        echo "WARNING: dependencies were NOT checked, cargo-deny is not there" >&2
    fi
}

check_clippy() {
    scripts/setup.sh build
    cargo clippy --release --locked --all-targets -- -D warnings
}

[ $# -gt 0 ] || set -- fmt files workflows deny clippy
for part in "$@"; do
    case $part in
    fmt | files | workflows | deny | clippy) "check_$part" ;;
    *)
        echo "check.sh: no such part: $part" >&2
        exit 2
        ;;
    esac
done

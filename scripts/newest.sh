#!/usr/bin/env bash
# Which of the tags that move may a run of .github/workflows/release.yaml move? Runs overtake each other, old
# ones are started again, and a fix for an old version comes after a newer version; none of them may turn
# `latest`, `1.2` or `1` back.
#
# Reads the repository's refs ("COMMIT REF" a line), and of GITHUB_REF and GITHUB_SHA what the run builds.
# Prints for GITHUB_OUTPUT:
#
#   branch=true  the commit is still the head of its branch
#   minor=true   the version is the newest X.Y.*
#   major=true   the version is the newest X.*
set -euo pipefail

branch=false minor=false major=false
refs=$(cat)

newest_of() { # newest_of PATTERN: the newest version without a suffix that fits; nothing if there is none
    { sed -nE 's#^[0-9a-f]+ refs/tags/v([0-9]+\.[0-9]+\.[0-9]+)$#\1#p' <<<"$refs" | grep -E "$1" || true; } |
        sort --version-sort | tail -n 1
}

if [[ $GITHUB_REF =~ ^refs/tags/v(([0-9]+)\.([0-9]+)\.[0-9]+)$ ]]; then
    version=${BASH_REMATCH[1]} x=${BASH_REMATCH[2]} y=${BASH_REMATCH[3]}
    if [ "$(newest_of "^$x\.$y\.")" = "$version" ]; then minor=true; fi
    if [ "$(newest_of "^$x\.")" = "$version" ]; then major=true; fi
elif [[ $GITHUB_REF == refs/heads/* ]]; then
    if grep -qxF "$GITHUB_SHA $GITHUB_REF" <<<"$refs"; then branch=true; fi
fi
printf '%s\n' "branch=$branch" "minor=$minor" "major=$major"

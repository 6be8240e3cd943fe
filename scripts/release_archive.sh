#!/usr/bin/env bash
# Packs one binary for a GitHub release, with what belongs to it. The same files give the same archive.
#
#   scripts/release_archive.sh VERSION ARCH BINARY DIRECTORY
set -euo pipefail

version=$1 arch=$2 binary=$(realpath "$3") directory=$(realpath -m "$4")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
name="llm-cache-server-$version-linux-$arch"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir -p "$directory"
install -d -m 755 "$work/$name" "$work/$name/conf"
install -m 755 "$binary" "$work/$name/llm-cache-server"
install -m 644 LICENSE README.md CHANGELOG.md "$work/$name"
install -m 644 conf/llm-cache-server.yaml "$work/$name/conf"
tar --create --directory "$work" --sort name --owner 0 --group 0 --numeric-owner \
    --mtime "@$(git log -1 --format=%ct)" "$name" | gzip --no-name >"$directory/$name.tar.gz"
echo "$directory/$name.tar.gz"

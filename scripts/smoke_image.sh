#!/usr/bin/env bash
# Starts an image as it is meant to run (read-only, without privileges), waits until it says it is ready, and
# stops it: it has to end by itself, and well.
#
#   scripts/smoke_image.sh IMAGE [SECONDS to get ready, 60]
set -euo pipefail

image=$1 patience=${2:-60}
docker run --rm "$image" --version
container=$(docker run --detach --read-only --cap-drop ALL --security-opt no-new-privileges "$image")
finish() {
    local code=$?
    [ "$code" = 0 ] || docker logs "$container" || true
    docker rm --force "$container" >/dev/null || true
}
trap finish EXIT

deadline=$((SECONDS + patience))
until docker exec "$container" llm-cache-server healthcheck; do
    if [ "$SECONDS" -ge "$deadline" ]; then
        echo "smoke_image.sh: not ready within $patience s" >&2
        exit 1
    fi
    sleep 1
done
docker stop --time 45 "$container" >/dev/null
code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
if [ "$code" != 0 ]; then
    echo "smoke_image.sh: ended with $code after SIGTERM (137: had to be killed)" >&2
    exit 1
fi
echo "ready, and ended by itself after SIGTERM"

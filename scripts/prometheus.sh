# shellcheck shell=bash
# Sourced, after env.sh: puts prometheus and promtool on the PATH, Debian's if there are none. The package is only
# unpacked, into the cache directory: installed, it would start a server.
if ! command -v promtool >/dev/null || ! command -v prometheus >/dev/null; then
    PATH="$PATH:$CACHE_DIR/prometheus/usr/bin"
fi
if ! command -v promtool >/dev/null || ! command -v prometheus >/dev/null; then
    if ! command -v apt-get >/dev/null; then
        echo "promtool and prometheus are missing, and there is no apt-get to fetch them with" >&2
        exit 1
    fi
    (
        if command -v flock >/dev/null; then flock 9; fi
        [ ! -x "$CACHE_DIR/prometheus/usr/bin/promtool" ] || exit 0
        echo "fetching prometheus" >&2
        as_root=()
        [ "$(id -u)" = 0 ] || as_root=(sudo)
        "${as_root[@]}" apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update
        unpacked=$(mktemp -d "$CACHE_DIR/prometheus.XXXXXX")
        (cd "$unpacked" && apt-get -qq -o Acquire::Retries=3 -o APT::Sandbox::User=root download prometheus)
        dpkg-deb -x "$unpacked"/prometheus_*.deb "$unpacked"
        rm -rf "$CACHE_DIR/prometheus" "$unpacked"/*.deb
        mv "$unpacked" "$CACHE_DIR/prometheus"
    ) 9>"$CACHE_DIR/prometheus.lock"
fi

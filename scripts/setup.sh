#!/usr/bin/env bash
# Installs what a part of the work needs and is not there. Says nothing when nothing is missing.
#
#   scripts/setup.sh PART…
#
#   build  what compiling needs: clang and libclang (RocksDB's bindings), cmake; checks the Rust toolchain
#   test   what the Rust tests start beside the server: redis-server
#   sdk    Python and Node with the packages of the SDK suites
#   docs   what the commands in the docs need, the SDKs among it
#   bench  the load generator, and what the server is measured beside
#   guard  valgrind, which counts instructions
#   lint   the file checkers
#   deny   cargo-deny
#   fuzz   cargo-fuzz and the address sanitizer of clang
#
# System packages come from apt-get (as root, or by sudo); elsewhere it says what to install by hand.
# Everything else is kept in the cache directory (scripts/env.sh) or in tests/sdk/node/node_modules.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/env.sh

RUST_VERSION_MIN=1.88
PYTHON_VERSION_MIN=3.11
NODE_VERSION_MIN=18
CARGO_DENY_VERSION=0.20.2
CARGO_FUZZ_VERSION=0.13.2

say() { printf 'setup: %s\n' "$*" >&2; }
die() {
    say "$*"
    exit 1
}

# Two runs at once (a `make` in each of two terminals) must not write the same files.
if [ -z "${SETUP_LOCKED:-}" ] && command -v flock >/dev/null; then
    export SETUP_LOCKED=1
    exec flock "$CACHE_DIR/setup.lock" scripts/setup.sh "$@"
fi

packages=()
need() { # need PACKAGE CHECK…: the Debian package that is to be installed if the check fails
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || packages+=("$package")
}

has() { command -v "$1"; }
has_daemon() { PATH="$PATH:/usr/sbin" command -v "$1"; }
has_all() { for each in "$@"; do has "$each" || return; done; }
has_libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] || ldconfig -p | grep -E 'libclang(-[0-9.]+)?\.so' ||
        compgen -G '/usr/lib/llvm-*/lib/libclang.so*'
}
has_sanitizer() { compgen -G '/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.asan-*.a'; }
has_certificates() { [ -n "${SSL_CERT_FILE:-}" ] || [ -e /etc/ssl/certs/ca-certificates.crt ]; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif has sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root and there is no sudo; run as root: $*"
    fi
}

install_packages() {
    [ ${#packages[@]} -gt 0 ] || return 0
    if ! has apt-get >/dev/null; then
        die "missing here (by their Debian names): ${packages[*]}.
       This system has no apt-get: install their counterparts with its package manager and run this again."
    fi
    say "installing ${packages[*]}"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
    # `return`, as who calls this may want to go on all the same, which switches `set -e` off.
    as_root "${apt[@]}" update || return
    as_root "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >/dev/null || return
    packages=()
}

# Debian starts a daemon once it is installed. Those that are measured are started on ports of their own.
install_without_starting() {
    local policy=/usr/sbin/policy-rc.d
    if [ ${#packages[@]} = 0 ] || [ -e "$policy" ]; then
        install_packages
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    local code=0
    install_packages || code=$?
    as_root rm -f "$policy"
    packages=()
    return "$code"
}

at_least() { printf '%s\n%s\n' "$1" "$2" | sort -V -C; } # at_least MIN VERSION

check_rust() {
    has_all cargo rustc >/dev/null ||
        die "there is no Rust toolchain: version $RUST_VERSION_MIN or newer is needed (https://rustup.rs)"
    local version
    version=$(rustc --version | cut -d' ' -f2)
    at_least "$RUST_VERSION_MIN" "$version" ||
        die "Rust $version is too old: version $RUST_VERSION_MIN or newer is needed ('rustup update stable' brings it)"
}

setup_build() {
    check_rust
    need clang has_all clang clang++
    need libclang-dev has_libclang
    need cmake has cmake
    need make has make
    # rustc links with `cc`; clang brings the C library's headers along.
    need gcc has cc
    need ca-certificates has_certificates
    install_packages
}

# REDIS_SERVER names another server of that kind for the tests; bringing it is its chooser's business.
setup_test() {
    [ -z "${REDIS_SERVER:-}" ] || return 0
    need redis-server has redis-server
    install_without_starting
}

venv() { # venv NAME REQUIREMENTS: a virtual environment that holds exactly what the file says
    local dir="$CACHE_DIR/venv-$1" stamp
    stamp="$(python3 -c 'import sys; print(sys.version)') $(cat "$2")"
    [ "$(cat "$dir/stamp" 2>/dev/null)" = "$stamp" ] && return
    say "installing the packages of $2"
    rm -rf "$dir"
    python3 -m venv "$dir"
    "$dir/bin/pip" install --quiet --disable-pip-version-check --retries 5 -r "$2"
    printf '%s' "$stamp" >"$dir/stamp"
}

setup_python() {
    need python3 has python3
    need python3-venv python3 -c 'import ensurepip, venv'
    need ca-certificates has_certificates
    install_packages
    local version
    version=$(python3 -c 'import platform; print(platform.python_version())')
    at_least "$PYTHON_VERSION_MIN" "$version" ||
        die "Python $version is too old: version $PYTHON_VERSION_MIN or newer is needed"
}

setup_sdk() {
    # In one go, for a single update of the package lists.
    need nodejs has node
    need npm has npm
    setup_python
    local version
    version=$(node --version)
    at_least "$NODE_VERSION_MIN" "${version#v}" ||
        die "Node $version is too old: version $NODE_VERSION_MIN or newer is needed"
    venv sdk tests/sdk/python/requirements.txt
    venv sdk-frameworks tests/sdk/frameworks/requirements.txt
    # npm writes this file last, so an interrupted installation does not count.
    if ! cmp -s tests/sdk/node/package-lock.json tests/sdk/node/node_modules/.stamp; then
        say "installing the packages of tests/sdk/node"
        (cd tests/sdk/node && npm ci --no-audit --no-fund --loglevel=error >/dev/null)
        cp tests/sdk/node/package-lock.json tests/sdk/node/node_modules/.stamp
    fi
}

# What the documented commands call.
setup_docs() {
    need curl has curl
    need openssl has openssl
    setup_sdk
    setup_lint
}

# scripts/bench/run.py goes on without what is measured beside the server, and says what it cannot do without.
setup_bench() {
    setup_build
    need python3 has python3
    need wrk has wrk
    need nginx-light has_daemon nginx
    need varnish has_daemon varnishd
    need varnish-modules compgen -G '/usr/lib/*/varnish/vmods/libvmod_bodyaccess.so'
    if has apt-get >/dev/null; then
        install_without_starting || say "not everything could be installed"
    fi
}

setup_guard() {
    setup_build
    need python3 has python3
    need valgrind has_all valgrind vgdb
    need binutils has strip
    install_packages
}

setup_lint() {
    setup_python
    venv lint scripts/requirements-lint.txt
}

cargo_tool() { # cargo_tool NAME VERSION: built without optimisation, which is far quicker and fast enough
    has "$1" >/dev/null && return
    check_rust
    local try
    for try in 1 2 3; do
        say "installing $1 $2 (try $try)"
        if CARGO_TARGET_DIR="$CACHE_DIR/tools/target" CARGO_PROFILE_DEV_DEBUG=0 \
            cargo install --quiet --locked --debug --root "$CACHE_DIR/tools" --version "$2" "$1"; then
            rm -rf "$CACHE_DIR/tools/target"
            return
        fi
        sleep 5
    done
    return 1
}

setup_fuzz() {
    setup_build
    # What is written in C is compiled with clang and its address sanitizer, too.
    need "libclang-rt-$(clang -dumpversion | cut -d. -f1)-dev" has_sanitizer
    install_packages
    cargo_tool cargo-fuzz "$CARGO_FUZZ_VERSION" || die "cargo-fuzz could not be installed"
}

[ $# -gt 0 ] || die "which part? build, test, sdk, docs, bench, guard, lint, deny, fuzz"
for part in "$@"; do
    case $part in
    build | test | sdk | docs | bench | guard | lint) "setup_$part" ;;
    deny) cargo_tool cargo-deny "$CARGO_DENY_VERSION" || die "cargo-deny could not be installed" ;;
    fuzz) setup_fuzz ;;
    *) die "no such part: $part" ;;
    esac
done

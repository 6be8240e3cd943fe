#!/usr/bin/env bash
# Builds the image and shows that it works, without Docker: buildah builds the Dockerfile on base images made
# here, then the server runs from the image's own file system, as the image's own user.
#
#   scripts/image.sh          all of it
#   scripts/image.sh clean    removes the base images and the layers that are kept between runs
#
# As root or with sudo. Needs Debian's packages and crates, but no registry of images. The first time takes about
# as long as a first build of the server, for RocksDB; later the layer with the dependencies is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/env.sh

BUILD_SECONDS_MAX=5400
BASE_SECONDS_MAX=900
DEBIAN_MIRROR="${DEBIAN_MIRROR:-http://deb.debian.org/debian}"
STORAGE="$CACHE_DIR/image"
IMAGE=localhost/llm-cache-server

say() { printf '\nimage: %s\n' "$*"; }
die() {
    printf 'image: %s\n' "$*" >&2
    exit 1
}

command -v cargo >/dev/null || die "there is no Rust toolchain (https://rustup.rs)"
# Files of several owners and mounts: all of it is root's.
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || die "this needs root and there is no sudo"
    exec sudo env "PATH=$PATH" "HOME=$HOME" "XDG_CACHE_HOME=${CACHE_DIR%/*}" "DEBIAN_MIRROR=$DEBIAN_MIRROR" \
        "${BASH_SOURCE[0]}" "$@"
fi

install_packages() {
    local missing=()
    command -v buildah >/dev/null || missing+=(buildah)
    command -v mmdebstrap >/dev/null || missing+=(mmdebstrap)
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing+=(debian-archive-keyring)
    command -v python3 >/dev/null || missing+=(python3)
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || die "missing here (by their Debian names): ${missing[*]}"
    say "installing ${missing[*]}"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
    "${apt[@]}" update
    "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
}

# Its own storage, so that no other image on this machine is touched.
B=(buildah --root "$STORAGE/root" --runroot "$STORAGE/run" --storage-driver "${STORAGE_DRIVER:-overlay}")
b() { "${B[@]}" "$@"; }
has_image() { b images --quiet "$1" >/dev/null 2>&1; }

clean() {
    [ -d "$STORAGE" ] || return 0
    b rm --all >/dev/null
    b rmi --all --force >/dev/null
    rm -rf "$STORAGE"
}

work=
container=
finish() {
    local code=$?
    if [ -n "$container" ]; then b rm "$container" >/dev/null || true; fi
    if [ -n "$work" ]; then rm -rf "$work"; fi
    [ "$code" = 0 ] || echo "image: FAILED (exit code $code)" >&2
}
trap finish EXIT
trap 'exit 130' INT TERM

base_image() { # base_image NAME PACKAGES [DIRECTORY…]: Debian, and what the directories hold
    local name=$1 packages=$2
    shift 2
    say "making the base image $name"
    timeout "$BASE_SECONDS_MAX" mmdebstrap --quiet --variant=minbase --components=main --include="$packages" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
        bookworm "$work/base.tar" "$DEBIAN_MIRROR"
    container=$(b from scratch)
    b add --quiet "$container" "$work/base.tar" / >/dev/null
    for each in "$@"; do b add --quiet "$container" "$each" / >/dev/null; done
    b config --env CARGO_HOME=/usr/local/cargo \
        --env PATH=/usr/local/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$container"
    b commit --quiet --rm "$container" "$name" >/dev/null
    container=
    rm "$work/base.tar"
}

# Debian's slim image, and in the place of the `rust` image a Debian with this machine's toolchain and its
# certificates, since crates may come through a proxy of its own.
base_images() {
    local rust="$work/rust" version sysroot
    version=$(rustc --version | cut -d' ' -f2)
    DEBIAN_BASE=localhost/llm-cache-base:debian-bookworm
    RUST_BASE=localhost/llm-cache-base:rust-$version
    has_image "$DEBIAN_BASE" || base_image "$DEBIAN_BASE" apt
    if ! has_image "$RUST_BASE"; then
        sysroot=$(rustc --print sysroot)
        mkdir -p "$rust/usr/local/rust" "$rust/usr/local/cargo" "$rust/etc/ssl/certs"
        for each in bin lib libexec; do
            if [ -d "$sysroot/$each" ]; then cp -a "$sysroot/$each" "$rust/usr/local/rust/"; fi
        done
        cp -L "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$rust/etc/ssl/certs/ca-certificates.crt"
        base_image "$RUST_BASE" apt,ca-certificates,gcc,libc6-dev,make "$rust"
        rm -rf "$rust"
    fi
}

build() { # build LOG CONTEXT [ARGUMENT…]: the Dockerfile, with the bases made here in the place of those it names
    local log=$1 context=$2 rust debian code=0
    shift 2
    rust=$(awk '$1 == "FROM" && $2 ~ /\/rust:/ { print $2 }' Dockerfile)
    debian=$(awk '$1 == "FROM" && $2 ~ /\/debian:/ { print $2 }' Dockerfile)
    # The format is Docker's since the other one has no health check.
    timeout "$BUILD_SECONDS_MAX" "${B[@]}" build --isolation chroot --pull-never --layers --force-rm --format docker \
        --build-context "$rust=container-image://$RUST_BASE" --build-context "$debian=container-image://$DEBIAN_BASE" \
        "$@" "$context" >"$log" 2>&1 || code=$?
    if [ "$code" != 0 ]; then
        tail -n 60 "$log" >&2
        die "the build failed (exit code $code)"
    fi
}

compiled() { grep -qE "^ *Compiling $1 v" "$2"; }

# A change of the sources compiles the server again, and nothing that it depends on.
show_cached_dependencies() {
    local since
    mkdir "$work/context"
    cp -a .cargo .dockerignore Cargo.toml Cargo.lock Dockerfile conf src "$work/context/"
    printf '\n// A change.\n' >>"$work/context/src/main.rs"
    since=$SECONDS
    build "$work/changed.log" "$work/context" --file "$work/context/Dockerfile" --tag "$IMAGE:changed"
    compiled llm-cache-server "$work/changed.log" || die "a change of the sources did not compile the server again"
    if compiled librocksdb-sys "$work/changed.log" || compiled tokio "$work/changed.log"; then
        die "a change of the sources compiled the dependencies again"
    fi
    echo "after a change of src/main.rs: $((SECONDS - since)) s, no dependency compiled again"
}

show_size() {
    local mounted=$1
    b push --quiet --format oci "$IMAGE:local" "oci:$work/oci" >/dev/null
    python3 - "$work/oci" "$mounted" <<'PY'
import json, os, pathlib, sys

oci, mounted = map(pathlib.Path, sys.argv[1:])
blob = lambda digest: oci / "blobs" / digest.replace(":", "/")
index = json.loads((oci / "index.json").read_text())
manifest = json.loads(blob(index["manifests"][0]["digest"]).read_text())
for layer in manifest["layers"]:
    print(f"layer of {layer['size'] / 1e6:6.2f} MB compressed")
files = {}
for directory, _, names in os.walk(mounted):
    for name in names:
        status = os.lstat(os.path.join(directory, name))
        files[status.st_ino] = status.st_size
print(f"size: {sum(layer['size'] for layer in manifest['layers']) / 1e6:.1f} MB compressed, "
      f"{sum(files.values()) / 1e6:.1f} MB on disk, {len(files)} files")
PY
    rm -rf "$work/oci"
}

case ${1:-} in
clean)
    clean
    exit
    ;;
"") ;;
*) die "no such argument: $1" ;;
esac

install_packages
mkdir -p "$STORAGE"
exec 9>"$STORAGE/lock"
flock 9 # two of these at once would build everything twice
# What a run left that was interrupted. The dependencies have a name and stay.
b rm --all >/dev/null
b rmi --prune >/dev/null
work=$(mktemp -d "${TMPDIR:-/tmp}/llm-cache-image.XXXXXX")
base_images

say "building the dependencies"
since=$SECONDS
build "$work/dependencies.log" . --target dependencies --tag "$IMAGE:dependencies"
if compiled librocksdb-sys "$work/dependencies.log"; then
    echo "dependencies: $((SECONDS - since)) s, compiled"
else
    echo "dependencies: $((SECONDS - since)) s, the layer was there already"
fi

say "building the image"
since=$SECONDS
build "$work/image.log" . --tag "$IMAGE:local" \
    --build-arg "VERSION=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)" \
    --build-arg "REVISION=$(git rev-parse --verify --quiet HEAD || echo unknown)"
echo "image: $((SECONDS - since)) s"
show_cached_dependencies
b rmi "$IMAGE:changed" >/dev/null

say "its size"
container=$(b from --pull-never "$IMAGE:local")
mounted=$(b mount "$container")
show_size "$mounted"

say "running it"
b inspect --type image "$IMAGE:local" >"$work/inspect.json"
# A mount namespace of its own: nothing stays mounted, however this ends.
timeout 300 unshare --mount --propagation private \
    python3 -B scripts/prove_image.py --root "$mounted" --config "$work/inspect.json"

b rm "$container" >/dev/null
container=
b rmi --prune >/dev/null
say "good"

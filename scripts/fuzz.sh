#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS (60), the judge once for each API; with names, only those:
#
#   scripts/fuzz.sh [--keep] [key | judge-chat | ...]
#
# It begins with fuzz/corpus and the recorded answers of the tests. What is new goes to the cache
# directory; --keep then picks what covers something new for fuzz/corpus. Fuzzing needs unstable compiler
# flags, which the stable toolchain is told to accept, unless FUZZ_TOOLCHAIN names another one (nightly).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/env.sh

cargo=(cargo)
if [ -n "${FUZZ_TOOLCHAIN:-}" ]; then
    cargo=(cargo "+$FUZZ_TOOLCHAIN")
else
    export RUSTC_BOOTSTRAP=1
fi

# Longer inputs say nothing that shorter ones do not, and are slower.
INPUT_BYTES_MAX=8192

run() { # target, directories and flags
    "${cargo[@]}" fuzz run --target-dir "$CACHE_DIR/fuzz-target" "$@"
}

names() {
    local target label
    for target in $("${cargo[@]}" fuzz list); do
        if [ "$target" = judge ]; then
            # Exits before it fuzzes anything.
            for label in $(FUZZ_API=list run judge 2> /dev/null); do echo "judge-$label"; done
        else
            echo "$target"
        fi
    done
}

# The recorded answers of the tests, each behind four bytes: its form, one choice, two chunk lengths.
seed() { # API, directory
    local file form
    for file in tests/transcripts/"$1"/* tests/forms/"$1"/*; do
        case $file in
        *.sse) form=0 ;;
        *.json) form=1 ;;
        *.ndjson) form=2 ;;
        *.txt) form=3 ;;
        *.bin) form=4 ;;
        *) continue ;;
        esac
        { printf '%s1 A' "$form" && cat "$file"; } > "$2/${file//\//_}"
    done
}

keep=
if [ "${1:-}" = --keep ]; then
    keep=1
    shift
fi
if [ $# -eq 0 ]; then
    wanted=$(names)
    # shellcheck disable=SC2086
    set -- $wanted
fi
for name; do
    target=${name%%-*}
    export FUZZ_API=${name#judge-}
    found="$CACHE_DIR/fuzz-corpus/$name"
    seeds="$CACHE_DIR/fuzz-seeds/$name"
    mkdir -p "$found" "$seeds" "fuzz/corpus/$name"
    [ "$target" != judge ] || seed "$FUZZ_API" "$seeds"
    echo "--- $name, ${FUZZ_SECONDS:=60} s"
    run "$target" "$found" "fuzz/corpus/$name" "$seeds" -- \
        -max_total_time="$FUZZ_SECONDS" -max_len="$INPUT_BYTES_MAX"
    if [ -n "$keep" ]; then
        # By edges alone: how often each is passed makes ten times as many files.
        run "$target" "fuzz/corpus/$name" "$found" "$seeds" -- \
            -merge=1 -use_counters=0 -max_len="$INPUT_BYTES_MAX"
    fi
done

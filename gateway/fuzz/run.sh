#!/usr/bin/env bash
# Builds the fuzz targets with a stable compiler and runs them: [MODELGATE_PROFILE=dev] run.sh SECONDS [TARGET ...]
# Beyond what `cargo test` needs: a C++ compiler, for libFuzzer. What finds something new stays in gateway/fuzz/corpus, what
# fails in gateway/fuzz/artifacts; both are where cargo-fuzz has them.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:?usage: run.sh SECONDS [TARGET ...]}
profile=${MODELGATE_PROFILE:-dev}
export BUILT=target/${profile/#dev/debug}
shift
targets=("$@")
if [ $# = 0 ]; then
    for file in gateway/fuzz/fuzz_targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi
if ! command -v "${CXX:-c++}" >/dev/null; then
    echo "libFuzzer is built with a C++ compiler, and there is none: install g++, or name one in CXX" >&2
    exit 1
fi

# All of the workspace is selected, so that dependencies have the features that `make test` has built them with.
RUSTC_WORKSPACE_WRAPPER=$PWD/gateway/fuzz/rustc-wrapper.sh cargo build --locked --profile "$profile" --workspace "${targets[@]/#/--bin=}"

# Runs a target, and prints one line of it, or why it failed.
run() {
    local target=$1 seconds=$2 at=gateway/fuzz log=target/fuzz/$1.log options=() folders=() code=0
    mkdir -p target/fuzz "$at/corpus/$target" "$at/artifacts/$target"
    [ ! -e "$at/dictionaries/$target.dict" ] || options=("-dict=$at/dictionaries/$target.dict")
    [ "$target" != loader ] || folders=(gateway/tests/data/conformance gateway/tests/data/models)
    "$BUILT/$target" -max_total_time="$seconds" -seed="${FUZZ_SEED:-1}" -timeout=60 -rss_limit_mb=2048 -max_len=8192 \
        -artifact_prefix="$at/artifacts/$target/" "${options[@]}" \
        "$at/corpus/$target" "$at/seeds/$target" "${folders[@]}" >"$log" 2>&1 || code=$?
    if [ $code = 0 ]; then
        sed -n "s/^#\([0-9]*\)\tDONE  */$target: \1 inputs, /p" "$log"
    else
        tail -n 40 "$log" >&2
        echo "$target failed, as $log tells; the input is the only argument of $BUILT/$target" >&2
    fi
    return $code
}
export -f run
printf '%s\n' "${targets[@]}" | xargs -P "$(nproc)" -I '{}' bash -c "run '{}' $seconds"

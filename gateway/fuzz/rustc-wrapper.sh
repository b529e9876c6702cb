#!/bin/sh
# Cargo's compiler wrapper for `make fuzz`: has the compiler put libFuzzer's counters into this workspace's crates, and compiles
# everything else as ever. The flags are those of cargo-fuzz without a sanitizer: only sanitizers need a nightly compiler. Checks
# of overflow and debug assertions are on in every profile.
rustc=$1
shift
case " $* " in
*" --crate-name modelgate"*)
    exec "$rustc" "$@" -Cdebug-assertions=on -Coverflow-checks=on -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
exec "$rustc" "$@"

#!/bin/sh
# Cargo's compiler wrapper for `make fuzz`: has the compiler count branches in the operators and in the targets, for `bounded`
# to see what an input reaches, and compiles everything else as ever. The flags are those of cargo-fuzz without sanitizers,
# which alone need a nightly compiler.
rustc=$1
shift
case " $* " in
*" --crate-name modelgate_onnx "* | *" --crate-name modelgate_fuzz "*)
    exec "$rustc" "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    ;;
esac
exec "$rustc" "$@"

//! An ONNX file, loaded and run.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: modelgate_fuzz_checks::abort_where_ours_panics(), |input: &[u8]| modelgate_fuzz_checks::loader(input));

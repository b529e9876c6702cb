//! A body of MLflow's or TensorFlow Serving's clients.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| modelgate_fuzz_checks::scoring(input));

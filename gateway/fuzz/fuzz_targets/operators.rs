//! Nodes of each operator of ours, with attributes, tensors and inputs of any kind, loaded and run.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: modelgate_fuzz::stop_at_our_panics(|| {}), |bytes: &[u8]| modelgate_fuzz::operators(bytes));

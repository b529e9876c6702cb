//! A request of the Open Inference Protocol, its binary tensors behind the first byte 0xff.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| modelgate_fuzz_checks::oip(input));

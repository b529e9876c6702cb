//! A file of a picture.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| modelgate_fuzz_checks::image(input));

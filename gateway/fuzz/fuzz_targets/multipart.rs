//! A form that is uploaded to `/predict`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| modelgate_fuzz_checks::multipart(input));

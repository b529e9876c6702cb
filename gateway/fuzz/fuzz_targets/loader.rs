//! Files as they come: any bytes, loaded and run.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: modelgate_fuzz::stop_at_our_panics(|| {}), |bytes: &[u8]| modelgate_fuzz::loader(bytes));

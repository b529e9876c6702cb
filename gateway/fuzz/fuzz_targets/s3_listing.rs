//! Listings of an S3 bucket.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| modelgate_fuzz_checks::s3_listing(input));

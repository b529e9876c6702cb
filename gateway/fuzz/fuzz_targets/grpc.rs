//! A `ModelInferRequest` of gRPC.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| modelgate::grpc::check(input));
